//! Cuts a file into records and gathers them into batches; remembers nothing beyond its own life.
//!
//! A record that cannot become a message is rejected with its reason and its place, and the rest goes
//! on. Records have no time of their own: they get the time at which the file was last modified.

use std::path::Path;

use super::csv::Csv;
use super::json_lines::JsonLines;
use super::window::Window;
use super::{Format, Options};
use crate::log::BATCH_MESSAGES;
use crate::message::{Fetch, Rejected};
use crate::source::{MAX_REJECTED, SourceError};

/// Most bytes of a batch, but for its last record.
const MAX_BYTES: usize = 1 << 20;

/// Most bytes of one record in the file.
const MAX_RECORD: usize = 1 << 20;

/// How a format cuts a file into records.
pub trait Records: Send {
    /// Looks at `input`, which starts where a record may start and is not empty. `end` says that the
    /// file ends with it: then the answer is not [`Step::More`]. Replaces `value` by the message of a
    /// good record. An error says why the file cannot be read at all.
    fn next(&mut self, input: &[u8], end: bool, value: &mut Vec<u8>) -> Result<Step, String>;

    /// Passes over the rest of a record for which [`Records::next`] wanted more: how many bytes of
    /// `input` that takes, and whether the record ends there.
    fn skip(&mut self, input: &[u8]) -> (usize, bool);

    /// Whether the first record, which says what the others look like, is still to be read.
    fn wants_first(&self) -> bool;
}

/// What stands at the start of the input; lengths in bytes.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// The start of a record, which does not end here.
    More,
    /// No record: blank lines, a header.
    Skip(usize),
    /// A record, its end of line included, that is a message.
    Message(usize),
    /// A record, its end of line included, that is not.
    Bad(usize, Problem),
}

/// What is wrong with a record: a cause to count by, and the words for a person.
#[derive(Debug, PartialEq)]
pub struct Problem {
    pub cause: &'static str,
    pub reason: String,
}

/// One record: its message is in `Reader::value`, or it is none.
enum Record {
    Message { offset: i64, bytes: usize },
    Rejected(Rejected),
}

/// Reads the records of one file in order.
pub struct Reader {
    options: Options,
    /// Most messages and rejected records of a batch, together.
    pub(super) batch: usize,
    window: Window,
    records: Box<dyn Records>,
    value: Vec<u8>,
    /// The too long record that is being passed over.
    skipping: Option<Rejected>,
}

impl Reader {
    /// Reads from the record that starts at byte `position`.
    pub fn open(options: Options, position: u64) -> Result<Self, SourceError> {
        let window = Window::open(&options.path)?;
        let records = records(&options.format);
        let mut reader = Self { options, batch: BATCH_MESSAGES, window, records, value: Vec::new(), skipping: None };
        reader.go_to(position)?;
        Ok(reader)
    }

    /// Goes on at the record that starts at byte `position`.
    pub fn go_to(&mut self, position: u64) -> Result<(), SourceError> {
        self.window.seek(0)?;
        self.records = records(&self.options.format);
        if position > 0 && self.records.wants_first() {
            self.record()?;
        }
        self.skipping = None;
        self.window.seek(position)
    }

    pub fn length(&self) -> Result<u64, SourceError> {
        self.window.length()
    }

    /// The records that are there, as many as make a batch; `None` where there is none.
    pub fn fetch(&mut self) -> Result<Option<Fetch>, SourceError> {
        let mut fetch = Fetch::new(0, 0);
        let mut bytes = 0;
        while fetch.offsets.len() + fetch.rejected.len() < self.batch && bytes < MAX_BYTES {
            match self.record()? {
                None => break,
                Some(Record::Message { offset, bytes: length }) => {
                    fetch.offsets.push(offset);
                    fetch.batch.push(None, Some(&self.value), self.window.modified());
                    bytes += length.max(self.value.len());
                }
                Some(Record::Rejected(rejected)) => {
                    bytes += rejected.value.len();
                    fetch.rejected.push(rejected);
                }
            }
        }
        // In the middle of a record that is being passed over, that record is the place to go on.
        fetch.next = self.skipping.as_ref().map_or(self.window.position(), |rejected| rejected.offset);
        let found = !fetch.offsets.is_empty() || !fetch.rejected.is_empty();
        Ok(found.then_some(fetch))
    }

    /// An error when the path no longer names the file that is being read, or that lost bytes.
    pub fn check_same_file(&self) -> Result<(), SourceError> {
        self.window.check()
    }

    /// What is added to the file from now on is not read.
    pub fn stop_at_the_end_of_now(&mut self) -> Result<(), SourceError> {
        self.window.stop_at_the_end_of_now()
    }

    /// The next whole record, if it is there.
    fn record(&mut self) -> Result<Option<Record>, SourceError> {
        let mut ended = false;
        while self.skipping.is_none() {
            let input = self.window.bytes();
            let step = match input {
                [] => Step::More,
                _ => self
                    .records
                    .next(input, ended && !self.options.follow, &mut self.value)
                    .map_err(|e| self.unreadable(e))?,
            };
            match step {
                Step::Skip(bytes) => self.window.consume(bytes),
                Step::Message(bytes) | Step::Bad(bytes, _) if bytes > MAX_RECORD => {
                    return Ok(Some(Record::Rejected(self.reject(bytes, too_long()))));
                }
                Step::Message(bytes) => {
                    let offset = self.window.position();
                    self.window.consume(bytes);
                    return Ok(Some(Record::Message { offset, bytes }));
                }
                Step::Bad(bytes, problem) => {
                    return Ok(Some(Record::Rejected(self.reject(bytes, problem))));
                }
                Step::More if input.len() > MAX_RECORD && self.records.wants_first() => {
                    return Err(self.unreadable(format!("its first record is longer than {MAX_RECORD} bytes")));
                }
                Step::More if input.len() > MAX_RECORD => {
                    self.skipping = Some(self.reject(self.window.bytes().len(), too_long()))
                }
                Step::More if ended => return Ok(None),
                Step::More => ended = !self.window.grow()?,
            }
        }
        self.pass_over()
    }

    /// Reads on to the end of a record that is too long, holding none of it.
    fn pass_over(&mut self) -> Result<Option<Record>, SourceError> {
        loop {
            let (bytes, done) = self.records.skip(self.window.bytes());
            self.window.consume(bytes);
            if done || (!self.window.grow()? && !self.options.follow) {
                return Ok(self.skipping.take().map(Record::Rejected));
            }
            if self.window.bytes().is_empty() {
                return Ok(None);
            }
        }
    }

    /// Takes the record of `bytes` at the start of the window out of it.
    fn reject(&mut self, bytes: usize, problem: Problem) -> Rejected {
        let offset = self.window.position();
        let value = self.window.bytes()[..bytes.min(MAX_REJECTED)].to_vec();
        self.window.consume(bytes);
        let reason = format!("{}: the record at byte {offset} {}", self.options.path.display(), problem.reason);
        Rejected { offset, key: None, value, cause: problem.cause, reason }
    }

    /// An error of the file that is read.
    pub fn error(&self, error: std::io::Error) -> SourceError {
        file_error(&self.options.path, error)
    }

    fn unreadable(&self, why: String) -> SourceError {
        self.error(std::io::Error::new(std::io::ErrorKind::InvalidData, why))
    }
}

fn records(format: &Format) -> Box<dyn Records> {
    match *format {
        Format::Csv { header, delimiter } => Box::new(Csv::new(header, delimiter)),
        Format::JsonLines => Box::new(JsonLines),
    }
}

fn too_long() -> Problem {
    Problem { cause: "too long", reason: format!("is longer than {MAX_RECORD} bytes") }
}

/// An error of the file at `path`.
pub fn file_error(path: &Path, error: std::io::Error) -> SourceError {
    SourceError::File { path: path.display().to_string(), error }
}
