//! A growing Delta table as a stream: the rows that each version adds.

use crate::uri::Location;

/// Which table, and from where.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub table: Location,
    pub start: Start,
}

/// Where a group begins that has not read the table yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With all that is in the table.
    Earliest,
    /// With what is added from now on.
    Latest,
    /// With the rows that this version added.
    Version(u32),
}
