//! Appends to topics: idempotent, acknowledged by all replicas in sync, in a transaction where it has a name.
//!
//! It never creates a topic. A message that was not delivered is an error of the next flush (or append), never silence.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::bindings::{rd_kafka_flush, rd_kafka_resp_err_t};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header as KafkaHeader, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};

use super::client::{Cluster, Context};
use super::fault;
use super::transaction::Transactions;
use crate::log::LogError;
use crate::message::{Batch, Header};

/// How long to wait for acknowledgements before looking at errors again …
const WAIT: Duration = Duration::from_millis(100);
/// … and for room among the messages under way, which comes sooner.
const ROOM: Duration = Duration::from_millis(1);
/// How often a producer that waits says so.
const WARN_EVERY: Duration = Duration::from_secs(10);
/// What librdkafka puts into one request, unless a topic takes less.
const BATCH: usize = 1_000_000;
/// How long a message may take to be delivered outside of transactions.
const DELIVERY: &str = "120000";

pub(crate) struct Producer {
    pub(super) producer: Arc<BaseProducer<Deliveries>>,
    pub(super) cluster: Cluster,
    pub(super) transactions: Option<Transactions>,
    failure: Arc<Mutex<Option<Failure>>>,
    /// The largest batch that each topic takes, and so the largest message.
    limits: BTreeMap<String, usize>,
}

/// The first message that was not delivered since the last flush.
#[derive(Debug, Clone)]
struct Failure {
    topic: String,
    code: Code,
    bytes: usize,
}

/// Hears of what was not delivered.
pub(super) struct Deliveries {
    context: Context,
    failure: Arc<Mutex<Option<Failure>>>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        let Err((error, message)) = result else {
            return;
        };
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        let bytes = message.key_len() + message.payload_len();
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| Failure { topic: message.topic().to_owned(), code, bytes });
    }
}

/// One message on its way.
struct Record<'a> {
    topic: &'a str,
    /// `None` is the one that the key says.
    partition: Option<i32>,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    /// In milliseconds since the Unix epoch; `None` is now.
    timestamp: Option<i64>,
    headers: Option<OwnedHeaders>,
}

impl Producer {
    /// A producer to topics with the largest message of each.
    pub(super) fn new(cluster: Cluster, limits: BTreeMap<String, usize>) -> Result<Self, LogError> {
        let mut config = base(&cluster, &limits);
        if cluster.milliseconds("message.timeout.ms").is_none() {
            config.set("message.timeout.ms", DELIVERY);
        }
        Self::with(cluster, limits, &config)
    }

    pub(super) fn with(
        cluster: Cluster,
        limits: BTreeMap<String, usize>,
        config: &ClientConfig,
    ) -> Result<Self, LogError> {
        let failure = Arc::default();
        let deliveries = Deliveries { context: Context::new(&cluster.name), failure: Arc::clone(&failure) };
        let producer = BaseProducer::from_config_and_context(config, deliveries);
        let producer = producer.map_err(|e| cluster.broken(fault::text(&e)))?;
        Ok(Self { producer: Arc::new(producer), cluster, transactions: None, failure, limits })
    }

    /// Hands over messages; they are safe only after [`Producer::flush`], and to be read, in a transaction, only after
    /// its commit. Blocks when too many are under way.
    pub(crate) fn append(&mut self, topic: &str, batch: &Batch) -> Result<(), LogError> {
        self.check()?;
        self.begin()?;
        let mut headers: Vec<&Header> = batch.headers.iter().collect();
        headers.sort_by_key(|header| header.message);
        let mut headers = headers.into_iter().peekable();
        let messages = batch.keys.iter().zip(&batch.values).zip(&batch.timestamps);
        for (index, ((key, value), &timestamp)) in (0u32..).zip(messages) {
            let mut own: Option<OwnedHeaders> = None;
            while let Some(h) = headers.next_if(|h| h.message == index) {
                let header = KafkaHeader { key: &h.name, value: Some(&h.value) };
                own = Some(own.unwrap_or_default().insert(header));
            }
            // librdkafka takes 0 for "now", which would make the same input give another output.
            let timestamp = Some(if timestamp == 0 { 1 } else { timestamp });
            self.send(Record { topic, partition: None, key, value, timestamp, headers: own })?;
        }
        self.producer.poll(Duration::ZERO);
        Ok(())
    }

    /// Hands over one message, in the same way, to a partition of the caller's choice.
    pub(crate) fn put(
        &mut self,
        topic: &str,
        partition: i32,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), LogError> {
        self.begin()?;
        let partition = Some(partition);
        self.send(Record { topic, partition, key: Some(key), value, timestamp: None, headers: None })
    }

    /// Hands one message to librdkafka, waiting while its queue is full.
    fn send(&self, own: Record<'_>) -> Result<(), LogError> {
        let Record { topic, partition, key, value, timestamp, headers } = own;
        let mut record = BaseRecord::<[u8], [u8]>::to(topic);
        (record.partition, record.timestamp) = (partition, timestamp);
        (record.key, record.payload, record.headers) = (key, value, headers);
        let mut warned = Instant::now();
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(ROOM);
                    self.check()?;
                    self.warn(&mut warned);
                }
                Err((error, _)) => {
                    let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
                    let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
                    return Err(self.error(&Failure { topic: topic.to_owned(), code, bytes }));
                }
            }
        }
    }

    /// Returns when everything that was handed over is durable.
    pub(crate) fn flush(&mut self) -> Result<(), LogError> {
        let mut warned = Instant::now();
        // librdkafka gives up on a message after `message.timeout.ms`, so this ends.
        while !self.flushed_within(WAIT) {
            self.producer.poll(Duration::ZERO);
            self.check()?;
            self.warn(&mut warned);
        }
        // What failed last may still be on its way to us.
        self.producer.poll(Duration::ZERO);
        self.check()
    }

    /// The crate's own `flush` sleeps until there is a report, and we ask for reports of failures only.
    fn flushed_within(&self, wait: Duration) -> bool {
        let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the client lives as long as the producer; the call only waits.
        let outcome = unsafe { rd_kafka_flush(self.producer.client().native_ptr(), wait) };
        outcome == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    }

    /// The first failure since the last call, if any.
    fn check(&self) -> Result<(), LogError> {
        self.take_failure().map_or(Ok(()), |failure| Err(self.error(&failure)))
    }

    fn take_failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until nothing is under way any more; whether it was delivered is of no interest.
    pub(super) fn settle(&self) {
        while !self.flushed_within(WAIT) {
            self.producer.poll(Duration::ZERO);
        }
        self.producer.poll(Duration::ZERO);
        self.take_failure();
    }

    fn error(&self, failure: &Failure) -> LogError {
        let Failure { topic, code, bytes } = failure;
        match code {
            Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
                let limit = self.limits.get(topic).copied().unwrap_or(super::MESSAGE_BYTES);
                let log = format!("topic {topic:?} in {}", self.cluster.name);
                LogError::TooLarge { log, bytes: *bytes, limit }
            }
            code => {
                let fatal = self.producer.client().fatal_error().map(|(fatal, _)| fatal);
                self.fault(topic, fatal.unwrap_or(*code))
            }
        }
    }

    /// What a new producer may do where this one failed, and what is no hope to try again.
    pub(super) fn fault(&self, topic: &str, code: Code) -> LogError {
        match self.cluster.fault(topic, code) {
            LogError::Broken { log, error } if fault::curable(code) => LogError::Interrupted { log, error },
            fault => fault,
        }
    }

    fn warn(&self, last: &mut Instant) {
        if last.elapsed() >= WARN_EVERY {
            *last = Instant::now();
            let waiting = self.producer.in_flight_count();
            tracing::warn!("{}: {waiting} messages wait for the broker", self.cluster.name);
        }
    }
}

/// What every producer is set to.
pub(super) fn base(cluster: &Cluster, limits: &BTreeMap<String, usize>) -> ClientConfig {
    // A batch is for one topic, but all topics have one setting.
    let largest = limits.values().copied().max().unwrap_or(super::MESSAGE_BYTES);
    let smallest = limits.values().copied().min().unwrap_or(super::MESSAGE_BYTES);
    // What waits is bounded, but a message that a topic takes has room, or it would wait for some for ever.
    let waiting = (2 * largest.min(1_000_000_000) / 1024).max(16_384);
    let mut config = ClientConfig::new();
    config.set("linger.ms", "5").set("queue.buffering.max.kbytes", waiting.to_string());
    for (key, value) in cluster.config().config_map() {
        config.set(key, value);
    }
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("delivery.report.only.error", "true")
        .set("message.max.bytes", largest.clamp(1000, 1_000_000_000).to_string())
        .set("batch.size", smallest.clamp(1, BATCH).to_string())
        .set_log_level(RDKafkaLogLevel::Warning);
    config
}
