//! A growing Delta table as a stream: the rows that each version adds, in order, as JSON objects.
//!
//! An offset is the version and the row in it, so it can go back (`reader.rs`). A version that only moves rows into other
//! files is passed over. One that takes rows away ends the run: a stream cannot take them back. So does a version whose
//! entry the table no longer keeps, where it was not read yet. Where the first versions are gone when a group begins, it
//! begins with all rows of the first version that can still be told.
//!
//! Positions are kept in the embedded log, by the table's own id: another table in the same place is another source.

mod reader;
mod rows;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::checkpoint::Position;
use crate::delta::{Table, TableError};
use crate::log::BATCH_MESSAGES;
use crate::log::embedded::Embedded;
use crate::objects;
use crate::source::single::Single;
use crate::source::{Poll, Source, SourceError};
use crate::uri::Location;
use reader::{Offset, Reader};

/// How often is looked for another version: on a disk, and in a bucket.
const LOOK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

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

/// Reads one table, which is one partition.
pub struct DeltaSource {
    table: Arc<Table>,
    reader: Reader,
    start: Start,
    look: Duration,
    single: Single<Offset>,
    /// The last version that is handed out.
    last: Option<u32>,
}

/// What is read, in words that are the same as long as its offsets mean the same.
pub fn identity(options: &Options, s3: &objects::Options) -> Result<String, SourceError> {
    Ok(format!("Delta table {}", id(&Table::new(&options.table, s3)?)?))
}

fn id(table: &Table) -> Result<String, TableError> {
    match table.snapshot(None)? {
        Some(snapshot) => Ok(snapshot.metadata().id().to_owned()),
        None => Err(table.refused("there is no table; name one that is there, or run first what creates it")),
    }
}

impl DeltaSource {
    /// A reader of the table for `group`; a second one is refused (Invariant 6).
    pub fn open(
        options: &Options,
        s3: &objects::Options,
        positions: Embedded,
        group: &str,
    ) -> Result<Self, SourceError> {
        let table = Arc::new(Table::new(&options.table, s3)?);
        let single = Single::open(positions, group, format!("delta:{}", id(&table)?))?;
        let look = if matches!(options.table, Location::Directory(_)) { LOOK.0 } else { LOOK.1 };
        let reader = Reader::new(table.clone(), BATCH_MESSAGES);
        let mut opened = Self { table, reader, start: options.start, look, single, last: None };
        // Written down at once: what comes after this moment belongs to the group, read or not.
        if opened.single.position.is_none() && opened.start == Start::Latest {
            let end = Position { next: opened.as_group()?.number(), place: String::new() };
            opened.single.commit(&end)?;
            opened.single.position = Some(end);
        }
        Ok(opened)
    }

    /// Hands out at most `messages` in a batch.
    pub fn batches_of(mut self, messages: usize) -> Self {
        self.reader.batch = messages.max(1);
        self
    }

    /// Where the group goes on.
    fn as_group(&self) -> Result<Offset, SourceError> {
        if let Some(position) = &self.single.position {
            return Ok(self.offset(position.next)?);
        }
        Ok(match self.start {
            Start::Earliest => self.reader.earliest()?,
            Start::Latest => Offset::of(self.latest()? + 1),
            Start::Version(version) => Offset::of(version),
        })
    }

    fn offset(&self, next: i64) -> Result<Offset, TableError> {
        Offset::try_from(next).map_err(|what| self.table.refused(what))
    }

    /// The last version that is there.
    fn latest(&self) -> Result<u32, TableError> {
        match self.table.snapshot(None)? {
            Some(snapshot) => reader::number(&self.table, snapshot.version()),
            None => Err(self.table.refused("the table is gone; bring it back")),
        }
    }
}

impl Source for DeltaSource {
    fn poll(&mut self, wait: Duration) -> Result<Poll, SourceError> {
        if let Some(found) = self.single.poll(wait) {
            return Ok(found);
        }
        let deadline = Instant::now() + wait;
        loop {
            if let Some(fetch) = self.reader.fetch(self.last)? {
                return Ok(Poll::Messages(fetch));
            }
            if self.last.is_some_and(|last| self.reader.is_behind(last)) {
                return Ok(Poll::End);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(self.look));
            if left <= self.look {
                return Ok(Poll::Idle);
            }
        }
    }

    fn start(&mut self, _partition: i32, next: Option<i64>) -> Result<(), SourceError> {
        let next = next.map(|next| self.offset(next)).transpose()?;
        let from = match (self.single.began, next) {
            (_, Some(next)) => next,
            (None, None) => self.as_group()?,
            (Some(began), None) => began,
        };
        self.single.began.get_or_insert(from);
        self.reader.go_to(from);
        Ok(())
    }

    fn commit(&mut self, _partition: i32, position: &Position) -> Result<(), SourceError> {
        Ok(self.single.commit(position)?)
    }

    fn hold(&mut self, held: bool) {
        self.single.held = held;
    }

    fn drain(&mut self) -> Result<(), SourceError> {
        self.last = Some(self.latest()?);
        Ok(())
    }
}
