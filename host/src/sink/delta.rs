//! Delta tables: every commit is a version of the table, whose application transactions are the commit points.

use std::time::Duration;

use crate::uri::Location;

/// Which table, and when a version is complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub table: Location,
    /// A version is committed this long after its first row …
    pub every: Duration,
    /// … or at this size in bytes, whichever comes first.
    pub size: u64,
    /// The columns by which the table is partitioned.
    pub partition_by: Vec<String>,
}
