//! The host from outside: conformance of each trait, and the program as its user runs it.

mod chaos;
mod cli;
mod config;
mod conformance;
#[cfg(target_os = "linux")]
mod crash;
mod file;
mod hostile;
mod http;
mod iss;
mod kafka;
mod kill;
mod operator;
mod program;
mod readme;
mod simulate;
mod stream;
mod swap;
mod windows;
