//! Topics in Apache Kafka, through librdkafka.
//!
//! Nothing here creates a topic silently: `allow.auto.create.topics` is off for every client, and a topic
//! that is not there is an error. A broker that is gone for a while is not: librdkafka reconnects.

mod client;
mod queue;
mod reader;
mod settings;
mod writer;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;

use crate::log::{Log, LogError, Reading, Topic, Writer, check_name};
use crate::message::Fetch;
use crate::source::Source;
use client::{Cluster, Context};
pub use settings::check_client_setting;

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
}

impl Kafka {
    /// Connects, and asks the cluster for an answer, so that a wrong address is found out here.
    /// `client` holds librdkafka settings that the allow-list let through.
    pub fn connect(brokers: &str, client: &BTreeMap<String, String>) -> Result<Self, LogError> {
        let cluster = Cluster::new(brokers, client);
        let context = Context::new(&cluster.name);
        let asking: BaseConsumer<Context> = cluster.consumer(None, 1, context.clone())?;
        let answer = asking.fetch_metadata(None, CONNECT);
        serve(&asking);
        match answer {
            Ok(_) => Ok(Self { cluster, asking }),
            Err(e) => Err(LogError::Unreachable(format!(
                "{} does not answer within {} s: {}; check the address, that the broker runs and that it advertises \
                 an address that this machine reaches, and the security settings under [kafka]",
                cluster.name,
                CONNECT.as_secs(),
                context.last_error().unwrap_or_else(|| e.to_string()),
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
        let partitions = (0..count as i32).map(|p| self.asking.fetch_watermarks(topic, p, ANSWER));
        let partitions = partitions.collect::<Result<_, KafkaError>>();
        let partitions = partitions.map_err(|e| self.cluster.error(topic, &e))?;
        Ok(Topic { name: topic.to_owned(), partitions })
    }

    fn admin(&self) -> Result<AdminClient<Context>, LogError> {
        AdminClient::from_config_and_context(&self.cluster.config(), Context::new(&self.cluster.name))
            .map_err(|e| self.cluster.broken(client::text(&e)))
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

    /// The largest batch that the topic takes, which bounds a message.
    fn message_limit(&self, topic: &str) -> Result<usize, LogError> {
        let admin = self.admin()?;
        let options = AdminOptions::new().request_timeout(Some(ANSWER));
        let answer = pollster::block_on(admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options));
        // A user who may write does not always have the right to see settings.
        let limit = answer.ok().and_then(|mut resources| resources.pop()?.ok()).and_then(|resource| {
            resource.get("max.message.bytes").and_then(|entry| entry.value.as_ref()?.parse().ok())
        });
        Ok(limit.unwrap_or(MESSAGE_BYTES))
    }
}

impl Log for Kafka {
    fn create_topic(&self, topic: &str, partitions: u32) -> Result<bool, LogError> {
        check_name(topic)?;
        let asked = partitions.max(1);
        let count = i32::try_from(asked).unwrap_or(i32::MAX);
        let admin = self.admin()?;
        let options = AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER));
        // -1 is the broker's own default.
        let new = NewTopic::new(topic, count, TopicReplication::Fixed(-1));
        let answer = pollster::block_on(admin.create_topics([&new], &options));
        let outcome = answer.map_err(|e| self.cluster.error(topic, &e))?.pop();
        match outcome {
            Some(Ok(_)) => self.await_topic(topic).map(|_| true),
            Some(Err((_, Code::TopicAlreadyExists))) => match self.await_topic(topic)? {
                actual if actual < asked => Err(LogError::Partitions { topic: topic.to_owned(), actual, asked }),
                _ => Ok(false),
            },
            Some(Err((_, code))) => Err(self.cluster.broken(client::explain(topic, code))),
            None => Err(self.cluster.broken(format!("the broker did not say whether it created topic {topic:?}"))),
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
        self.partitions(topic)?;
        let limit = self.message_limit(topic)?;
        Ok(Box::new(writer::KafkaWriter::new(self.cluster.clone(), topic, limit)?))
    }

    fn reader(&self, topic: &str, reading: &Reading) -> Result<Box<dyn Source>, LogError> {
        let partitions = self.partitions(topic)?;
        Ok(Box::new(reader::KafkaReader::new(self.cluster.clone(), topic, partitions, &reading.group, reading.start)?))
    }

    fn read(&self, topic: &str, partition: i32, offset: i64, limit: usize) -> Result<Fetch, LogError> {
        let partitions = self.partitions(topic)?;
        if !(0..i64::from(partitions)).contains(&i64::from(partition)) {
            let error = format!("topic {topic:?} has no partition {partition}; it has {partitions}");
            return Err(self.cluster.broken(error));
        }
        reader::read(&self.cluster, topic, partition, offset, limit)
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
