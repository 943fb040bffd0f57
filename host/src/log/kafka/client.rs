//! What every librdkafka client of ours has in common: settings, logging, rebalances, and its end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::bindings::{rd_kafka_mem_free, rd_kafka_memberid};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;

use super::queue::Wake;
use super::{fault, is_missing};
use crate::log::{LogError, Reading};

/// Errors of a connection come with each attempt; a person needs one in this time.
const WARN_EVERY: Duration = Duration::from_secs(10);
/// What librdkafka, and a broker through it, may put into our log at once.
const TEXT: usize = 500;
/// What a consumer fetches ahead, in all: so many messages, and so many kB of them …
const AHEAD_MESSAGES: u32 = 100_000;
const AHEAD_KB: u32 = 16_384;
/// … but for each partition so many at least, without which every answer of a broker would be tiny.
const PARTITION_MESSAGES: u32 = 1_000;
const PARTITION_KB: u32 = 256;
/// Most bytes of one partition in one answer.
const ANSWER_BYTES: u32 = 1 << 20;
/// After this long without a sign of life a member's partitions go to others, where the user does not say otherwise.
const SESSION: Duration = Duration::from_secs(10);
/// How long it may take to leave a group; it ends without a word where the broker is gone.
const LEAVE: Duration = Duration::from_secs(1);
/// How long the end of a consumer is waited for.
const END: Duration = Duration::from_secs(3);
/// How long may go by between two polls, besides what the plugins may take with a batch, where the user does not say
/// otherwise: for commits, states that are restored, and batches in which a message is looked for that a plugin fails at.
const PATIENCE: Duration = Duration::from_secs(300);
/// The least of that.
const MIN_PATIENCE: Duration = Duration::from_secs(10);
/// The longest that librdkafka takes for the time between two polls.
const MAX_PATIENCE: Duration = Duration::from_secs(86_400);

/// Where the brokers are and how to talk to them.
#[derive(Clone)]
pub(super) struct Cluster {
    /// As a person writes it: `kafka://HOST:PORT`.
    pub(super) name: String,
    brokers: String,
    client: BTreeMap<String, String>,
}

impl Cluster {
    pub(super) fn new(brokers: &str, client: &BTreeMap<String, String>) -> Self {
        Self { name: format!("kafka://{brokers}"), brokers: brokers.to_owned(), client: client.clone() }
    }

    /// The user's settings, and those that nobody may change.
    pub(super) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", "apogee").set("log.connection.close", "false");
        for (key, value) in &self.client {
            config.set(key, value);
        }
        config.set("bootstrap.servers", &self.brokers).set("allow.auto.create.topics", "false");
        config.set_log_level(RDKafkaLogLevel::Warning);
        config
    }

    /// What the user set, in milliseconds.
    pub(super) fn milliseconds(&self, key: &str) -> Option<Duration> {
        self.client.get(key)?.parse().ok().map(Duration::from_millis)
    }

    /// A consumer that can only ask questions. It is told what is there, committed or not.
    pub(super) fn asking(&self) -> Result<BaseConsumer<Context>, LogError> {
        self.consumer(&[("isolation.level", "read_uncommitted")], &[], 1)
    }

    /// A consumer of one partition outside of any group, of what is committed.
    pub(super) fn scanning(&self) -> Result<BaseConsumer<Context>, LogError> {
        // librdkafka asks for a group's name, though this consumer never joins it nor commits.
        let own = [
            ("isolation.level", "read_committed"),
            ("group.id", "apogee-read"),
            ("enable.partition.eof", "true"),
            // It is not to wait at the end for more.
            ("fetch.wait.max.ms", "5"),
        ];
        self.consumer(&own, &[], 1)
    }

    /// A member of a group, of which it may get as many partitions. It reads only what is committed.
    pub(super) fn member(&self, reading: &Reading, partitions: u32) -> Result<BaseConsumer<Context>, LogError> {
        let session = self.milliseconds("session.timeout.ms").unwrap_or(SESSION);
        let patience = self.patience(reading.calls, reading.looking, session).as_millis().to_string();
        let session = session.as_millis().to_string();
        let patience = ("max.poll.interval.ms", &*patience);
        let mut own = vec![("isolation.level", "read_committed"), ("group.id", &reading.group)];
        // What is no number librdkafka is to refuse.
        own.extend(self.milliseconds(patience.0).map(|_| patience));
        // A member with a name is known to its group when it comes back, and gets its partitions at once.
        own.extend(reading.member.as_deref().map(|member| ("group.instance.id", member)));
        self.consumer(&own, &[("session.timeout.ms", &session), patience], partitions)
    }

    /// How long may go by between two polls of a member whose plugins may take so long for a batch, and for looking
    /// through one: what the user says, unless it is too short for the former.
    fn patience(&self, calls: Duration, looking: Duration, session: Duration) -> Duration {
        let bounded = |patience: Duration| patience.clamp(session.min(MAX_PATIENCE), MAX_PATIENCE);
        let least = bounded(calls + MIN_PATIENCE);
        match self.milliseconds("max.poll.interval.ms") {
            None => bounded((calls + PATIENCE).saturating_add(looking)),
            Some(asked) if asked < least => {
                tracing::warn!(
                    "{}: max.poll.interval.ms is {} and would give a partition away while its plugins are at work, who \
                     may take {calls:?} for a batch (`call` in [plugin.limits]); {} is used instead",
                    self.name,
                    asked.as_millis(),
                    least.as_millis()
                );
                least
            }
            Some(asked) => asked,
        }
    }

    /// A consumer that commits only what it is told to; `own` holds settings that nobody may change, `defaults` those
    /// that the user may.
    fn consumer(
        &self,
        own: &[(&str, &str)],
        defaults: &[(&str, &str)],
        partitions: u32,
    ) -> Result<BaseConsumer<Context>, LogError> {
        let mut config = ClientConfig::new();
        for (key, value) in ahead(partitions) {
            config.set(key, value.to_string());
        }
        config
            .set("fetch.max.bytes", "8388608")
            // The default of a second caps a fast reader at 170,000 messages/s.
            .set("fetch.queue.backoff.ms", "1")
            // Who goes back in a partition waits until the broker has answered what was asked before.
            .set("fetch.wait.max.ms", "20")
            // The group protocol gives each partition one owner (Invariant 6).
            .set("partition.assignment.strategy", "cooperative-sticky");
        for &(key, value) in defaults {
            config.set(key, value);
        }
        for (key, value) in self.config().config_map() {
            config.set(key, value);
        }
        config
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // In a group librdkafka takes the end of a partition for a message when it goes on after a rebalance (it
            // pauses what it fetches, and resumes behind what was handed out): one would be left out.
            .set("enable.partition.eof", "false")
            // Where to go on when an offset is not there is decided here, and counted.
            .set("auto.offset.reset", "error");
        for &(key, value) in own {
            config.set(key, value);
        }
        config.set_log_level(RDKafkaLogLevel::Warning);
        let context = Context::new(&self.name);
        let wake = context.wake().clone();
        let mut consumer =
            BaseConsumer::from_config_and_context(&config, context).map_err(|e| self.broken(fault::text(&e)))?;
        consumer.set_nonempty_callback(move || wake.set());
        Ok(consumer)
    }
}

/// Bounds what a consumer fetches ahead (Invariant 8) at about 40 MB, with more than 64 partitions at 0.5 MB
/// for each: what waits in the queues, and one answer of a broker more. librdkafka counts by queue, and each
/// partition has its own.
fn ahead(partitions: u32) -> [(&'static str, u32); 3] {
    let share = |all: u32| all / partitions.max(1);
    let kb = share(AHEAD_KB).max(PARTITION_KB);
    [
        ("queued.max.messages.kbytes", kb),
        ("queued.min.messages", share(AHEAD_MESSAGES).max(PARTITION_MESSAGES)),
        ("fetch.message.max.bytes", ANSWER_BYTES.min(kb << 10)),
    ]
}

/// How many partitions a topic has; `None` where there is no such topic.
pub(super) fn partitions(consumer: &BaseConsumer<Context>, topic: &str, wait: Duration) -> KafkaResult<Option<u32>> {
    let metadata = consumer.fetch_metadata(Some(topic), wait)?;
    let Some(found) = metadata.topics().first() else {
        return Ok(None);
    };
    match found.error() {
        None => Ok(Some(found.partitions().len() as u32).filter(|&count| count > 0)),
        Some(error) if is_missing(error) => Ok(None),
        Some(error) => Err(KafkaError::MetadataFetch(error.into())),
    }
}

/// A change of what the group gives to this reader, which the group waits for an answer to.
#[derive(Debug)]
pub(super) enum Change {
    Assigned(Vec<i32>),
    Revoked(Vec<i32>),
    /// Others may have them already.
    Lost(Vec<i32>),
}

/// What librdkafka calls back into. Clones share one state.
#[derive(Clone)]
pub(super) struct Context(Arc<State>);

struct State {
    name: String,
    wake: Arc<Wake>,
    changes: Mutex<Vec<Change>>,
    /// Whether nobody is left to answer a change.
    closing: AtomicBool,
    last_error: Mutex<Option<(String, Instant)>>,
}

impl Context {
    pub(super) fn new(name: &str) -> Self {
        Self(Arc::new(State {
            name: name.to_owned(),
            wake: Arc::default(),
            changes: Mutex::default(),
            closing: AtomicBool::new(false),
            last_error: Mutex::default(),
        }))
    }

    pub(super) fn wake(&self) -> &Arc<Wake> {
        &self.0.wake
    }

    /// What has changed since the last call, in order.
    pub(super) fn changes(&self) -> Vec<Change> {
        std::mem::take(&mut *self.0.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the connection suffers from, as far as it is known.
    pub(super) fn last_error(&self) -> Option<String> {
        let last = self.0.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(|(text, _)| text.clone())
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let name = &self.0.name;
        tracing::debug!("{name}: librdkafka ({level:?}, {facility}): {}", bounded(message));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let mut last = self.0.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        // "All brokers are down" follows upon what is wrong with each, and says less.
        if last.is_some() && error == KafkaError::Global(Code::AllBrokersDown) {
            return;
        }
        let quiet = last.as_ref().is_some_and(|(_, at)| at.elapsed() < WARN_EVERY);
        if !quiet {
            tracing::warn!("{}: {}; librdkafka goes on trying", self.0.name, bounded(reason));
        }
        let at = last.as_ref().filter(|_| quiet).map_or_else(Instant::now, |(_, at)| *at);
        *last = Some((bounded(reason), at));
    }
}

impl ConsumerContext for Context {
    /// Takes note only: the reader answers when the partitions' work is where it must be.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assigned = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.0.closing.load(Ordering::Acquire) {
            return answer(consumer, assigned);
        }
        let partitions = list.elements().iter().map(|element| element.partition()).collect();
        let change = if assigned {
            Change::Assigned(partitions)
        } else if consumer.assignment_lost() {
            Change::Lost(partitions)
        } else {
            Change::Revoked(partitions)
        };
        self.0.changes.lock().unwrap_or_else(PoisonError::into_inner).push(change);
    }
}

/// Ends a member of a group. librdkafka has no deadline for that: when it takes too long it goes on behind our back, and
/// whoever comes under the same name puts an end to it.
pub(super) fn end(consumer: BaseConsumer<Context>) {
    let name = consumer.context().0.name.clone();
    let (ended, end) = sync_channel(1);
    let work = move || {
        leave(&consumer);
        drop(consumer);
        // Nobody may be there any more to hear it.
        let _ = ended.send(());
    };
    let ending = std::thread::Builder::new().name("leaving".to_owned()).spawn(work);
    if ending.is_ok() && end.recv_timeout(END).is_err() {
        tracing::warn!("{name}: a consumer did not end within {} s; going on without waiting for it", END.as_secs());
    }
}

/// Leaves the group in good order, so that it shares out its partitions anew.
///
/// A member with a name would be waited for otherwise. And one that comes back at once, in the middle of a rebalance,
/// would be told what the group had in mind for its former self: a partition that this one was still to give away would
/// be nobody's, for as long as nobody joins or leaves.
fn leave(consumer: &BaseConsumer<Context>) {
    consumer.context().0.closing.store(true, Ordering::Release);
    // It may wait for one of the two.
    answer(consumer, true);
    answer(consumer, false);
    consumer.unsubscribe();
    let deadline = Instant::now() + LEAVE;
    while is_member(consumer) && Instant::now() < deadline {
        let _ = consumer.poll(Duration::from_millis(10));
    }
}

/// Answers a change when the consumer is about to close: takes nothing, or gives all away. It is an error, and needs no
/// answer, where there was no such change.
fn answer(consumer: &BaseConsumer<Context>, assigned: bool) {
    let answered = match assigned {
        true => consumer.incremental_assign(&TopicPartitionList::new()),
        false => consumer.assignment().and_then(|ours| consumer.incremental_unassign(&ours)),
    };
    if let Err(error) = answered {
        tracing::debug!("leaving the group: {error}");
    }
}

/// Whether the group knows us, as far as librdkafka knows.
fn is_member(consumer: &BaseConsumer<Context>) -> bool {
    let client = consumer.client().native_ptr();
    // SAFETY: the client lives as long as `consumer`. The id is null, or text that ends with a zero byte and is ours to
    // free.
    unsafe {
        let id = rd_kafka_memberid(client);
        let known = !id.is_null() && *id != 0;
        rd_kafka_mem_free(client, id.cast());
        known
    }
}

/// Foreign text for the log: short and without control characters.
fn bounded(text: &str) -> String {
    text.chars().take(TEXT).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Cluster, ahead};

    #[test]
    fn what_is_fetched_ahead_is_shared_by_the_partitions() {
        let of = |partitions| ahead(partitions).map(|(_, value)| value);
        assert_eq!(of(0), of(1));
        assert_eq!(of(1), [16_384, 100_000, 1_048_576]);
        assert_eq!(of(32), [512, 3_125, 524_288]);
        assert_eq!(of(1_000), [256, 1_000, 262_144]);
    }
    #[test]
    fn a_member_is_not_given_up_while_its_plugins_may_be_at_work() {
        let cluster = |asked: Option<&str>| {
            let setting = asked.map(|asked| ("max.poll.interval.ms".to_owned(), asked.to_owned()));
            Cluster::new("b:9092", &setting.into_iter().collect())
        };
        let session = Duration::from_secs(10);
        let looking = Duration::from_secs(50);
        let of = |asked, calls| cluster(asked).patience(Duration::from_secs(calls), looking, session).as_secs();
        assert_eq!([of(None, 0), of(None, 5), of(None, 100_000)], [350, 355, 86_400]);
        assert_eq!([of(Some("20000"), 5), of(Some("15000"), 5), of(Some("1000"), 5)], [20, 15, 15]);
        // No shorter than the session, which librdkafka refuses.
        assert_eq!(cluster(Some("1")).patience(Duration::ZERO, looking, session * 6), session * 6);
    }
}
