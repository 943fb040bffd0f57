//! The sandbox: components that compute, behind the interface in `wit/`.
//!
//! A [`Plugin`] is a component that was compiled and checked; an [`Instance`] is one that was opened
//! with settings and takes batches. Nothing that an instance gives back is used before it is checked.

pub mod bindings;
mod check;
mod compile;
mod engine;
mod error;
mod guest_log;
mod instance;
mod limits;
mod wasi;

pub use bindings::messages::{Output, Rejection};
pub use bindings::state::Entries;
pub use bindings::transform::{Description, Field, Kind, Opened};
pub use compile::{CompilerLimits, MOST_BYTES, compile};
pub use engine::{Engine, Plugin};
pub use error::{PluginError, Reached, Uncompiled};
pub use guest_log::quote;
pub use instance::Instance;
pub use limits::{Limits, MOST_MEMORY, MOST_TABLE_ELEMENTS};

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Text => "text",
            Self::Timestamp => "timestamp",
        })
    }
}
