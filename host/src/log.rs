//! Topics that keep what went through them: the embedded SQLite file, or Kafka.
//!
//! No topic is ever created by reading or writing it, only by [`Log::create_topic`].

pub mod connect;
pub mod embedded;
pub mod kafka;
mod partition;

use std::time::Duration;

use crate::message::{Batch, Fetch};
use crate::metrics::Counters;
use crate::source::Source;

/// Where a group that has no position yet starts to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    #[default]
    Earliest,
    Latest,
}

/// How a group reads a topic.
#[derive(Debug, Clone)]
pub struct Reading {
    pub group: String,
    pub start: Start,
    /// What one batch holds at most, in messages.
    pub batch: usize,
    /// Who this reader is among the group's: the same after a restart, and of one living reader only. Without it,
    /// whoever comes.
    pub member: Option<String>,
    /// How long the plugins may take for one batch, so that no group gives the partition away meanwhile.
    pub calls: Duration,
    /// How long it may take to find the messages of a batch that they fail on.
    pub looking: Duration,
    /// Where it is counted when what was to be read next is not there any more.
    pub counters: Counters,
}

impl Reading {
    pub fn new(group: &str, start: Start) -> Self {
        Self {
            group: group.to_owned(),
            start,
            batch: BATCH_MESSAGES,
            member: None,
            calls: Duration::ZERO,
            looking: Duration::ZERO,
            counters: Counters::default(),
        }
    }
}

/// What a reader hands over in one batch by default: this many messages …
pub const BATCH_MESSAGES: usize = 4096;
/// … or this many bytes of keys and values, except for one message that is larger (Invariant 8).
const BATCH_BYTES: usize = 1 << 20;
/// What [`Log::read`] hands over at most, in bytes of keys and values, except for one message that is larger.
const READ_BYTES: usize = 8 << 20;

/// A topic as `host topics list` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    /// For each partition, the first offset there is and the one the next message gets.
    pub partitions: Vec<(i64, i64)>,
}

/// Topics, append-only and partitioned, with positions by group.
///
/// Both implementations pass `host/tests/conformance/log.rs`.
pub trait Log: Send + Sync {
    /// Creates `topic` when it is absent; says whether it did. A topic that exists keeps its
    /// partitions: [`LogError::Partitions`] where they are fewer than asked.
    fn create_topic(&self, topic: &str, partitions: u32) -> Result<bool, LogError>;

    /// The same for a topic that keeps the last value of each key, however old. One that forgets by time is refused.
    fn create_compacted(&self, topic: &str, partitions: u32) -> Result<bool, LogError>;

    fn topics(&self) -> Result<Vec<Topic>, LogError>;

    /// One topic, which exists.
    fn describe(&self, topic: &str) -> Result<Topic, LogError>;

    /// A writer to a topic that exists.
    fn writer(&self, topic: &str) -> Result<Box<dyn Writer>, LogError>;

    /// A reader of all partitions of a topic that exists, together with whoever else reads as the same group.
    fn reader(&self, topic: &str, reading: &Reading) -> Result<Box<dyn Source>, LogError>;

    /// At most `limit` messages of one partition from `offset` on, outside of any group. Gives fewer
    /// (maybe none) where the topic ends, and where they would be more than 8 MiB, but one at least; never
    /// waits for what is not there yet.
    fn read(&self, topic: &str, partition: i32, offset: i64, limit: usize) -> Result<Fetch, LogError>;
}

/// Appends to one topic. A message with a key goes to the partition that its key says,
/// by Kafka's own hash (murmur2), so that both logs and Java clients agree.
pub trait Writer: Send {
    /// Hands over messages; they are safe only after [`Writer::flush`]. Blocks when too many are under way.
    fn append(&mut self, batch: &Batch) -> Result<(), LogError>;

    /// Returns when everything appended is durable.
    fn flush(&mut self) -> Result<(), LogError>;
}

/// What went wrong with a log; the text says who is at fault, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{0}")]
    Unreachable(String),
    #[error("topic {topic:?} does not exist in {log}; create it with: host topics create {log}/{topic}")]
    NoTopic { topic: String, log: String },
    #[error("{0:?} is not a topic name: use 1 to 249 letters, digits, '.', '_' and '-'")]
    Name(String),
    #[error(
        "topic {topic:?} has {actual} partition(s) and the pipeline asks for {asked}; change `partitions` in the pipeline, or the topic"
    )]
    Partitions { topic: String, actual: u32, asked: u32 },
    #[error(
        "a message of {bytes} bytes is larger than {log} takes ({limit} bytes); make it smaller, or raise max.message.bytes of a Kafka topic"
    )]
    TooLarge { log: String, bytes: usize, limit: usize },
    /// What was under way is undone, and can be done again from the last checkpoint.
    #[error("{log}: {error}")]
    Interrupted { log: String, error: String },
    #[error("{log}: {error}")]
    Broken { log: String, error: String },
}

/// Whether `name` can be a topic, by Kafka's rule.
pub fn check_name(name: &str) -> Result<(), LogError> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if (1..=249).contains(&name.len()) && name.bytes().all(legal) && name != "." && name != ".." {
        Ok(())
    } else {
        Err(LogError::Name(name.to_owned()))
    }
}
