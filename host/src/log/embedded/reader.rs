//! Reads a topic of the embedded log as a group: one reader for each group and topic.
//!
//! A second reader, in this process or another, is refused (Invariant 6), so all partitions are assigned at once and
//! for good.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::file::{Shared, bounds};
use super::{TopicRow, lock};
use crate::checkpoint::Position;
use crate::log::{BATCH_BYTES, LogError, Reading, Start};
use crate::message::{Fetch, Header};
use crate::source::{Assigned, Group, Poll, Source, SourceError};

/// How often a reader looks for what other processes wrote.
const LOOK: Duration = Duration::from_millis(50);

pub(super) struct EmbeddedReader {
    shared: Arc<Shared>,
    /// Its own, so that reading does not wait for writing.
    connection: Connection,
    topic: TopicRow,
    name: String,
    group: String,
    /// Most messages of a batch.
    batch: usize,
    /// For each partition, how far the group had come when this reader was opened.
    positions: Vec<Option<Position>>,
    assigned: bool,
    held: bool,
    /// For each partition that was started, where …
    began: Vec<Option<i64>>,
    /// … and the next offset to hand out.
    next: Vec<Option<i64>>,
    /// For each partition, where the topic ended when draining began.
    ends: Option<Vec<i64>>,
    /// The partition to look at first.
    turn: usize,
    /// Held as long as this reader lives.
    _lock: File,
}

impl EmbeddedReader {
    pub(super) fn open(shared: Arc<Shared>, name: &str, topic: TopicRow, reading: &Reading) -> Result<Self, LogError> {
        let group = reading.group.clone();
        let lock = lock::take(&shared, &group, name, &format!("topic {name:?}"))?;
        // `Latest` is written down at once: what comes after this moment belongs to the group, read or not.
        let positions = shared.write(|t| {
            let mut known =
                t.prepare_cached("SELECT next, place FROM positions WHERE grp = ?1 AND topic = ?2 AND partition = ?3")?;
            let positions = (0..topic.partitions as i32).map(|partition| {
                let known = known.query_row(params![group, topic.id, partition], position).optional()?;
                if known.is_some() || reading.start == Start::Earliest {
                    return Ok(known);
                }
                let end = Position { next: bounds(t, topic.id, partition)?.1, place: String::new() };
                remember(t, &group, topic.id, partition, &end)?;
                Ok(Some(end))
            });
            positions.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let connection = shared.connect()?;
        let next = vec![None; positions.len()];
        let batch = reading.batch.max(1);
        Ok(Self {
            shared,
            connection,
            topic,
            name: name.to_owned(),
            group,
            batch,
            positions,
            assigned: false,
            held: false,
            began: next.clone(),
            next,
            ends: None,
            turn: 0,
            _lock: lock,
        })
    }

    /// A batch of the next partition that has one.
    fn take(&mut self) -> rusqlite::Result<Option<Fetch>> {
        for step in 0..self.next.len() {
            let index = (self.turn + step) % self.next.len();
            let Some(next) = self.next[index] else { continue };
            let end = self.ends.as_ref().map_or(i64::MAX, |ends| ends[index]);
            let fetch = scan(&self.connection, self.topic.id, index as i32, next, end, self.batch, BATCH_BYTES)?;
            if !fetch.batch.is_empty() {
                self.next[index] = Some(fetch.next);
                self.turn = index + 1;
                return Ok(Some(fetch));
            }
        }
        Ok(None)
    }

    fn drained(&self) -> bool {
        let read = |(next, end): (&Option<i64>, &i64)| next.is_some_and(|next| next >= *end);
        self.ends.as_ref().is_some_and(|ends| self.next.iter().zip(ends).all(read))
    }

    /// The place of a partition in the lists.
    fn index(&self, partition: i32) -> Result<usize, LogError> {
        let index = usize::try_from(partition).ok().filter(|index| *index < self.next.len());
        index.ok_or_else(|| self.shared.broken(format!("there is no partition {partition}; this is a bug of the host")))
    }

    /// A number that changes when another process has written.
    fn data_version(&self) -> rusqlite::Result<i64> {
        self.connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
    }

    fn try_poll(&mut self, deadline: Instant) -> rusqlite::Result<Poll> {
        loop {
            // Both are taken before the look, so that no write falls between the look and the wait.
            let (commits, version) = (self.shared.commits(), self.data_version()?);
            if !self.held {
                if let Some(fetch) = self.take()? {
                    return Ok(Poll::Messages(fetch));
                }
                if self.drained() {
                    return Ok(Poll::End);
                }
            }
            while self.shared.commits() == commits && self.data_version()? == version {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(Poll::Idle);
                }
                self.shared.wait(commits, left.min(LOOK));
            }
        }
    }
}

impl Source for EmbeddedReader {
    fn poll(&mut self, wait: Duration) -> Result<Poll, SourceError> {
        if !std::mem::replace(&mut self.assigned, true) {
            let positions = (0..).zip(&self.positions);
            let assigned = positions.map(|(partition, position)| Assigned { partition, position: position.clone() });
            return Ok(Poll::Assigned(assigned.collect()));
        }
        self.try_poll(Instant::now() + wait).map_err(|e| self.shared.error(&e).into())
    }

    /// Refuses an offset that the topic has not reached: it is another one than was read.
    fn start(&mut self, partition: i32, next: Option<i64>) -> Result<(), SourceError> {
        let index = self.index(partition)?;
        let position = self.positions[index].as_ref().map(|position| position.next);
        let next = next.or(self.began[index]).or(position).unwrap_or(0);
        let (_, end) = bounds(&self.connection, self.topic.id, partition).map_err(|e| self.shared.error(&e))?;
        if next > end {
            let error = format!(
                "topic {:?} ends at offset {end} in partition {partition}, and was read up to {next} before, so it is \
                 another one now; read it under another `group`, or bring back the former file",
                self.name
            );
            return Err(self.shared.broken(error).into());
        }
        self.began[index].get_or_insert(next);
        self.next[index] = Some(next);
        Ok(())
    }

    /// Durable when it returns (Invariant 1).
    fn commit(&mut self, partition: i32, position: &Position) -> Result<(), SourceError> {
        self.index(partition)?;
        Ok(self.shared.write(|t| remember(t, &self.group, self.topic.id, partition, position))?)
    }

    fn group(&self) -> Option<Group> {
        let file = self.shared.path().to_owned();
        Some(Group::Embedded { file, group: self.group.clone(), topic: self.topic.id })
    }

    fn hold(&mut self, held: bool) {
        self.held = held;
    }

    fn drain(&mut self) -> Result<(), SourceError> {
        let ends = (0..self.next.len()).map(|p| bounds(&self.connection, self.topic.id, p as i32).map(|(_, end)| end));
        self.ends = Some(ends.collect::<Result<_, _>>().map_err(|e| self.shared.error(&e))?);
        Ok(())
    }
}

/// Messages of a partition from `from` up to `end`, in order, at most so many and so large; one at least.
pub(super) fn scan(
    c: &Connection,
    topic: i64,
    partition: i32,
    from: i64,
    end: i64,
    messages: usize,
    bytes: usize,
) -> rusqlite::Result<Fetch> {
    let mut statement = c.prepare_cached(
        r#"SELECT "offset", timestamp, key, value FROM messages
           WHERE topic = ?1 AND partition = ?2 AND "offset" >= ?3 AND "offset" < ?4 ORDER BY "offset" LIMIT ?5"#,
    )?;
    let limit = i64::try_from(messages).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![topic, partition, from, end, limit])?;
    let mut fetch = Fetch::new(partition, from);
    while let Some(row) = rows.next()? {
        let (key, value) = (blob(row, 2)?, blob(row, 3)?);
        let size = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
        if !fetch.batch.is_empty() && fetch.batch.bytes() + size > bytes {
            break;
        }
        let offset = row.get(0)?;
        fetch.batch.push(key, value, row.get(1)?);
        fetch.offsets.push(offset);
        fetch.next = offset + 1;
    }
    add_headers(c, topic, &mut fetch)?;
    Ok(fetch)
}

fn add_headers(c: &Connection, topic: i64, fetch: &mut Fetch) -> rusqlite::Result<()> {
    let Some(&first) = fetch.offsets.first() else {
        return Ok(());
    };
    let mut statement = c.prepare_cached(
        r#"SELECT "offset", name, value FROM headers
           WHERE topic = ?1 AND partition = ?2 AND "offset" >= ?3 AND "offset" < ?4 ORDER BY "offset", place"#,
    )?;
    let mut rows = statement.query(params![topic, fetch.partition, first, fetch.next])?;
    while let Some(row) = rows.next()? {
        let offset: i64 = row.get(0)?;
        let Ok(message) = fetch.offsets.binary_search(&offset) else {
            continue;
        };
        fetch.batch.headers.push(Header { message: message as u32, name: row.get(1)?, value: row.get(2)? });
    }
    Ok(())
}

pub(super) fn blob<'a>(row: &'a Row, column: usize) -> rusqlite::Result<Option<&'a [u8]>> {
    let value = row.get_ref(column)?;
    value
        .as_blob_or_null()
        .map_err(|e: FromSqlError| rusqlite::Error::FromSqlConversionFailure(column, value.data_type(), Box::new(e)))
}

/// A row's first two columns.
pub(super) fn position(row: &Row<'_>) -> rusqlite::Result<Position> {
    Ok(Position { next: row.get(0)?, place: row.get(1)? })
}

pub(super) fn remember(
    c: &Connection,
    group: &str,
    topic: i64,
    partition: i32,
    position: &Position,
) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO positions (grp, topic, partition, next, place) VALUES (?1, ?2, ?3, ?4, ?5)";
    c.prepare_cached(sql)?.execute(params![group, topic, partition, position.next, position.place])?;
    Ok(())
}
