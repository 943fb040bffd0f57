//! Reads a part of one partition outside of any group, once: messages for a person, a state for a new owner.

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::topic_partition_list::Offset;

use super::ANSWER;
use super::client::{Cluster, Context};
use super::fault;
use super::queue::{Queue, Special};
use crate::log::LogError;
use crate::message::Fetch;

/// A reader of what is committed before a given offset.
pub(super) struct Scan<'a> {
    queue: Queue,
    consumer: &'a BaseConsumer<Context>,
    cluster: &'a Cluster,
    topic: &'a str,
    partition: i32,
    next: i64,
    end: i64,
    /// How long it may go on that nothing comes.
    patience: Duration,
}

impl<'a> Scan<'a> {
    /// Reads what there is from offset `from` to `end`, or to where the committed messages end now. Where a transaction
    /// is open before `end`, waits until it is settled, for at most `patience`. The consumer is for scanning, and has
    /// one scan at a time.
    pub(super) fn new(
        consumer: &'a BaseConsumer<Context>,
        cluster: &'a Cluster,
        topic: &'a str,
        partition: i32,
        from: i64,
        end: Option<i64>,
        patience: Duration,
    ) -> Result<Self, LogError> {
        let bounds = consumer.fetch_watermarks(topic, partition, ANSWER);
        let (first, committed) = bounds.map_err(|e| cluster.error(topic, &e))?;
        let (next, end) = (from.max(first), end.unwrap_or(committed));
        let queue = Queue::of_partition(consumer, topic, partition)
            .ok_or_else(|| cluster.broken(format!("librdkafka has no queue for {topic}-{partition}; this is a bug")))?;
        let mut list = TopicPartitionList::new();
        let added = list.add_partition_offset(topic, partition, Offset::Offset(next));
        added.and_then(|()| consumer.assign(&list)).map_err(|e| cluster.error(topic, &e))?;
        Ok(Self { queue, consumer, cluster, topic, partition, next, end, patience })
    }

    /// The next messages: so many, or so many bytes of them (one at least), or all up to the end. None are left when it
    /// gives none.
    pub(super) fn take(&mut self, messages: usize, bytes: usize) -> Result<Fetch, LogError> {
        let mut fetch = Fetch::new(self.partition, self.next);
        let mut deadline = Instant::now() + self.patience;
        while fetch.next < self.end && fetch.batch.len() < messages {
            let before = fetch.next;
            match self.queue.take(&mut fetch, messages, bytes, self.end) {
                // The last offsets may be no messages, but marks of transactions.
                Some(Special::End(reached)) if reached >= self.end => fetch.next = self.end,
                Some(Special::Full) => break,
                Some(Special::OutOfRange(offset)) => {
                    let error = format!(
                        "offset {offset} of {}-{} was deleted just now; read again",
                        self.topic, self.partition
                    );
                    return Err(self.cluster.interrupted(error));
                }
                Some(Special::Failed(code, _)) => return Err(self.cluster.fault(self.topic, code)),
                _ => {}
            }
            let now = Instant::now();
            if fetch.next > before {
                deadline = now + self.patience;
            } else if now >= deadline {
                return Err(self.cluster.interrupted(format!(
                    "{}-{} could not be read beyond offset {before} for {} s: {}",
                    self.topic,
                    self.partition,
                    self.patience.as_secs(),
                    fault::explain("", Code::OperationTimedOut)
                )));
            } else {
                let _ = self.consumer.poll(Duration::ZERO);
                self.consumer.context().wake().wait(now + Duration::from_millis(100));
            }
        }
        self.next = fetch.next;
        Ok(fetch)
    }
}

impl Drop for Scan<'_> {
    /// What is not read is not to be fetched either.
    fn drop(&mut self) {
        if let Err(error) = self.consumer.unassign() {
            tracing::debug!("{}: {}-{}: {error}", self.cluster.name, self.topic, self.partition);
        }
    }
}
