//! CSV files in a directory.

use std::path::PathBuf;
use std::time::Duration;

/// Where, and when a file is complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub directory: PathBuf,
    /// A file is finished this long after its first row …
    pub every: Duration,
    /// … or at this size in bytes, whichever comes first.
    pub size: u64,
}
