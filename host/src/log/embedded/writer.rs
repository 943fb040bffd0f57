//! Appends to a topic of the embedded log: one transaction a flush.

use std::sync::Arc;

use rusqlite::{Transaction, params};

use super::file::{Shared, bounds};
use super::{NAME, TopicRow};
use crate::log::{LogError, Writer, partition};
use crate::message::{Batch, Header};

/// The largest message, key and value together.
pub(crate) const MESSAGE_BYTES: usize = 16 << 20;
/// What is held in memory before a flush happens by itself.
pub(crate) const PENDING_BYTES: usize = 4 << 20;
pub(crate) const PENDING_MESSAGES: usize = 20_000;

pub(super) struct EmbeddedWriter {
    shared: Arc<Shared>,
    topic: TopicRow,
    pending: Vec<Batch>,
    messages: usize,
    bytes: usize,
    /// The partition of messages without a key: each flush goes to the next one, as Kafka's batches do.
    keyless: i32,
}

impl EmbeddedWriter {
    pub(super) fn new(shared: Arc<Shared>, topic: TopicRow) -> Self {
        Self { shared, topic, pending: Vec::new(), messages: 0, bytes: 0, keyless: 0 }
    }
}

impl Writer for EmbeddedWriter {
    /// Takes the batch whole or, where one message is too large, not at all.
    fn append(&mut self, batch: &Batch) -> Result<(), LogError> {
        check_sizes(batch)?;
        self.messages += batch.len();
        self.bytes += batch.bytes();
        self.pending.push(batch.clone());
        if self.bytes > PENDING_BYTES || self.messages > PENDING_MESSAGES { self.flush() } else { Ok(()) }
    }

    /// After an error nothing of this was written, and it can be flushed again.
    fn flush(&mut self) -> Result<(), LogError> {
        if self.messages == 0 {
            return Ok(());
        }
        self.shared.write(|t| {
            let mut ends = vec![None; self.topic.partitions as usize];
            self.pending.iter().try_for_each(|batch| insert(t, self.topic, &mut ends, self.keyless, batch))
        })?;
        self.keyless = (self.keyless + 1) % self.topic.partitions as i32;
        self.pending.clear();
        (self.messages, self.bytes) = (0, 0);
        Ok(())
    }
}

/// Refuses a batch in which one message is too large.
pub(super) fn check_sizes(batch: &Batch) -> Result<(), LogError> {
    let sizes = batch.keys.lengths.iter().zip(&batch.values.lengths);
    let largest = sizes.map(|(&key, &value)| key.max(0) as usize + value.max(0) as usize).max();
    match largest.filter(|&bytes| bytes > MESSAGE_BYTES) {
        Some(bytes) => Err(LogError::TooLarge { log: NAME.to_owned(), bytes, limit: MESSAGE_BYTES }),
        None => Ok(()),
    }
}

/// Gives each message the next offset of its partition; `ends` remembers those of this transaction.
pub(super) fn insert(
    t: &Transaction,
    topic: TopicRow,
    ends: &mut [Option<i64>],
    keyless: i32,
    batch: &Batch,
) -> rusqlite::Result<()> {
    let mut message = t.prepare_cached(
        r#"INSERT INTO messages (topic, partition, "offset", timestamp, key, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"#,
    )?;
    let mut header = t.prepare_cached(
        r#"INSERT INTO headers (topic, partition, "offset", place, name, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"#,
    )?;
    let mut headers: Vec<&Header> = batch.headers.iter().collect();
    headers.sort_by_key(|header| header.message);
    let mut headers = headers.into_iter().peekable();
    let messages = batch.keys.iter().zip(&batch.values).zip(&batch.timestamps);
    for (index, ((key, value), timestamp)) in (0u32..).zip(messages) {
        let partition = key.map_or(keyless, |key| partition::of_key(key, topic.partitions));
        let end = &mut ends[partition as usize];
        let offset = match *end {
            Some(offset) => offset,
            None => bounds(t, topic.id, partition)?.1,
        };
        *end = Some(offset + 1);
        message.execute(params![topic.id, partition, offset, timestamp, key, value])?;
        let mut place = 0;
        while let Some(h) = headers.next_if(|h| h.message == index) {
            header.execute(params![topic.id, partition, offset, place, h.name, h.value])?;
            place += 1;
        }
    }
    Ok(())
}
