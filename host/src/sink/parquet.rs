//! Parquet: the columns that the plugin declares.

use crate::sink::files;

/// Where, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub files: files::Options,
    pub compression: Compression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Snappy,
    Zstd,
}
