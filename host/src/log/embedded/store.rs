//! Checkpoints and state of a group in the embedded log's file: one transaction covers them, output (messages of a topic,
//! or rows of a table), dead letters and positions (Invariant 1).

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Transaction, params};

use super::file::Shared;
use super::reader::{blob, remember};
use super::table::{Rows, Table};
use super::writer::{check_sizes, insert};
use super::{Embedded, TopicRow};
use crate::checkpoint::{Part, Position};
use crate::log::LogError;
use crate::message::Batch;
use crate::plugin::Entries;

/// What [`State::read`] hands out at a time: this many entries …
const PART_ENTRIES: usize = 4096;
/// … or this many bytes, except for one entry that is larger.
const PART_BYTES: usize = 1 << 20;

/// The right to write the checkpoints of one partition, until somebody else claims it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    checkpoint: i64,
    epoch: i64,
}

/// The state of a partition at one moment.
pub(crate) struct State {
    shared: Arc<Shared>,
    /// In a transaction that sees that moment.
    connection: Connection,
    claim: Claim,
}

/// Where output goes, and what.
pub(crate) enum Output<'a> {
    Topic(&'a str, &'a [Batch]),
    Table(&'a Table, &'a Rows),
}

/// What takes effect in one transaction.
pub(crate) struct Change<'a> {
    pub output: Option<Output<'a>>,
    /// A topic, which is created with the first letter, and what goes to it.
    pub letters: Option<(&'a str, &'a Batch)>,
    /// Counts up; says which partition messages without a key go to.
    pub keyless: u32,
    pub parts: Vec<(Claim, &'a Part)>,
    /// The group and the topic whose positions are in this file too, and the place of these checkpoints.
    pub positions: Option<(String, i64, String)>,
}

/// Whether a change took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// Nothing did, because somebody else has claimed this partition.
    Fenced(i32),
}

impl Embedded {
    pub(crate) fn file(&self) -> &Path {
        self.shared.path()
    }

    /// Refuses a batch in which one message is larger than a topic takes.
    pub(crate) fn check(&self, batch: &Batch) -> Result<(), LogError> {
        check_sizes(batch)
    }

    /// Makes a table, or sees that what is there is as declared; the inner error says how it is not.
    pub(crate) fn prepare(&self, table: &Table, group: &str) -> Result<Result<(), String>, LogError> {
        self.shared.write(|t| table.prepare(t, group))
    }

    /// Takes over a partition of a group from whoever had it (Invariant 6), with the last checkpoint as it was written.
    pub(crate) fn claim(&self, group: &str, partition: i32) -> Result<(Claim, Option<String>), LogError> {
        self.shared.write(|t| {
            t.query_row(
                "INSERT INTO checkpoints (grp, partition, epoch) VALUES (?1, ?2, 1)
                 ON CONFLICT (grp, partition) DO UPDATE SET epoch = epoch + 1 RETURNING id, epoch, checkpoint",
                params![group, partition],
                |row| Ok((Claim { checkpoint: row.get(0)?, epoch: row.get(1)? }, row.get(2)?)),
            )
        })
    }

    /// The state of a partition as it is now, for whichever thread: on a connection of its own, because others are not to
    /// wait for a long read.
    pub(crate) fn state(&self, claim: Claim) -> Result<State, LogError> {
        let connection = self.shared.connect()?;
        // The first look is the moment that all later ones see.
        let begun = connection.execute_batch("BEGIN; SELECT count(*) FROM log;");
        begun.map_err(|error| self.shared.error(&error))?;
        Ok(State { shared: self.shared.clone(), connection, claim })
    }

    /// Does all of a change in one transaction, or nothing.
    pub(crate) fn change(&self, change: &Change<'_>) -> Result<Outcome, LogError> {
        self.shared.write(|t| {
            for (claim, part) in &change.parts {
                if !holds(t, *claim)? {
                    return Ok(Outcome::Fenced(part.checkpoint.partition));
                }
            }
            match change.output {
                Some(Output::Topic(topic, batches)) => append(t, topic, batches, change.keyless)?,
                Some(Output::Table(table, rows)) => table.insert(t, rows)?,
                None => {}
            }
            if let Some((topic, letters)) = change.letters.filter(|(_, letters)| !letters.is_empty()) {
                TopicRow::create(t, topic, 1)?;
                append(t, topic, std::slice::from_ref(letters), change.keyless)?;
            }
            for (claim, part) in &change.parts {
                keep(t, *claim, part)?;
                if let Some((group, topic, place)) = &change.positions {
                    let position = Position { next: part.checkpoint.next, place: place.clone() };
                    remember(t, group, *topic, part.checkpoint.partition, &position)?;
                }
            }
            Ok(Outcome::Done)
        })
    }
}

impl State {
    /// Hands it out by key, a bounded part at a time.
    pub(crate) fn read(&self, each: &mut dyn FnMut(&Entries) -> ControlFlow<()>) -> Result<(), LogError> {
        self.try_read(each).map_err(|error| self.shared.error(&error))
    }

    fn try_read(&self, each: &mut dyn FnMut(&Entries) -> ControlFlow<()>) -> rusqlite::Result<()> {
        let mut statement =
            self.connection.prepare("SELECT key, value FROM state WHERE checkpoint = ?1 ORDER BY key")?;
        let mut rows = statement.query([self.claim.checkpoint])?;
        let mut part = Entries::default();
        while let Some(row) = rows.next()? {
            part.keys.push(blob(row, 0)?);
            part.values.push(blob(row, 1)?);
            if part.len() >= PART_ENTRIES || part.bytes() >= PART_BYTES {
                if each(&part).is_break() {
                    return Ok(());
                }
                part.keys.clear();
                part.values.clear();
            }
        }
        if !part.is_empty() {
            // There is nothing after it to be spared.
            let _ = each(&part);
        }
        Ok(())
    }
}

fn holds(t: &Transaction<'_>, claim: Claim) -> rusqlite::Result<bool> {
    let mut epoch = t.prepare_cached("SELECT epoch FROM checkpoints WHERE id = ?1")?;
    epoch.query_row([claim.checkpoint], |row| Ok(row.get::<_, i64>(0)? == claim.epoch))
}

fn append(t: &Transaction<'_>, topic: &str, batches: &[Batch], keyless: u32) -> rusqlite::Result<()> {
    let topic = TopicRow::find(t, topic)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let mut ends = vec![None; topic.partitions as usize];
    let keyless = (keyless % topic.partitions) as i32;
    batches.iter().try_for_each(|batch| insert(t, topic, &mut ends, keyless, batch))
}

/// Writes a checkpoint and what changed in the state beside it.
fn keep(t: &Transaction<'_>, claim: Claim, part: &Part) -> rusqlite::Result<()> {
    let mut set = t.prepare_cached("INSERT OR REPLACE INTO state (checkpoint, key, value) VALUES (?1, ?2, ?3)")?;
    let mut delete = t.prepare_cached("DELETE FROM state WHERE checkpoint = ?1 AND key = ?2")?;
    // Neighbours in the file one after the other, so that each of its pages is written once; of one key, in order.
    let mut changes: Vec<_> = part.changes.iter().collect();
    changes.sort_by_key(|(key, _)| *key);
    for (key, value) in changes {
        match value {
            Some(value) => set.execute(params![claim.checkpoint, key, value])?,
            None => delete.execute(params![claim.checkpoint, key])?,
        };
    }
    let json = serde_json::to_string(&part.checkpoint)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    t.prepare_cached("UPDATE checkpoints SET checkpoint = ?2 WHERE id = ?1")?
        .execute(params![claim.checkpoint, json])?;
    Ok(())
}
