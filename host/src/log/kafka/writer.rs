//! Appends to a topic: idempotent, acknowledged by all replicas in sync.
//!
//! It never creates the topic. A message that was not delivered is an error of the next flush (or append),
//! never silence.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::bindings::{rd_kafka_flush, rd_kafka_resp_err_t};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header as KafkaHeader, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::client::{self, Cluster, Context};
use crate::log::{LogError, Writer};
use crate::message::{Batch, Header};

/// How long to wait for room, or for acknowledgements, before looking at errors again.
const WAIT: Duration = Duration::from_millis(100);
/// How often a writer that waits says so.
const WARN_EVERY: Duration = Duration::from_secs(10);
/// What librdkafka puts into one request, unless the topic takes less.
const BATCH: usize = 1_000_000;

pub(super) struct KafkaWriter {
    producer: BaseProducer<Deliveries>,
    failure: Arc<Mutex<Option<Failure>>>,
    cluster: Cluster,
    topic: String,
    /// The largest batch the topic takes, and so the largest message.
    limit: usize,
}

/// The first message that was not delivered since the last flush.
#[derive(Debug, Clone)]
struct Failure {
    code: Code,
    bytes: usize,
}

/// Hears of what was not delivered.
struct Deliveries {
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
        failure.get_or_insert(Failure { code, bytes });
    }
}

impl KafkaWriter {
    pub(super) fn new(cluster: Cluster, topic: &str, limit: usize) -> Result<Self, LogError> {
        let mut config = rdkafka::ClientConfig::new();
        config.set("linger.ms", "5").set("message.timeout.ms", "120000").set("queue.buffering.max.kbytes", "16384");
        for (key, value) in cluster.config().config_map() {
            config.set(key, value);
        }
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("delivery.report.only.error", "true")
            .set("message.max.bytes", limit.clamp(1000, 1_000_000_000).to_string())
            .set("batch.size", limit.clamp(1, BATCH).to_string())
            .set_log_level(RDKafkaLogLevel::Warning);
        let failure = Arc::default();
        let deliveries = Deliveries { context: Context::new(&cluster.name), failure: Arc::clone(&failure) };
        let producer = BaseProducer::from_config_and_context(&config, deliveries);
        let producer = producer.map_err(|e| cluster.broken(client::text(&e)))?;
        Ok(Self { producer, failure, cluster, topic: topic.to_owned(), limit })
    }

    /// Hands one message to librdkafka, waiting while its queue is full.
    fn send(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp: i64,
        headers: Option<OwnedHeaders>,
    ) -> Result<(), LogError> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic).timestamp(timestamp);
        (record.key, record.payload, record.headers) = (key, value, headers);
        let mut warned = Instant::now();
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(WAIT);
                    self.check()?;
                    self.warn(&mut warned);
                }
                Err((error, _)) => {
                    let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
                    let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
                    return Err(self.error(&Failure { code, bytes }));
                }
            }
        }
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
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or(Ok(()), |failure| Err(self.error(&failure)))
    }

    fn error(&self, failure: &Failure) -> LogError {
        match failure.code {
            Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
                let log = format!("topic {:?} in {}", self.topic, self.cluster.name);
                LogError::TooLarge { log, bytes: failure.bytes, limit: self.limit }
            }
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                LogError::NoTopic { topic: self.topic.clone(), log: self.cluster.name.clone() }
            }
            code => match self.producer.client().fatal_error() {
                Some((fatal, _)) => self.cluster.broken(client::explain(&self.topic, fatal)),
                None => self.cluster.broken(client::explain(&self.topic, code)),
            },
        }
    }

    fn warn(&self, last: &mut Instant) {
        if last.elapsed() >= WARN_EVERY {
            *last = Instant::now();
            let waiting = self.producer.in_flight_count();
            tracing::warn!("{}: topic {:?}: {waiting} messages wait for the broker", self.cluster.name, self.topic);
        }
    }
}

impl Writer for KafkaWriter {
    fn append(&mut self, batch: &Batch) -> Result<(), LogError> {
        self.check()?;
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
            let timestamp = if timestamp == 0 { 1 } else { timestamp };
            self.send(key, value, timestamp, own)?;
        }
        self.producer.poll(Duration::ZERO);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
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
}
