//! Output, dead letters, state and checkpoints into the embedded log: one SQLite transaction a commit. Output is messages
//! of a topic, or rows of a table (`sqlite.rs`).
//!
//! What is not committed is held in memory. It is due at 4 MiB, so there is never more of it than that and what one
//! call puts out in each partition, which the plugins' limits bound (Invariant 8).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::checkpoint::Checkpoint;
use crate::log::embedded::Embedded;
use crate::log::embedded::store::{Change, Claim, Outcome, Output};
use crate::log::embedded::writer::{PENDING_BYTES, PENDING_MESSAGES};
use crate::log::{Log, LogError, check_name};
use crate::message::Batch;
use crate::sink::{Kept, Positions, Refused, Sink, SinkError, Step, sqlite};
use crate::source::Group;

/// Writes to a file of the embedded log, in the same transaction in which it keeps state and checkpoints there.
pub struct EmbeddedSink {
    log: Embedded,
    group: String,
    place: String,
    into: Target,
    letters: Option<String>,
    interval: Duration,
    /// The partitions that are open.
    claims: BTreeMap<i32, Claim>,
    /// The partition of messages without a key: each commit goes to the next one, as Kafka's batches do.
    keyless: u32,
}

/// Where output goes, with what is not committed of it.
enum Target {
    Nowhere,
    Topic(String, Vec<Batch>),
    Table(Box<sqlite::Writer>),
}

impl EmbeddedSink {
    /// Without a `topic` only state and checkpoints are kept; `letters` is where dead letters go, a topic that is
    /// created with the first one.
    pub fn new(
        log: Embedded,
        group: &str,
        topic: Option<&str>,
        letters: Option<&str>,
        interval: Duration,
    ) -> Result<Self, LogError> {
        topic.map(|topic| log.describe(topic)).transpose()?;
        letters.map(check_name).transpose()?;
        let into = topic.map_or(Target::Nowhere, |topic| Target::Topic(topic.to_owned(), Vec::new()));
        let place = format!("kafka:///?group={group}");
        let letters = letters.map(str::to_owned);
        Ok(Self { letters, ..Self::into(log, group, place, into, interval) })
    }

    /// Into a table that is there.
    pub(super) fn of_table(
        log: Embedded,
        group: &str,
        place: String,
        table: sqlite::Writer,
        interval: Duration,
    ) -> Self {
        Self::into(log, group, place, Target::Table(Box::new(table)), interval)
    }

    fn into(log: Embedded, group: &str, place: String, into: Target, interval: Duration) -> Self {
        let (group, claims) = (group.to_owned(), BTreeMap::new());
        Self { log, group, place, into, letters: None, interval, claims, keyless: 0 }
    }

    fn claim(&self, partition: i32) -> Result<Claim, SinkError> {
        let what = || format!("partition {partition} is not open; this is a bug of the host");
        self.claims.get(&partition).copied().ok_or_else(|| self.fault(what()))
    }

    fn fault(&self, what: String) -> SinkError {
        SinkError::Checkpoint { place: self.place(), what }
    }
}

impl Target {
    fn clear(&mut self) {
        match self {
            Self::Nowhere => {}
            Self::Topic(_, pending) => pending.clear(),
            Self::Table(table) => table.clear(),
        }
    }
}

impl Sink for EmbeddedSink {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn exactly_once(&self) -> bool {
        true
    }

    fn open(&mut self, partition: i32) -> Result<Option<Checkpoint>, SinkError> {
        let (claim, checkpoint) = self.log.claim(&self.group, partition)?;
        self.claims.insert(partition, claim);
        let read = checkpoint.map(|json| serde_json::from_str(&json)).transpose();
        read.map_err(|error| {
            self.fault(format!(
                "the checkpoint of partition {partition} in {} cannot be read ({error}); use the host that wrote it, \
                 bring back an undamaged copy, or start anew under another `group`",
                self.log.file().display()
            ))
        })
    }

    fn kept(&self, last: &Checkpoint) -> Result<Kept, SinkError> {
        let state = self.log.state(self.claim(last.partition)?)?;
        Ok(Box::new(move |each| Ok(state.read(each)?)))
    }

    fn write(&mut self, partition: i32, batch: &Batch, _first: i64) -> Result<Vec<Refused>, SinkError> {
        self.claim(partition)?;
        match &mut self.into {
            Target::Nowhere => {
                Err(self.fault("there is no topic for the output; this is a bug of the host".to_owned()))
            }
            Target::Topic(_, pending) => {
                self.log.check(batch)?;
                pending.push(batch.clone());
                Ok(Vec::new())
            }
            Target::Table(table) => Ok(table.write(batch)),
        }
    }

    fn due(&self, since: Instant) -> Instant {
        if self.full() { since } else { since + self.interval }
    }

    fn full(&self) -> bool {
        match &self.into {
            Target::Nowhere => false,
            Target::Topic(_, pending) => {
                let (messages, bytes) =
                    pending.iter().fold((0, 0), |(m, b), batch| (m + batch.len(), b + batch.bytes()));
                bytes > PENDING_BYTES || messages > PENDING_MESSAGES
            }
            Target::Table(table) => table.is_full(),
        }
    }

    fn abort(&mut self) -> Result<(), SinkError> {
        self.into.clear();
        Ok(())
    }

    fn commit(&mut self, step: Step<'_>) -> Result<Positions, SinkError> {
        let mut parts = Vec::with_capacity(step.parts.len());
        for part in step.parts {
            parts.push((self.claim(part.checkpoint.partition)?, part));
        }
        let positions = match step.source.group() {
            Some(Group::Embedded { file, group, topic }) if file == self.log.file() => {
                Some((group, topic, self.place()))
            }
            _ => None,
        };
        let same_step = if positions.is_some() { Positions::Committed } else { Positions::Open };
        if self.letters.is_none() && !step.letters.is_empty() {
            return Err(self.fault("there is no topic for the dead letters; this is a bug of the host".to_owned()));
        }
        let change = Change {
            output: match &self.into {
                Target::Nowhere => None,
                Target::Topic(topic, pending) => Some(Output::Topic(topic, pending)),
                Target::Table(table) => Some(Output::Table(&table.table, &table.rows)),
            },
            letters: self.letters.as_deref().map(|topic| (topic, step.letters)),
            keyless: self.keyless,
            parts,
            positions,
        };
        match self.log.change(&change)? {
            Outcome::Done => {}
            Outcome::Fenced(partition) => {
                let what = format!(
                    "another host has taken over partition {partition}; what this one had not committed is done there"
                );
                return Err(SinkError::Fenced { place: self.place(), what });
            }
        }
        self.into.clear();
        self.keyless = self.keyless.wrapping_add(1);
        Ok(same_step)
    }

    fn close(&mut self, partition: i32) -> Result<(), SinkError> {
        self.claims.remove(&partition);
        Ok(())
    }
}
