//! A table in a SQLite file: rows and checkpoint in one transaction.

use std::path::PathBuf;

/// Which table.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub path: PathBuf,
    pub table: String,
    /// The columns that say which row a message is of: a later message replaces it. Without any, every message is a row
    /// of its own.
    pub key: Vec<String>,
}
