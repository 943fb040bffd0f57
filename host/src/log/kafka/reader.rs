//! Reads a topic as a member of a consumer group, and scans a partition outside of any.
//!
//! A broker that is gone is waited for; what is no hope to wait for (the topic was deleted, this user may
//! not read it) is an error.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::Offset;

use super::ANSWER;
use super::client::{self, Change, Cluster, Context};
use super::queue::{Queue, Special};
use crate::checkpoint::Position;
use crate::log::{BATCH_BYTES, BATCH_MESSAGES, LogError, READ_BYTES, Start};
use crate::message::Fetch;
use crate::source::{Poll, Source, SourceError};

/// How long a commit is tried again while the group is rebalancing or its coordinator moves.
const COMMIT: Duration = Duration::from_secs(30);
/// The consumer must be polled now and then, messages or not, to stay in its group.
const SERVE: Duration = Duration::from_secs(1);
/// How often a reader to whom nothing comes asks whether its topic is still there: librdkafka does not
/// tell when it was deleted.
const LOOK: Duration = Duration::from_secs(3);
/// How long that may hold up a poll; a broker that does not answer by then is asked again later.
const LOOK_ANSWER: Duration = Duration::from_millis(200);

pub(super) struct KafkaReader {
    // Queues and the messages in them go before their client: fields are dropped in this order.
    partitions: BTreeMap<i32, Partition>,
    events: Queue,
    consumer: BaseConsumer<Context>,
    cluster: Cluster,
    topic: String,
    count: u32,
    /// Partitions that went and were not yet told of.
    revoked: Vec<i32>,
    /// Whether the group has said, once, what is ours.
    joined: bool,
    /// Where each partition ended when draining began.
    ends: Option<Vec<i64>>,
    /// The partition that was served last.
    turn: i32,
    /// When something came, or the topic was looked for, and how often in a row it was not there.
    looked: Instant,
    missing: u32,
}

struct Partition {
    queue: Queue,
    /// Everything before has been handed out, or is nothing to hand out.
    position: i64,
}

impl KafkaReader {
    pub(super) fn new(cluster: Cluster, topic: &str, count: u32, group: &str, start: Start) -> Result<Self, LogError> {
        let reset = match start {
            Start::Earliest => "earliest",
            Start::Latest => "latest",
        };
        let context = Context::reading(&cluster.name, topic, reset);
        let wake = context.wake().clone();
        let mut consumer = cluster.consumer(Some(group), count, context)?;
        consumer.set_nonempty_callback(move || wake.set());
        let events = Queue::of_consumer(&consumer)
            .ok_or_else(|| cluster.broken("librdkafka has no queue for the consumer; this is a bug".to_owned()))?;
        if start == Start::Latest {
            pin(&cluster, &consumer, topic, count)?;
        }
        consumer.subscribe(&[topic]).map_err(|e| cluster.error(topic, &e))?;
        Ok(Self {
            partitions: BTreeMap::new(),
            events,
            consumer,
            cluster,
            topic: topic.to_owned(),
            count,
            revoked: Vec::new(),
            joined: false,
            ends: None,
            turn: -1,
            looked: Instant::now(),
            missing: 0,
        })
    }

    /// Serves rebalances and errors. Never waits.
    fn serve(&mut self) -> Result<(), LogError> {
        loop {
            match self.consumer.poll(Duration::ZERO) {
                None => {}
                Some(Ok(message)) => {
                    // Its queue was separated before fetching began; going on would lose it.
                    let (partition, offset) =
                        (rdkafka::Message::partition(&message), rdkafka::Message::offset(&message));
                    return Err(self.cluster.broken(format!(
                        "message {}-{partition}-{offset} came the wrong way; this is a bug of the host, run again",
                        self.topic
                    )));
                }
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    return Err(self.cluster.broken(client::explain(&self.topic, code)));
                }
                Some(Err(error)) => match error.rdkafka_error_code() {
                    Some(code) => self.judge(code)?,
                    None => return Err(self.cluster.error(&self.topic, &error)),
                },
            }
            for change in self.consumer.context().changes() {
                self.apply(change);
            }
            if self.events.len() == 0 {
                return Ok(());
            }
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Assigned(partitions) => {
                self.joined = true;
                for partition in partitions {
                    if let Some(queue) = Queue::of_partition(&self.consumer, &self.topic, partition) {
                        self.partitions.insert(partition, Partition { queue, position: 0 });
                    }
                }
            }
            Change::Revoked(partitions) => {
                for partition in partitions {
                    if self.partitions.remove(&partition).is_some() {
                        self.revoked.push(partition);
                    }
                }
            }
        }
    }

    /// Whether the topic is gone. Brokers say so for a moment after a creation too, so once is not enough.
    fn look(&mut self) -> Result<(), LogError> {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        let answer = client::partitions(&self.consumer, &self.topic, LOOK_ANSWER);
        self.looked = Instant::now();
        self.missing = if let Ok(None) = answer { self.missing + 1 } else { 0 };
        if self.missing < 2 {
            return Ok(());
        }
        Err(self.cluster.broken(format!(
            "topic {:?} was deleted while it was read; create it again, or end this pipeline",
            self.topic
        )))
    }

    /// Whether an error ends the reading; the context has warned of those that do not.
    fn judge(&self, code: Code) -> Result<(), LogError> {
        match code {
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::InconsistentGroupProtocol
            | Code::InvalidGroupId
            | Code::InvalidSessionTimeout
            | Code::BadMessage
            | Code::BadCompression
            | Code::NotImplemented
            | Code::Fatal => Err(self.cluster.broken(client::explain(&self.topic, code))),
            _ => {
                tracing::debug!("{}: topic {:?}: {code}", self.cluster.name, self.topic);
                Ok(())
            }
        }
    }

    /// A batch of the next partition that has one.
    fn take(&mut self) -> Result<Option<Fetch>, LogError> {
        let after = self.partitions.range(self.turn + 1..).map(|(&partition, _)| partition);
        let before = self.partitions.range(..=self.turn).map(|(&partition, _)| partition);
        let order: Vec<i32> = after.chain(before).collect();
        for number in order {
            let end =
                self.ends.as_ref().map_or(i64::MAX, |ends| ends.get(number as usize).copied().unwrap_or(i64::MAX));
            let Some(partition) = self.partitions.get_mut(&number).filter(|p| p.position < end) else {
                continue;
            };
            let mut fetch = Fetch::new(number, partition.position);
            let special = partition.queue.take(&mut fetch, BATCH_MESSAGES, BATCH_BYTES, end);
            if let Some(Special::End(offset)) = special {
                fetch.next = fetch.next.max(offset.min(end));
            }
            partition.position = fetch.next;
            if let Some(Special::Failed(code)) = special {
                self.judge(code)?;
            }
            if !fetch.batch.is_empty() {
                self.turn = number;
                self.looked = Instant::now();
                return Ok(Some(fetch));
            }
        }
        Ok(None)
    }

    fn drained(&self) -> bool {
        let Some(ends) = &self.ends else { return false };
        let reached = |(&number, partition): (&i32, &Partition)| {
            ends.get(number as usize).is_none_or(|&end| partition.position >= end)
        };
        self.joined && self.partitions.iter().all(reached)
    }
}

impl Source for KafkaReader {
    fn poll(&mut self, wait: Duration) -> Result<Poll, SourceError> {
        let deadline = Instant::now() + wait;
        loop {
            self.serve()?;
            if !self.revoked.is_empty() {
                return Ok(Poll::Revoked(std::mem::take(&mut self.revoked)));
            }
            if let Some(fetch) = self.take()? {
                return Ok(Poll::Messages(fetch));
            }
            if self.drained() {
                return Ok(Poll::End);
            }
            self.look()?;
            let now = Instant::now();
            if !self.consumer.context().wake().wait(deadline.min(now + SERVE)) && Instant::now() >= deadline {
                return Ok(Poll::Idle);
            }
        }
    }

    /// Returns when the broker has it (Invariant 1). A partition that is no longer ours is left to its
    /// new owner: `poll` says so next.
    fn start(&mut self, _partition: i32, _next: Option<i64>) -> Result<(), SourceError> {
        todo!("assigned first")
    }

    fn commit(&mut self, partition: i32, position: &Position) -> Result<(), SourceError> {
        let mut list = TopicPartitionList::new();
        let added = list.add_partition_offset(&self.topic, partition, Offset::Offset(position.next));
        added.map_err(|e| self.cluster.error(&self.topic, &e))?;
        let deadline = Instant::now() + COMMIT;
        while self.partitions.contains_key(&partition) {
            let Err(error) = self.consumer.commit(&list, CommitMode::Sync) else {
                return Ok(());
            };
            let passing = error.rdkafka_error_code().is_some_and(passing);
            if !passing || Instant::now() >= deadline {
                return Err(self.cluster.error(&self.topic, &error).into());
            }
            // What it waits for comes through the consumer's queue.
            self.consumer.context().wake().wait(Instant::now() + Duration::from_millis(50));
            self.serve()?;
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), SourceError> {
        let ends = (0..self.count as i32).map(|p| self.consumer.fetch_watermarks(&self.topic, p, ANSWER));
        let ends = ends.map(|bounds| bounds.map(|(_, end)| end)).collect::<Result<Vec<i64>, _>>();
        self.ends = Some(ends.map_err(|e| self.cluster.error(&self.topic, &e))?);
        Ok(())
    }
}

/// Commits the end of each partition that the group has no position in, so that what comes after this
/// moment belongs to the group, also when it dies before its first commit.
fn pin(cluster: &Cluster, consumer: &BaseConsumer<Context>, topic: &str, count: u32) -> Result<(), LogError> {
    let failed = |e: KafkaError| cluster.error(topic, &e);
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, count as i32 - 1);
    let known = consumer.committed_offsets(list, ANSWER).map_err(failed)?;
    let mut ends = TopicPartitionList::new();
    for element in known.elements() {
        if element.offset() == Offset::Invalid {
            let (_, end) = consumer.fetch_watermarks(topic, element.partition(), ANSWER).map_err(failed)?;
            ends.add_partition_offset(topic, element.partition(), Offset::Offset(end)).map_err(failed)?;
        }
    }
    if ends.count() > 0
        && let Err(error) = consumer.commit(&ends, CommitMode::Sync)
    {
        // Only an empty group lets others commit; this one has members, who see to it themselves.
        tracing::debug!("{}: topic {topic:?}: no first position: {error}", cluster.name);
    }
    Ok(())
}

/// Whether a failed commit may succeed in a moment.
fn passing(code: Code) -> bool {
    matches!(
        code,
        Code::RebalanceInProgress
            | Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::WaitingForCoordinator
            | Code::NotCoordinator
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::RequestTimedOut
            | Code::OperationTimedOut
            | Code::BrokerTransportFailure
    )
}

/// Messages of one partition from `offset` on, to the end that it has now, or as many as fit.
pub(super) fn read(
    cluster: &Cluster,
    topic: &str,
    partition: i32,
    offset: i64,
    limit: usize,
) -> Result<Fetch, LogError> {
    // librdkafka asks for a group's name, though this consumer never joins it nor commits.
    let consumer = cluster.consumer(Some("apogee-read"), 1, Context::reading(&cluster.name, topic, "earliest"))?;
    let bounds = consumer.fetch_watermarks(topic, partition, ANSWER);
    let (first, end) = bounds.map_err(|e| cluster.error(topic, &e))?;
    let mut fetch = Fetch::new(partition, offset.max(first));
    if limit == 0 || fetch.next >= end {
        return Ok(fetch);
    }
    Queue::separate(&consumer, topic, partition);
    let mut list = TopicPartitionList::new();
    let added = list.add_partition_offset(topic, partition, Offset::Offset(fetch.next));
    added.and_then(|()| consumer.assign(&list)).map_err(|e| cluster.error(topic, &e))?;
    // Declared after its client, so dropped before it.
    let mut queue = Queue::of_partition(&consumer, topic, partition)
        .ok_or_else(|| cluster.broken(format!("librdkafka has no queue for {topic}-{partition}; this is a bug")))?;
    let mut deadline = Instant::now() + ANSWER;
    while fetch.next < end && fetch.batch.len() < limit {
        let before = fetch.next;
        match queue.take(&mut fetch, limit, READ_BYTES, end) {
            // The last offsets may be no messages, but marks of transactions.
            Some(Special::End(reached)) if reached >= end => fetch.next = end,
            Some(Special::Full) => break,
            Some(Special::Failed(code)) => return Err(cluster.broken(client::explain(topic, code))),
            _ => {}
        }
        let now = Instant::now();
        if fetch.next > before {
            deadline = now + ANSWER;
        } else if now >= deadline {
            return Err(cluster.broken(client::explain(topic, Code::OperationTimedOut)));
        } else {
            let _ = consumer.poll(Duration::ZERO);
            consumer.context().wake().wait(now + Duration::from_millis(100));
        }
    }
    Ok(fetch)
}
