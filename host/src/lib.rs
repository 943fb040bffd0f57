//! A stream host: moves messages from a source, through sandboxed plugins, to a sink.
//!
//! The way of a message is `source` → `worker` → `task` → `plugin` → `sink`; `ARCHITECTURE.md` has the map.

pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod dead_letter;
pub mod error;
pub mod log;
pub mod member;
pub mod message;
pub mod metrics;
pub mod partitioning;
pub mod plugin;
pub mod progress;
pub mod pump;
pub mod rejects;
pub mod run;
pub mod simulate;
pub mod sink;
pub mod source;
pub mod stop;
pub mod task;
pub mod uri;
pub mod worker;
