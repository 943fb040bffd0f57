//! The host from outside: conformance of each trait, and the program as its user runs it.

mod cells;
mod chaos;
mod cli;
mod compile;
mod config;
mod conformance;
mod control;
#[cfg(target_os = "linux")]
mod crash;
mod delta;
mod file;
mod hostile;
mod http;
mod iss;
mod kafka;
mod kill;
mod operator;
mod panics;
mod parquet;
mod pipelines;
mod poison;
mod program;
mod query;
mod readers;
mod readme;
mod replay;
mod s3;
mod schema;
mod simulate;
mod slow;
mod sqlite;
mod stream;
mod swap;
mod upgrades;
mod versions;
mod windows;
