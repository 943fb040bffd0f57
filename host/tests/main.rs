//! The host from outside: conformance of each trait, and the program as its user runs it.

mod file;
mod http;
mod simulate;
