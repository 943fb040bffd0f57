//! The host from outside: conformance of each trait, and the program as its user runs it.

mod cli;
mod config;
