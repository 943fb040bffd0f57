//! Reads a topic as a member of a consumer group.
//!
//! A broker that is gone is waited for; what is no hope to wait for (the topic was deleted, this user may not read it)
//! is an error. The group waits, too: until a partition that it gave is started, and until one that it wants back is
//! released.

use std::collections::{BTreeMap, VecDeque};
use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::Offset;

use super::client::{self, Change, Cluster, Context};
use super::drain::Drain;
use super::fault::{self, passing};
use super::queue::{Queue, Special};
use super::scan::Scan;
use super::{ANSWER, positions, transaction};
use crate::checkpoint::Position;
use crate::log::{BATCH_BYTES, LogError, Reading, Start};
use crate::message::Fetch;
use crate::source::{Assigned, Group, Poll, Source, SourceError};

/// How long a commit is tried again while the group is rebalancing or its coordinator moves.
const COMMIT: Duration = Duration::from_secs(30);
/// How long before what may succeed in a moment is tried again.
const AGAIN: Duration = Duration::from_millis(50);
/// How long before it is asked again whether a partition that was given to librdkafka has begun.
const BEGINNING: Duration = Duration::from_millis(2);
/// The consumer must be polled now and then, messages or not, to stay in its group.
const SERVE: Duration = Duration::from_secs(1);
/// How often a reader to whom nothing comes asks whether its topic is still there: librdkafka does not
/// tell when it was deleted.
const LOOK: Duration = Duration::from_secs(3);
/// How long that may hold up a poll; a broker that does not answer by then is asked again later.
const LOOK_ANSWER: Duration = Duration::from_millis(200);
/// A partition from which nothing came for so long while it is drained may have nothing more.
const DRY: Duration = Duration::from_millis(200);

pub(super) struct KafkaReader {
    // Queues and the messages in them go before their client: fields are dropped in this order.
    partitions: BTreeMap<i32, Partition>,
    events: ManuallyDrop<Queue>,
    pub(super) consumer: ManuallyDrop<BaseConsumer<Context>>,
    pub(super) cluster: Cluster,
    pub(super) topic: String,
    pub(super) count: u32,
    reading: Reading,
    /// What the group did and was not yet told of.
    changes: VecDeque<Change>,
    /// Partitions that were told of and not yet started, with the group's position.
    assigned: BTreeMap<i32, Option<i64>>,
    /// Partitions that are to be read, and from where.
    starting: BTreeMap<i32, i64>,
    /// Whether nothing is to be handed out for now.
    held: bool,
    /// Partitions that are to go, and still ours.
    revoked: Vec<i32>,
    /// Whether the group has said, once, what is ours.
    joined: bool,
    drain: Option<Drain>,
    /// The partition that was served last.
    turn: i32,
    /// When something came, or the topic was looked for, and how often in a row it was not there.
    looked: Instant,
    missing: u32,
}

struct Partition {
    queue: Queue,
    /// Where it was started.
    began: i64,
    /// Everything before has been handed out …
    handed: i64,
    /// … or is nothing to hand out.
    position: i64,
    /// When something came last, or was looked for.
    heard: Instant,
}

impl KafkaReader {
    pub(super) fn new(cluster: Cluster, topic: &str, count: u32, reading: &Reading) -> Result<Self, LogError> {
        let consumer = cluster.member(reading, count)?;
        let events = Queue::of_consumer(&consumer)
            .ok_or_else(|| cluster.broken("librdkafka has no queue for the consumer; this is a bug".to_owned()))?;
        if reading.start == Start::Latest {
            positions::pin(&cluster, &consumer, topic, count)?;
        }
        consumer.subscribe(&[topic]).map_err(|e| cluster.error(topic, &e))?;
        Ok(Self {
            partitions: BTreeMap::new(),
            events: ManuallyDrop::new(events),
            consumer: ManuallyDrop::new(consumer),
            cluster,
            topic: topic.to_owned(),
            count,
            reading: reading.clone(),
            changes: VecDeque::new(),
            assigned: BTreeMap::new(),
            starting: BTreeMap::new(),
            held: false,
            revoked: Vec::new(),
            joined: false,
            drain: None,
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
                    let code = self.consumer.client().fatal_error().map_or(code, |(code, _)| code);
                    return Err(self.cluster.fault(&self.topic, code));
                }
                Some(Err(error)) => match error.rdkafka_error_code() {
                    Some(code) => self.judge(code)?,
                    None => return Err(self.cluster.error(&self.topic, &error)),
                },
            }
            self.changes.extend(self.consumer.context().changes());
            if self.events.len() == 0 {
                return Ok(());
            }
        }
    }

    /// What the caller is to be told of a change.
    fn tell(&mut self, change: Change) -> Result<Option<Poll>, LogError> {
        match change {
            Change::Assigned(partitions) => {
                self.joined = true;
                if partitions.is_empty() {
                    // The group waits for an answer all the same.
                    self.assign(&TopicPartitionList::new())?;
                    return Ok(None);
                }
                let told = self.positions(partitions)?;
                let position = |told: &Assigned| told.position.as_ref().map(|position| position.next);
                self.assigned.extend(told.iter().map(|told| (told.partition, position(told))));
                Ok(Some(Poll::Assigned(told)))
            }
            Change::Revoked(partitions) => {
                self.stop(&partitions);
                Ok(Some(Poll::Revoked(partitions)))
            }
            Change::Lost(partitions) => {
                self.stop(&partitions);
                self.give_up(&partitions)?;
                Ok(Some(Poll::Lost(partitions)))
            }
        }
    }

    /// How far the group has come in partitions that were just assigned. Waits until transactions that hold positions
    /// are settled: a former owner's last commit counts.
    fn positions(&mut self, partitions: Vec<i32>) -> Result<Vec<Assigned>, LogError> {
        let list = positions::partitions(&self.topic, partitions);
        let deadline = Instant::now() + transaction::settled(&self.cluster);
        loop {
            match self.consumer.committed_offsets(list.clone(), ANSWER) {
                Ok(known) => {
                    let known = positions::committed(&known).into_iter();
                    return Ok(known.map(|(partition, position)| Assigned { partition, position }).collect());
                }
                Err(e) if e.rdkafka_error_code().is_some_and(passing) && Instant::now() < deadline => {
                    self.consumer.context().wake().wait(Instant::now() + AGAIN);
                    self.serve()?;
                }
                Err(error) => return Err(self.cluster.error(&self.topic, &error)),
            }
        }
    }

    /// Begins to fetch what was started.
    fn begin(&mut self) -> Result<(), LogError> {
        if self.starting.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for (partition, from) in std::mem::take(&mut self.starting) {
            let queue = Queue::of_partition(&self.consumer, &self.topic, partition).ok_or_else(|| {
                self.cluster.broken(format!("librdkafka has no queue for {}-{partition}; this is a bug", self.topic))
            })?;
            let added = list.add_partition_offset(&self.topic, partition, Offset::Offset(from));
            added.map_err(|e| self.cluster.error(&self.topic, &e))?;
            let heard = Instant::now();
            self.partitions.insert(partition, Partition { queue, began: from, handed: from, position: from, heard });
        }
        self.assign(&list)
    }

    /// Goes back in a partition, or on. What librdkafka has fetched it knows to be outdated from this call on, and hands
    /// none of it out.
    fn seek(&mut self, partition: i32, next: Option<i64>) -> Result<(), LogError> {
        self.begin()?;
        let Some(reading) = self.partitions.get_mut(&partition) else { return Ok(()) };
        // What it could not begin at, because it is not there any more, it does not go back to either.
        let is_there = |next: &i64| match self.consumer.fetch_watermarks(&self.topic, partition, ANSWER) {
            Ok((first, end)) => (first..=end).contains(next),
            // Who cannot be asked now says so soon.
            Err(_) => true,
        };
        let next = next.filter(is_there).unwrap_or(reading.began);
        let deadline = Instant::now() + ANSWER;
        loop {
            let mut list = TopicPartitionList::new();
            let added = list.add_partition_offset(&self.topic, partition, Offset::Offset(next));
            let sought = added.and_then(|()| self.consumer.seek_partitions(list, ANSWER));
            match sought.and_then(|sought| sought.elements().iter().try_for_each(|element| element.error())) {
                Ok(()) => break,
                // It is about to begin.
                Err(e) if e.rdkafka_error_code() == Some(Code::State) && Instant::now() < deadline => {
                    self.consumer.context().wake().wait(Instant::now() + BEGINNING);
                }
                Err(e) => {
                    let error = format!("going back to offset {next} of {}-{partition}: {e}", self.topic);
                    return Err(self.cluster.interrupted(error));
                }
            }
        }
        reading.queue.clear();
        (reading.handed, reading.position, reading.heard) = (next, next, Instant::now());
        Ok(())
    }

    fn assign(&self, list: &TopicPartitionList) -> Result<(), LogError> {
        self.consumer.incremental_assign(list).map_err(|e| self.cluster.error(&self.topic, &e))
    }

    /// Hands out nothing more of these partitions.
    fn stop(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.assigned.remove(partition);
            self.starting.remove(partition);
            if self.partitions.remove(partition).is_some() {
                self.revoked.push(*partition);
            }
        }
    }

    /// Tells the group that these partitions are free for others.
    fn give_up(&mut self, partitions: &[i32]) -> Result<(), LogError> {
        // Those that never began librdkafka does not know of, and would answer for none.
        let list = positions::partitions(&self.topic, self.revoked.extract_if(.., |p| partitions.contains(p)));
        self.consumer.incremental_unassign(&list).map_err(|e| self.cluster.error(&self.topic, &e))
    }

    /// Whether a partition is ours, as far as is known.
    fn owns(&self, partition: i32) -> bool {
        let lost = |change: &Change| matches!(change, Change::Lost(lost) if lost.contains(&partition));
        (self.starting.contains_key(&partition)
            || self.partitions.contains_key(&partition)
            || self.revoked.contains(&partition))
            && !self.changes.iter().any(lost)
    }

    /// Where to begin in a partition: at `next` or, where it is not there any more, as the group would without it.
    fn offset(&self, partition: i32, next: Option<i64>) -> Result<i64, LogError> {
        let bounds = self.consumer.fetch_watermarks(&self.topic, partition, ANSWER);
        let (first, end) = bounds.map_err(|e| self.cluster.error(&self.topic, &e))?;
        let begin = match self.reading.start {
            Start::Earliest => first,
            Start::Latest => end,
        };
        match next {
            None => Ok(begin),
            Some(next) if (first..=end).contains(&next) => Ok(next),
            Some(next) => {
                self.reading.counters.add("offsets out of range", 1);
                tracing::warn!(
                    "{}: offset {next} of {}-{partition} is out of range: the topic has {first} to {end} now; group {:?} \
                     goes on at {begin}, as `start` says, and what was between is lost: see the topic's retention",
                    self.cluster.name,
                    self.topic,
                    self.reading.group
                );
                Ok(begin)
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
        if fault::final_for_a_reader(code) {
            return Err(self.cluster.fault(&self.topic, code));
        }
        tracing::debug!("{}: topic {:?}: {code}", self.cluster.name, self.topic);
        Ok(())
    }

    /// A batch of the next partition that has one.
    fn take(&mut self) -> Result<Option<Fetch>, LogError> {
        let after = self.partitions.range(self.turn + 1..).map(|(&partition, _)| partition);
        let before = self.partitions.range(..=self.turn).map(|(&partition, _)| partition);
        let order: Vec<i32> = after.chain(before).collect();
        for number in order {
            let mut end = self.drain.as_ref().map_or(i64::MAX, |drain| drain.end(number));
            let Some(partition) = self.partitions.get_mut(&number) else { continue };
            let mut fetch = Fetch::new(number, partition.position);
            if partition.position < end {
                match partition.queue.take(&mut fetch, self.reading.batch, BATCH_BYTES, end) {
                    Some(Special::OutOfRange(offset)) => return Err(self.out_of_range(number, offset)),
                    Some(Special::Failed(code, offset)) => self.judge_at(code, number, offset)?,
                    Some(Special::Full | Special::End(_)) | None => {}
                }
                if fetch.batch.is_empty()
                    && end < i64::MAX
                    && let Some(dry) = self.dry_until(number)?
                {
                    end = dry;
                    fetch.next = dry.max(fetch.next);
                }
            }
            let Some(partition) = self.partitions.get_mut(&number) else { continue };
            partition.position = fetch.next;
            // What ends in marks of transactions is read to its end only when these are passed, too.
            let passed = fetch.next >= end && partition.handed < end;
            if !fetch.batch.is_empty() || passed {
                partition.handed = fetch.next;
                partition.heard = Instant::now();
                self.turn = number;
                self.looked = Instant::now();
                return Ok(Some(fetch));
            }
        }
        Ok(None)
    }

    /// The end of a partition up to which there is nothing but marks of transactions and what was aborted, for which it
    /// is looked once in a while where nothing comes.
    fn dry_until(&mut self, number: i32) -> Result<Option<i64>, LogError> {
        let Some(partition) = self.partitions.get_mut(&number).filter(|p| p.heard.elapsed() >= DRY) else {
            return Ok(None);
        };
        partition.heard = Instant::now();
        let next = partition.position;
        let (Some(drain), Ok((_, committed))) =
            (&mut self.drain, self.consumer.fetch_watermarks(&self.topic, number, LOOK_ANSWER))
        else {
            return Ok(None);
        };
        if !drain.is_settled(number, committed) {
            return Ok(None);
        }
        let end = drain.end(number);
        let consumer = self.cluster.scanning()?;
        let mut scan = Scan::new(&consumer, &self.cluster, &self.topic, number, next, Some(end), ANSWER)?;
        Ok(scan.take(1, 1)?.batch.is_empty().then_some(end))
    }

    /// librdkafka takes an error for a message, too, when it goes on after a rebalance: whoever begins anew does not.
    fn judge_at(&self, code: Code, partition: i32, offset: i64) -> Result<(), LogError> {
        self.judge(code)?;
        if offset < 0 {
            return Ok(());
        }
        let error = format!("{}-{partition} at offset {offset}: {}", self.topic, fault::explain("", code));
        Err(self.cluster.interrupted(error))
    }

    /// What was to be read next was deleted before it could be. Whoever begins anew finds out where to go on.
    fn out_of_range(&self, partition: i32, offset: i64) -> LogError {
        let error =
            format!("offset {offset} of {}-{partition} is out of range: it was deleted before it was read", self.topic);
        self.cluster.interrupted(error)
    }

    /// Whether all that there was when draining began has been handed out: of our own partitions or, where there are
    /// none of ours, had its effect through their owners.
    fn drained(&mut self) -> bool {
        let Some(drain) = &mut self.drain else { return false };
        if !self.joined || !self.assigned.is_empty() || !self.revoked.is_empty() || !self.changes.is_empty() {
            return false;
        }
        if self.partitions.is_empty() {
            return drain.committed(&self.consumer, &self.topic);
        }
        self.partitions.iter().all(|(&number, partition)| partition.position >= drain.end(number))
    }
}

impl Source for KafkaReader {
    fn poll(&mut self, wait: Duration) -> Result<Poll, SourceError> {
        let deadline = Instant::now() + wait;
        loop {
            self.begin()?;
            self.serve()?;
            if let Some(change) = self.changes.pop_front()
                && let Some(told) = self.tell(change)?
            {
                return Ok(told);
            }
            if !self.held {
                if let Some(fetch) = self.take()? {
                    return Ok(Poll::Messages(fetch));
                }
                if self.drained() {
                    return Ok(Poll::End);
                }
            }
            self.look()?;
            let now = Instant::now();
            if !self.consumer.context().wake().wait(deadline.min(now + SERVE)) && Instant::now() >= deadline {
                return Ok(Poll::Idle);
            }
        }
    }

    /// A partition begins with the next poll, so that the group is answered once for all that it gave.
    fn start(&mut self, partition: i32, next: Option<i64>) -> Result<(), SourceError> {
        let Some(position) = self.assigned.remove(&partition) else { return Ok(self.seek(partition, next)?) };
        self.starting.insert(partition, self.offset(partition, next.or(position))?);
        Ok(())
    }

    fn release(&mut self, partitions: &[i32]) -> Result<(), SourceError> {
        Ok(self.give_up(partitions)?)
    }

    /// Returns when the broker has it (Invariant 1). A partition that is no longer ours is left to its
    /// new owner: `poll` says so next.
    fn commit(&mut self, partition: i32, position: &Position) -> Result<(), SourceError> {
        let mut list = TopicPartitionList::new();
        let added = positions::add(&mut list, &self.topic, partition, position);
        added.map_err(|e| self.cluster.error(&self.topic, &e))?;
        let deadline = Instant::now() + COMMIT;
        while self.owns(partition) {
            let Err(error) = self.consumer.commit(&list, CommitMode::Sync) else {
                return Ok(());
            };
            let passing = error.rdkafka_error_code().is_some_and(passing);
            if !passing || Instant::now() >= deadline {
                return Err(self.cluster.error(&self.topic, &error).into());
            }
            // What it waits for comes through the consumer's queue.
            self.consumer.context().wake().wait(Instant::now() + AGAIN);
            self.serve()?;
        }
        Ok(())
    }

    fn group(&self) -> Option<Group> {
        let metadata = self.consumer.group_metadata()?;
        Some(Group::Kafka { cluster: self.cluster.name.clone(), topic: self.topic.clone(), metadata })
    }

    fn hold(&mut self, held: bool) {
        self.held = held;
    }

    fn drain(&mut self) -> Result<(), SourceError> {
        self.drain = Some(Drain::new(self)?);
        Ok(())
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.partitions.clear();
        // SAFETY: nothing uses the two after this.
        let (events, consumer) =
            unsafe { (ManuallyDrop::take(&mut self.events), ManuallyDrop::take(&mut self.consumer)) };
        drop(events);
        client::end(consumer);
    }
}
