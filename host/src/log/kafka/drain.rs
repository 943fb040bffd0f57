//! When a reader that drains has come to its end, alone or among others.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::client::Context;
use super::reader::KafkaReader;
use super::{ANSWER, positions, transaction};
use crate::log::LogError;

/// How often a reader without partitions asks how far the others have come.
const ASK: Duration = Duration::from_secs(1);
/// How long that may hold up a poll; it is asked again later.
const ASK_ANSWER: Duration = Duration::from_millis(500);

/// Where each partition began and ended when draining began, with what was under way there: a broker says that a
/// transaction is committed a moment before it shows it.
pub(super) struct Drain {
    bounds: Vec<(i64, i64)>,
    /// Until when what is under way is waited for.
    settled: Instant,
    asked: Option<Instant>,
}

impl Drain {
    pub(super) fn new(reader: &KafkaReader) -> Result<Self, LogError> {
        let KafkaReader { cluster, topic, .. } = reader;
        let asking = cluster.asking()?;
        let bounds = (0..reader.count as i32).map(|p| asking.fetch_watermarks(topic, p, ANSWER));
        let bounds = bounds.collect::<Result<_, _>>().map_err(|e| cluster.error(topic, &e))?;
        Ok(Self { bounds, settled: Instant::now() + transaction::settled(cluster), asked: None })
    }

    /// Whether there is nothing under way before the end of a partition of which so much is committed. After a time
    /// the rest is not waited for: it is of a stranger, and comes in the next run.
    pub(super) fn is_settled(&mut self, partition: i32, committed: i64) -> bool {
        let Some((_, end)) = self.bounds.get_mut(partition as usize) else { return true };
        if Instant::now() >= self.settled {
            *end = committed.min(*end);
        }
        committed >= *end
    }

    /// Where a partition ended; one that was added since is of no interest.
    pub(super) fn end(&self, partition: i32) -> i64 {
        self.bounds.get(partition as usize).map_or(i64::MIN, |&(_, end)| end)
    }

    /// Whether the group has come to the end of every partition, asked now and then.
    pub(super) fn committed(&mut self, consumer: &BaseConsumer<Context>, topic: &str) -> bool {
        if self.asked.is_some_and(|asked| asked.elapsed() < ASK) {
            return false;
        }
        let partitions = positions::partitions(topic, 0..self.bounds.len() as i32);
        let known = consumer.committed_offsets(partitions, ASK_ANSWER);
        self.asked = Some(Instant::now());
        let Ok(known) = known else { return false };
        positions::committed(&known).iter().zip(&self.bounds).all(|((_, position), &(first, end))| {
            // Where there never was anything to read there is no position.
            position.as_ref().map_or(first, |position| position.next) >= end
        })
    }
}
