//! A stream host: moves messages from a source, through sandboxed plugins, to a sink.
//!
//! The way of a message is `source` → `worker` → `task` → `plugin` → `sink`; `ARCHITECTURE.md` has the map.

pub mod beside;
pub mod chain;
pub mod checkpoint;
pub mod cli;
pub mod compare;
pub mod config;
pub mod control;
pub mod dead_letter;
pub mod delta;
pub mod error;
pub mod failures;
pub mod isolate;
pub mod load;
pub mod log;
pub mod member;
pub mod message;
pub mod metrics;
pub mod objects;
pub mod partitioning;
pub mod plugin;
pub mod prepare;
pub mod progress;
pub mod pump;
pub mod query;
pub mod rejects;
pub mod run;
pub mod schema;
pub mod simulate;
pub mod sink;
pub mod source;
pub mod stop;
pub mod store;
pub mod supervise;
pub mod swap;
pub mod task;
pub mod uri;
pub mod version;
pub mod versions;
pub mod worker;
