//! Reads a file of CSV or JSON lines, once or as it grows.
//!
//! Offsets are the byte positions at which records start, so it can go back. It does not look inside
//! JSON lines. A file may only grow: one that is cut short, replaced or removed while it is followed ends
//! the run with an error, because what was read of it and had no effect yet cannot be read again.
//!
//! Where the next run goes on depends on who remembers it. A sink with checkpoints has the last word: reading goes on
//! behind what has had its effect, also where that is the end of the file, and a file that is known to be another one
//! is refused. Without checkpoints nothing is spoilt by reading a file twice, so one that was read to its end starts
//! anew, and so does one that was replaced. Only what is shorter than before, or was replaced while it was followed,
//! is known to be another file.

mod csv;
mod json_lines;
mod reader;
mod window;

pub use reader::Reader;

use std::io::{Error, ErrorKind};
use std::time::{Duration, Instant};

use crate::checkpoint::Position;
use crate::log::embedded::Embedded;
use crate::source::single::Single;
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
    follow: bool,
    single: Single<u64>,
    draining: bool,
    /// The file that was read is no longer there, and with it what its positions mean.
    gone: bool,
}

/// The position of a group whose file was replaced; no commit leaves it at 0.
const REPLACED: i64 = 0;

impl FileSource {
    /// A reader of the file for `group`; a second one is refused (Invariant 6).
    pub fn open(options: Options, positions: Embedded, group: &str) -> Result<Self, SourceError> {
        let path = std::path::absolute(&options.path).unwrap_or_else(|_| options.path.clone());
        let source = format!("file:{}", path.display());
        let follow = options.follow;
        let reader = Reader::open(options, 0)?;
        let single = Single::open(positions, group, source)?;
        Ok(Self { reader, follow, single, draining: false, gone: false })
    }

    /// Hands out at most `messages` in a batch, rejected records included.
    pub fn batches_of(mut self, messages: usize) -> Self {
        self.reader.batch = messages.max(1);
        self
    }

    /// Where what has had its effect ends, by the sink's own checkpoint.
    fn behind(&self, next: i64) -> Result<u64, SourceError> {
        let length = self.reader.length()?;
        let replaced = next > 0 && self.single.position.as_ref().is_some_and(|position| position.next == REPLACED);
        let another = if replaced {
            "it was cut, removed or replaced while it was followed".to_owned()
        } else if length < offset(next) {
            format!("it has {length} bytes, and was read up to {next} before")
        } else {
            if !self.follow && length == offset(next) {
                tracing::info!("{} was read to its end before; another `group` reads it again", self.single.source);
            }
            return Ok(offset(next));
        };
        let way_out = "so it is another file now; read it under another `group`";
        Err(self.reader.error(Error::new(ErrorKind::InvalidData, format!("{another}, {way_out}"))))
    }

    /// Where the group goes on.
    fn as_group(&mut self) -> Result<u64, SourceError> {
        let position = offset(self.single.position.as_ref().map_or(0, |position| position.next));
        let length = self.reader.length()?;
        if length < position {
            let source = &self.single.source;
            tracing::warn!(
                "{source} has {length} bytes, and was read up to {position} before; it is read from its start"
            );
            return Ok(0);
        }
        self.reader.go_to(position)?;
        let more = self.follow || self.reader.fetch()?.is_some();
        Ok(if more { position } else { 0 })
    }
}

/// A position in the file; before its start is none.
fn offset(position: i64) -> u64 {
    u64::try_from(position).unwrap_or(0)
}

impl Source for FileSource {
    fn poll(&mut self, wait: Duration) -> Result<Poll, SourceError> {
        if let Some(found) = self.single.poll(wait) {
            return Ok(found);
        }
        let deadline = Instant::now() + wait;
        loop {
            if let Some(fetch) = self.reader.fetch()? {
                return Ok(Poll::Messages(fetch));
            }
            if self.draining || !self.follow {
                return Ok(Poll::End);
            }
            if let Err(error) = self.reader.check_same_file() {
                self.gone = true;
                let position = Position { next: REPLACED, place: String::new() };
                self.single.commit(&position)?;
                return Err(error);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Poll::Idle);
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    fn start(&mut self, _partition: i32, next: Option<i64>) -> Result<(), SourceError> {
        let from = match (self.single.began, next) {
            (None, Some(next)) => self.behind(next)?,
            (None, None) => self.as_group()?,
            (Some(_), Some(back)) => offset(back),
            (Some(began), None) => began,
        };
        self.single.began.get_or_insert(from);
        self.reader.go_to(from)
    }

    fn commit(&mut self, _partition: i32, position: &Position) -> Result<(), SourceError> {
        if !self.gone {
            self.single.commit(position)?;
        }
        Ok(())
    }

    fn hold(&mut self, held: bool) {
        self.single.held = held;
    }

    /// What is in the file now is still handed out.
    fn drain(&mut self) -> Result<(), SourceError> {
        self.draining = true;
        self.reader.stop_at_the_end_of_now()
    }
}
