//! A plugin with settings and limits, as tasks run it and checkpoints name it.

use std::sync::Arc;

use crate::checkpoint::{Mark, Swapped};
use crate::plugin::{Instance, Limits, Opened, Plugin, PluginError};

/// A plugin as a task runs it.
#[derive(Clone)]
pub struct Version {
    pub plugin: Plugin,
    /// A JSON object.
    pub settings: serde_json::Value,
    pub limits: Limits,
    /// What it said about these settings.
    pub opened: Arc<Opened>,
    /// By which its state is kept: its place among the plugins with state.
    pub number: u8,
    /// Where it runs instead of what the pipeline file says.
    pub swapped: Option<Swapped>,
}

impl Version {
    /// Opens a plugin once, to see what it says.
    pub fn new(plugin: Plugin, settings: serde_json::Value, limits: Limits, number: u8) -> Result<Self, PluginError> {
        let opened = Arc::new(plugin.open(&settings, &limits)?.opened);
        Ok(Self { plugin, settings, limits, opened, number, swapped: None })
    }

    pub fn open(&self) -> Result<Instance, PluginError> {
        self.plugin.open(&self.settings, &self.limits)
    }

    /// What a checkpoint says of it.
    pub fn mark(&self) -> Mark {
        Mark {
            name: self.plugin.description.name.clone(),
            version: self.plugin.description.version.clone(),
            hash: self.plugin.hash.to_string(),
            settings: self.settings.clone(),
            has_state: self.plugin.has_state(),
            swapped: self.swapped.clone(),
        }
    }

    /// That it is swapped for another one, now. `file` is what the pipeline file says.
    pub fn swapped_for(file: &Self) -> Swapped {
        let since = jiff::Timestamp::now().as_millisecond();
        Swapped { since, hash: file.plugin.hash.to_string(), settings: file.settings.clone() }
    }

    /// When it was swapped in; before all else where the pipeline file says so.
    pub fn since(&self) -> i64 {
        self.swapped.as_ref().map_or(i64::MIN, |swapped| swapped.since)
    }

    /// Whether a swap was away from what this one, of the pipeline file, is.
    pub fn is_what_was(&self, swapped: &Swapped) -> bool {
        *self.plugin.hash == *swapped.hash && self.settings == swapped.settings
    }
}
