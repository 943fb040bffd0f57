//! The sandbox: components that compute, behind the interface in `wit/`.

pub mod bindings;
pub mod limits;

use std::path::Path;
use std::sync::Arc;

pub use bindings::messages::Output;
pub use bindings::transform::{Description, Field, Kind};
pub use limits::Limits;

use crate::message::Batch;

/// Compiles components; one for the whole process.
#[derive(Clone)]
pub struct Engine {}

/// A compiled component, checked against the interface.
#[derive(Clone)]
pub struct Plugin {
    pub description: Description,
    /// SHA-256 of the component, in hexadecimal.
    pub hash: Arc<str>,
    /// Every import of the component, such as `wasi:cli/stderr@0.2.6`.
    pub imports: Vec<String>,
    /// Which interfaces it exports: `transform`, and maybe `timer`, `state`, `query`.
    pub exports: Vec<String>,
}

/// A plugin that has been opened with its settings.
pub struct Instance {
    pub fields: Vec<Field>,
}

impl Engine {
    pub fn new() -> Result<Self, PluginError> {
        todo!()
    }

    /// Compiles (or takes from the cache) and checks a component.
    pub fn load(&self, _path: &Path) -> Result<Plugin, PluginError> {
        todo!()
    }
}

impl Plugin {
    /// Checks `settings` (a JSON object) against the plugin's schema, then opens an instance.
    pub fn open(&self, _settings: &serde_json::Value, _limits: &Limits) -> Result<Instance, PluginError> {
        todo!()
    }
}

impl Instance {
    /// Puts a batch through. After an error the instance is dead.
    pub fn process(&mut self, _batch: &Batch) -> Result<Output, PluginError> {
        todo!()
    }
}

/// What went wrong with a plugin; the text says which, who is at fault and what to do.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    #[error("{0}")]
    Todo(String),
}
