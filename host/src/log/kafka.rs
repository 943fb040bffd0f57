//! Topics in Apache Kafka, through librdkafka.
//!
//! Nothing here creates a topic silently: `allow.auto.create.topics` is off for every client, and a topic
//! that is not there is an error. A broker that is gone for a while is not: librdkafka reconnects.

mod changelog;
mod client;
mod drain;
mod fault;
mod positions;
mod producer;
mod queue;
mod reader;
mod scan;
mod settings;
mod transaction;
mod writer;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::types::RDKafkaRespErr;

use crate::log::{Log, LogError, READ_BYTES, Reading, Topic, Writer, check_name};
use crate::message::Fetch;
use crate::source::Source;
pub(crate) use changelog::{CHECKPOINT, Changelog};
use client::{Cluster, Context};
pub(crate) use producer::Producer;
use scan::Scan;
pub use settings::check_client_setting;
pub(crate) use transaction::Positions;

/// How long a broker may take to answer a question of ours.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the first one may take, after which the address counts as wrong.
const CONNECT: Duration = Duration::from_secs(5);
/// What a broker takes in one batch where the topic does not say otherwise, and it will not tell us.
const MESSAGE_BYTES: usize = 1_048_588;

/// A Kafka cluster.
pub struct Kafka {
    cluster: Cluster,
    /// For questions about topics; in no group.
    asking: BaseConsumer<Context>,
    /// Those that have nothing to scan: to begin and end one takes longer than most scans.
    idle: Mutex<Vec<BaseConsumer<Context>>>,
}

impl Kafka {
    /// Connects, and asks the cluster for an answer, so that a wrong address is found out here.
    /// `client` holds librdkafka settings that the allow-list let through.
    pub fn connect(brokers: &str, client: &BTreeMap<String, String>) -> Result<Self, LogError> {
        let cluster = Cluster::new(brokers, client);
        let asking = cluster.asking()?;
        let answer = asking.fetch_metadata(None, CONNECT);
        serve(&asking);
        match answer {
            Ok(_) => Ok(Self { cluster, asking, idle: Mutex::default() }),
            Err(e) => Err(LogError::Unreachable(format!(
                "{} does not answer within {} s: {}; check the address, that the broker runs and that it advertises \
                 an address that this machine reaches, and the security settings under [client]",
                cluster.name,
                CONNECT.as_secs(),
                asking.context().last_error().unwrap_or_else(|| e.to_string()),
            ))),
        }
    }

    /// The number of partitions of a topic that exists.
    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        check_name(topic)?;
        let count = client::partitions(&self.asking, topic, ANSWER);
        serve(&self.asking);
        match count.map_err(|e| self.cluster.error(topic, &e))? {
            Some(count) => Ok(count),
            None => Err(LogError::NoTopic { topic: topic.to_owned(), log: self.cluster.name.clone() }),
        }
    }

    /// Where each of its `count` partitions begins and ends.
    fn bounds(&self, topic: &str, count: u32) -> Result<Topic, LogError> {
        let partitions = (0..count as i32).map(|partition| self.watermarks(topic, partition));
        Ok(Topic { name: topic.to_owned(), partitions: partitions.collect::<Result<_, LogError>>()? })
    }

    fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), LogError> {
        self.asking.fetch_watermarks(topic, partition, ANSWER).map_err(|e| self.cluster.error(topic, &e))
    }

    /// Does something with a consumer for one scan, from whichever thread.
    fn scanning<T>(&self, scan: impl FnOnce(&BaseConsumer<Context>) -> Result<T, LogError>) -> Result<T, LogError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let found = idle().pop();
        let consumer = found.map_or_else(|| self.cluster.scanning(), Ok)?;
        let scanned = scan(&consumer)?;
        idle().push(consumer);
        Ok(scanned)
    }

    fn admin(&self) -> Result<AdminClient<Context>, LogError> {
        AdminClient::from_config_and_context(&self.cluster.config(), Context::new(&self.cluster.name))
            .map_err(|e| self.cluster.broken(fault::text(&e)))
    }

    /// Waits until the cluster's metadata shows the topic: creation is answered a moment before.
    fn await_topic(&self, topic: &str) -> Result<u32, LogError> {
        let deadline = Instant::now() + ANSWER;
        loop {
            match self.partitions(topic) {
                Err(LogError::NoTopic { .. }) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                outcome => return outcome,
            }
        }
    }

    /// Creates a topic with these settings where it is absent, as [`Log::create_topic`] does.
    fn create(&self, topic: &str, partitions: u32, settings: &[(&str, &str)]) -> Result<bool, LogError> {
        check_name(topic)?;
        let asked = partitions.max(1);
        let count = i32::try_from(asked).unwrap_or(i32::MAX);
        let admin = self.admin()?;
        let options = AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER));
        // -1 is the broker's own default.
        let mut new = NewTopic::new(topic, count, TopicReplication::Fixed(-1));
        new.config.extend_from_slice(settings);
        let answer = pollster::block_on(admin.create_topics([&new], &options));
        let outcome = answer.map_err(|e| self.cluster.error(topic, &e))?.pop();
        match outcome {
            Some(Ok(_)) => self.await_topic(topic).map(|_| true),
            Some(Err((_, Code::TopicAlreadyExists))) => match self.await_topic(topic)? {
                actual if actual < asked => Err(LogError::Partitions { topic: topic.to_owned(), actual, asked }),
                _ => Ok(false),
            },
            Some(Err((_, code))) => Err(self.cluster.fault(topic, code)),
            None => Err(self.cluster.broken(format!("the broker did not say whether it created topic {topic:?}"))),
        }
    }

    /// A setting of a topic, as far as the broker tells: a user who may write does not always have the right to see it.
    fn setting(&self, topic: &str, name: &str) -> Result<Option<String>, LogError> {
        let admin = self.admin()?;
        let options = AdminOptions::new().request_timeout(Some(ANSWER));
        let answer = pollster::block_on(admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options));
        let resource = answer.ok().and_then(|mut resources| resources.pop()?.ok());
        Ok(resource.and_then(|resource| resource.get(name)?.value.clone()))
    }

    /// The largest batch that the topic takes, which bounds a message.
    fn message_limit(&self, topic: &str) -> Result<usize, LogError> {
        let limit = self.setting(topic, "max.message.bytes")?;
        Ok(limit.and_then(|limit| limit.parse().ok()).unwrap_or(MESSAGE_BYTES))
    }

    /// A producer to these topics, which exist: in transactions of this name, or without.
    pub(crate) fn producer(&self, topics: &[&str], transactions: Option<&str>) -> Result<Producer, LogError> {
        let limit = |topic: &&str| {
            self.partitions(topic)?;
            Ok(((*topic).to_owned(), self.message_limit(topic)?))
        };
        let limits = topics.iter().map(limit).collect::<Result<BTreeMap<_, _>, LogError>>()?;
        match transactions {
            Some(name) => Producer::transactional(self.cluster.clone(), limits, name),
            None => Producer::new(self.cluster.clone(), limits),
        }
    }

    /// The topic that keeps the state of as many partitions, created where it is absent.
    pub(crate) fn changelog(self: &Arc<Self>, topic: &str, partitions: u32) -> Result<Changelog, LogError> {
        self.create_compacted(topic, partitions)?;
        Ok(Changelog::new(self.clone(), topic))
    }

    /// Whether a topic exists.
    pub(crate) fn has(&self, topic: &str) -> Result<bool, LogError> {
        match self.partitions(topic) {
            Ok(_) => Ok(true),
            Err(LogError::NoTopic { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// As a person writes it: `kafka://HOST:PORT`.
    pub(crate) fn name(&self) -> &str {
        &self.cluster.name
    }
}

impl Log for Kafka {
    fn create_topic(&self, topic: &str, partitions: u32) -> Result<bool, LogError> {
        self.create(topic, partitions, &[])
    }

    fn create_compacted(&self, topic: &str, partitions: u32) -> Result<bool, LogError> {
        // Small segments, because the one that is being written is not compacted.
        let settings =
            [("cleanup.policy", "compact"), ("segment.bytes", "33554432"), ("min.cleanable.dirty.ratio", "0.2")];
        if self.create(topic, partitions, &settings)? {
            return Ok(true);
        }
        match self.setting(topic, "cleanup.policy")? {
            Some(policy) if policy != "compact" => Err(self.cluster.broken(format!(
                "topic {topic:?} is to keep the last value of each key, but its cleanup.policy is {policy:?}, which \
                 loses some; set it: kafka-configs --alter --entity-type topics --entity-name {topic} --add-config cleanup.policy=compact"
            ))),
            _ => Ok(false),
        }
    }

    fn topics(&self) -> Result<Vec<Topic>, LogError> {
        let metadata = self.asking.fetch_metadata(None, ANSWER).map_err(|e| self.cluster.error("", &e))?;
        serve(&self.asking);
        // Kafka's own topics are no business of a user's.
        let shown = metadata.topics().iter().filter(|topic| !topic.name().starts_with("__") && topic.error().is_none());
        let topics = shown.map(|topic| self.bounds(topic.name(), topic.partitions().len() as u32));
        let mut topics: Vec<Topic> = topics.collect::<Result<_, LogError>>()?;
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    fn describe(&self, topic: &str) -> Result<Topic, LogError> {
        let count = self.partitions(topic)?;
        self.bounds(topic, count)
    }

    fn writer(&self, topic: &str) -> Result<Box<dyn Writer>, LogError> {
        let producer = self.producer(&[topic], None)?;
        Ok(Box::new(writer::KafkaWriter { producer, topic: topic.to_owned() }))
    }

    fn reader(&self, topic: &str, reading: &Reading) -> Result<Box<dyn Source>, LogError> {
        let partitions = self.partitions(topic)?;
        Ok(Box::new(reader::KafkaReader::new(self.cluster.clone(), topic, partitions, reading)?))
    }

    fn read(&self, topic: &str, partition: i32, offset: i64, limit: usize) -> Result<Fetch, LogError> {
        let partitions = self.partitions(topic)?;
        if !(0..i64::from(partitions)).contains(&i64::from(partition)) {
            let error = format!("topic {topic:?} has no partition {partition}; it has {partitions}");
            return Err(self.cluster.broken(error));
        }
        if limit == 0 {
            return Ok(Fetch::new(partition, offset));
        }
        self.scanning(|consumer| {
            Scan::new(consumer, &self.cluster, topic, partition, offset, None, ANSWER)?.take(limit, READ_BYTES)
        })
    }
}

/// Takes what librdkafka has to tell (logs, errors) off its queue, which would grow otherwise.
fn serve(consumer: &BaseConsumer<Context>) {
    for _ in 0..100 {
        let _ = consumer.poll(Duration::ZERO);
    }
}

/// Whether the broker says that the topic is not there.
fn is_missing(error: RDKafkaRespErr) -> bool {
    error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
}
