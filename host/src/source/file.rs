//! Reads a file of CSV or JSON lines, once or as it grows.
//!
//! Offsets are the byte positions at which records start, so it can go back. It does not look inside
//! JSON lines. A file that is followed may only grow: one that is cut short, replaced or removed ends
//! the run with an error, because what was read of it and had no effect yet cannot be read again. The
//! run after that reads the new file from its start.

mod csv;
mod json_lines;
mod reader;
mod window;

pub use reader::Reader;

use std::time::{Duration, Instant};

use crate::checkpoint::Position;
use crate::log::embedded::Embedded;
use crate::source::{Poll, Source, SourceError};

/// How often a file is looked at for growth.
const LOOK: Duration = Duration::from_millis(50);

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

/// Reads lines; offsets are byte positions in the file, so that it can go back.
pub struct FileSource {
    reader: Reader,
    positions: Embedded,
    group: String,
    /// The file as positions are kept by.
    source: String,
    draining: bool,
    /// The file that was read is no longer there, and with it what its positions mean.
    gone: bool,
}

impl FileSource {
    /// Goes on where `group` stopped. A file that is read once and was read to its end starts anew,
    /// and so does, with a warning, one that is shorter than the position.
    pub fn open(options: Options, positions: Embedded, group: &str) -> Result<Self, SourceError> {
        let path = std::path::absolute(&options.path).unwrap_or_else(|_| options.path.clone());
        let source = format!("file:{}", path.display());
        let position = positions.position(group, &source)?.and_then(|p| u64::try_from(p).ok()).unwrap_or(0);
        let reader = Reader::resume(options, position)?;
        Ok(Self { reader, positions, group: group.to_owned(), source, draining: false, gone: false })
    }
}

impl Source for FileSource {
    fn poll(&mut self, wait: Duration) -> Result<Poll, SourceError> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(fetch) = self.reader.fetch()? {
                return Ok(Poll::Messages(fetch));
            }
            if self.draining || !self.reader.follows() {
                return Ok(Poll::End);
            }
            if let Err(error) = self.reader.check_same_file() {
                self.gone = true;
                self.positions.set_position(&self.group, &self.source, None)?;
                return Err(error);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Poll::Idle);
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    fn start(&mut self, _partition: i32, _next: Option<i64>) -> Result<(), SourceError> {
        todo!("assigned first")
    }

    fn commit(&mut self, _partition: i32, position: &Position) -> Result<(), SourceError> {
        if !self.gone {
            self.positions.set_position(&self.group, &self.source, Some(position.next))?;
        }
        Ok(())
    }

    /// What is in the file now is still handed out.
    fn drain(&mut self) -> Result<(), SourceError> {
        self.draining = true;
        self.reader.stop_at_the_end_of_now()
    }
}
