//! The host from outside: conformance of each trait, and the program as its user runs it.

mod chaos;
mod cli;
mod compile;
mod config;
mod conformance;
mod control;
#[cfg(target_os = "linux")]
mod crash;
mod file;
mod hostile;
mod http;
mod iss;
mod kafka;
mod kill;
mod operator;
mod panics;
mod poison;
mod program;
mod readme;
mod replay;
mod schema;
mod simulate;
mod slow;
mod stream;
mod swap;
mod upgrades;
mod versions;
mod windows;
