//! Reads a file of CSV or JSON lines, once or as it grows.

/// Which file, and what its lines are.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub path: std::path::PathBuf,
    pub format: Format,
    /// Goes on reading as the file grows.
    pub follow: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// With a header a row becomes an object, without one an array, of strings.
    Csv {
        header: bool,
        delimiter: u8,
    },
    JsonLines,
}

use std::time::Duration;

use crate::log::embedded::Embedded;
use crate::source::{Poll, Source, SourceError};

/// Reads lines; offsets are byte positions in the file, so that it can go back.
pub struct FileSource {}

impl FileSource {
    /// Goes on where `group` stopped. A file that is read once and was read to its end starts anew.
    pub fn open(
        _options: Options,
        _positions: Embedded,
        _group: &str,
    ) -> Result<Self, SourceError> {
        todo!()
    }
}

impl Source for FileSource {
    fn poll(&mut self, _wait: Duration) -> Result<Poll, SourceError> {
        todo!()
    }
    fn commit(&mut self, _partition: i32, _next: i64) -> Result<(), SourceError> {
        todo!()
    }
    fn drain(&mut self) -> Result<(), SourceError> {
        todo!()
    }
}
