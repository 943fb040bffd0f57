//! A stream host: moves messages from a source, through sandboxed plugins, to a sink.
//!
//! The way of a message is `source` → `task` → `plugin` → `sink`; `ARCHITECTURE.md` has the map.

pub mod cli;
pub mod config;
pub mod dead_letter;
pub mod error;
pub mod log;
pub mod message;
pub mod metrics;
pub mod plugin;
pub mod progress;
pub mod pump;
pub mod run;
pub mod simulate;
pub mod sink;
pub mod source;
pub mod stop;
pub mod task;
pub mod uri;
