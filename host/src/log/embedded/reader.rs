//! Reads a topic of the embedded log as a group: one reader for each group and topic.
//!
//! A second reader, in this process or another, is refused (Invariant 6) by a lock on a file beside the log, which the
//! system frees when its holder ends, whatever way it ends.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use super::TopicRow;
use super::file::{Shared, bounds};
use crate::checkpoint::Position;
use crate::log::{BATCH_BYTES, BATCH_MESSAGES, LogError, Start};
use crate::message::{Fetch, Header};
use crate::source::{Poll, Source, SourceError};

/// How often a reader looks for what other processes wrote.
const LOOK: Duration = Duration::from_millis(50);

pub(super) struct EmbeddedReader {
    shared: Arc<Shared>,
    /// Its own, so that reading does not wait for writing.
    connection: Connection,
    topic: TopicRow,
    group: String,
    /// For each partition, the next offset to hand out.
    next: Vec<i64>,
    /// For each partition, where the topic ended when draining began.
    ends: Option<Vec<i64>>,
    /// The partition to look at first.
    turn: usize,
    /// Held as long as this reader lives.
    _lock: File,
}

impl EmbeddedReader {
    pub(super) fn open(
        shared: Arc<Shared>,
        name: &str,
        topic: TopicRow,
        group: &str,
        start: Start,
    ) -> Result<Self, LogError> {
        let lock = lock(&shared, name, group)?;
        // `Latest` is written down at once: what comes after this moment belongs to the group, read or not.
        let next = shared.write(|t| {
            let mut known =
                t.prepare_cached("SELECT next FROM positions WHERE grp = ?1 AND topic = ?2 AND partition = ?3")?;
            let positions = (0..topic.partitions as i32).map(|partition| {
                let position = known.query_row(params![group, topic.id, partition], |row| row.get(0)).optional()?;
                match (position, start) {
                    (Some(position), _) => Ok(position),
                    (None, Start::Earliest) => Ok(0),
                    (None, Start::Latest) => {
                        let end = bounds(t, topic.id, partition)?.1;
                        remember(t, group, topic.id, partition, end)?;
                        Ok(end)
                    }
                }
            });
            positions.collect::<rusqlite::Result<Vec<i64>>>()
        })?;
        let connection = shared.connect()?;
        Ok(Self { shared, connection, topic, group: group.to_owned(), next, ends: None, turn: 0, _lock: lock })
    }

    /// A batch of the next partition that has one.
    fn take(&mut self) -> rusqlite::Result<Option<Fetch>> {
        for step in 0..self.next.len() {
            let index = (self.turn + step) % self.next.len();
            let end = self.ends.as_ref().map_or(i64::MAX, |ends| ends[index]);
            let partition = index as i32;
            let fetch =
                scan(&self.connection, self.topic.id, partition, self.next[index], end, BATCH_MESSAGES, BATCH_BYTES)?;
            if !fetch.batch.is_empty() {
                self.next[index] = fetch.next;
                self.turn = index + 1;
                return Ok(Some(fetch));
            }
        }
        Ok(None)
    }

    fn drained(&self) -> bool {
        self.ends.as_ref().is_some_and(|ends| self.next.iter().zip(ends).all(|(next, end)| next >= end))
    }

    /// A number that changes when another process has written.
    fn data_version(&self) -> rusqlite::Result<i64> {
        self.connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
    }

    fn try_poll(&mut self, deadline: Instant) -> rusqlite::Result<Poll> {
        loop {
            // Both are taken before the look, so that no write falls between the look and the wait.
            let (commits, version) = (self.shared.commits(), self.data_version()?);
            if let Some(fetch) = self.take()? {
                return Ok(Poll::Messages(fetch));
            }
            if self.drained() {
                return Ok(Poll::End);
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
        self.try_poll(Instant::now() + wait).map_err(|e| self.shared.error(&e).into())
    }

    /// Durable when it returns (Invariant 1).
    fn start(&mut self, _partition: i32, _next: Option<i64>) -> Result<(), SourceError> {
        todo!("assigned first")
    }

    fn commit(&mut self, partition: i32, position: &Position) -> Result<(), SourceError> {
        if !(0..self.next.len() as i64).contains(&i64::from(partition)) {
            return Err(self
                .shared
                .broken(format!("there is no partition {partition} to commit; this is a bug of the host"))
                .into());
        }
        Ok(self.shared.write(|t| remember(t, &self.group, self.topic.id, partition, position.next))?)
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

fn blob<'a>(row: &'a Row, column: usize) -> rusqlite::Result<Option<&'a [u8]>> {
    let value = row.get_ref(column)?;
    value
        .as_blob_or_null()
        .map_err(|e: FromSqlError| rusqlite::Error::FromSqlConversionFailure(column, value.data_type(), Box::new(e)))
}

fn remember(c: &Connection, group: &str, topic: i64, partition: i32, next: i64) -> rusqlite::Result<()> {
    c.prepare_cached("INSERT OR REPLACE INTO positions (grp, topic, partition, next) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![group, topic, partition, next])?;
    Ok(())
}

/// Takes the lock of a group and topic. The file is named by a hash, because a group may have any name,
/// and stays when the lock goes: to delete it would let two readers hold two files of the same name.
fn lock(shared: &Shared, topic: &str, group: &str) -> Result<File, LogError> {
    let mut folder = shared.path().as_os_str().to_owned();
    folder.push(".readers");
    let hash = Sha256::new().chain_update(topic).chain_update([0]).chain_update(group).finalize();
    let name: String = hash[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    let path = std::path::Path::new(&folder).join(name);
    let failed = |e: std::io::Error| {
        shared.broken(format!("cannot lock {}: {e}; give this user the right to write there", path.display()))
    };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only to name the holder: what is there is short, and ours.
            let _ = (&mut file).take(20).read_to_string(&mut holder);
            return Err(shared.broken(format!(
                "group {group:?} already reads topic {topic:?}, in process {}; end that one, name another group, \
                 or use Kafka, where a group spreads over processes",
                holder.trim()
            )));
        }
        Err(TryLockError::Error(e)) => return Err(failed(e)),
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}
