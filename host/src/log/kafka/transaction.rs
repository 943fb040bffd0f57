//! Transactions of one worker: what it wrote, and how far its group has come, in one step.
//!
//! After an error the producer is of no more use: whoever owns it drops it, and makes a new one of the same name, which
//! ends what the old one left open.

use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;

use super::ANSWER;
use super::client::Cluster;
use super::fault;
use super::positions;
use super::producer::{self, Producer};
use crate::checkpoint::Position;
use crate::log::LogError;

/// How long a transaction may stay open, where the user does not say otherwise: for so long others wait for what a
/// dead worker left.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often a broker looks for transactions whose time is over.
const BROKER_LOOKS: Duration = Duration::from_secs(10);
/// How long a worker that ends takes to end its transaction, so that others need not wait for its timeout.
const ABORT: Duration = Duration::from_secs(2);

/// What makes a producer transactional.
pub(super) struct Transactions {
    timeout: Duration,
    /// Whether one is open.
    open: bool,
}

/// How far a group has come in partitions of a topic.
pub(crate) struct Positions {
    pub(crate) topic: String,
    pub(crate) metadata: ConsumerGroupMetadata,
    pub(crate) partitions: Vec<(i32, Position)>,
}

/// How long a transaction may stay open.
fn timeout(cluster: &Cluster) -> Duration {
    cluster.milliseconds("transaction.timeout.ms").unwrap_or(TIMEOUT)
}

/// After this long nothing is open any more that was when the wait began, if all workers are set alike.
pub(super) fn settled(cluster: &Cluster) -> Duration {
    timeout(cluster) + BROKER_LOOKS + ANSWER
}

impl Producer {
    /// A producer whose messages take effect with [`Producer::commit`]. Whatever an earlier one of the same name left
    /// open is aborted, and that one can write no more (Invariant 6).
    pub(super) fn transactional(
        cluster: Cluster,
        limits: BTreeMap<String, usize>,
        name: &str,
    ) -> Result<Self, LogError> {
        let timeout = timeout(&cluster);
        let mut config = producer::base(&cluster, &limits);
        config.set("transactional.id", name).set("transaction.timeout.ms", timeout.as_millis().to_string());
        // librdkafka refuses longer ones, and takes the transaction's where nothing is said.
        for key in ["message.timeout.ms", "socket.timeout.ms"] {
            if cluster.milliseconds(key).is_some_and(|set| set.is_zero() || set > timeout) {
                config.set(key, timeout.as_millis().to_string());
            }
        }
        let mut producer = Self::with(cluster, limits, &config)?;
        producer.transactions = Some(Transactions { timeout, open: false });
        let begun = producer.producer.init_transactions(timeout + BROKER_LOOKS);
        begun.map_err(|e| producer.failed("beginning to write", &e))?;
        Ok(producer)
    }

    /// Begins a transaction, where there is to be one and none is open.
    pub(super) fn begin(&mut self) -> Result<(), LogError> {
        match &mut self.transactions {
            Some(transactions) if !transactions.open => {
                transactions.open = true;
                self.producer.begin_transaction().map_err(|e| self.failed("beginning a transaction", &e))
            }
            _ => Ok(()),
        }
    }

    /// Makes everything since the last commit durable; in a transaction, all of it takes effect together with the
    /// positions. Says whether these were part of it.
    pub(crate) fn commit(&mut self, positions: Option<Positions>) -> Result<bool, LogError> {
        self.begin()?;
        self.flush()?;
        let Some(Transactions { timeout, .. }) = self.transactions else { return Ok(false) };
        let with_positions = positions.is_some();
        if let Some(positions) = positions {
            self.send_positions(positions, timeout)?;
        }
        self.producer.commit_transaction(timeout).map_err(|e| self.failed("committing a transaction", &e))?;
        self.transactions = Some(Transactions { timeout, open: false });
        Ok(with_positions)
    }

    /// Undoes everything since the last commit. What was handed over outside of transactions is not undone but sent, so
    /// that it comes before all that follows.
    pub(crate) fn abort(&mut self) -> Result<(), LogError> {
        let Some(Transactions { timeout, open }) = self.transactions else { return self.flush() };
        if !open {
            return Ok(());
        }
        // All of it is sent before: where librdkafka drops what waits in its queues, the next transaction can find its
        // messages out of order.
        self.settle();
        self.producer.abort_transaction(timeout).map_err(|e| self.failed("aborting a transaction", &e))?;
        self.transactions = Some(Transactions { timeout, open: false });
        Ok(())
    }

    /// librdkafka looks at the time only when an answer comes, or does not come for `socket.timeout.ms`, once and again.
    /// So this waits on another thread, which is left behind when it takes too long, with the producer that nobody is to
    /// use again.
    fn send_positions(&self, positions: Positions, timeout: Duration) -> Result<(), LogError> {
        let Positions { topic, metadata, partitions } = positions;
        let mut list = TopicPartitionList::new();
        for (partition, position) in &partitions {
            positions::add(&mut list, &topic, *partition, position).map_err(|e| self.cluster.error(&topic, &e))?;
        }
        let producer = self.producer.clone();
        let (answer, answered) = sync_channel(1);
        let send = move || {
            // Nobody may be there any more to hear it.
            let _ = answer.send(producer.send_offsets_to_transaction(&list, &metadata, timeout));
        };
        let spawned = std::thread::Builder::new().name("positions".to_owned()).spawn(send);
        spawned.map_err(|e| self.cluster.interrupted(format!("the system gives no more threads: {e}")))?;
        match answered.recv_timeout(timeout + ABORT) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.failed("committing positions", &error)),
            Err(_) => Err(self.cluster.interrupted(format!(
                "committing positions: no answer within {} s; see that the brokers run",
                (timeout + ABORT).as_secs()
            ))),
        }
    }

    fn failed(&self, doing: &str, error: &KafkaError) -> LogError {
        // The first cause, of which what failed now may only be a consequence.
        let fatal = self.producer.client().fatal_error().map(|(fatal, _)| fatal);
        let Some(code) = fatal.or(error.rdkafka_error_code()) else {
            return self.cluster.interrupted(format!("{doing}: {}", fault::text(error)));
        };
        match self.fault("", code) {
            LogError::Interrupted { log, error } => LogError::Interrupted { log, error: format!("{doing}: {error}") },
            _ => self.cluster.broken(format!("{doing}: {}", fault::explain("", code))),
        }
    }
}

/// What was written and not committed never takes effect. Were it left open, others would wait for its timeout.
impl Drop for Producer {
    fn drop(&mut self) {
        if self.transactions.as_ref().is_some_and(|transactions| transactions.open)
            && let Err(error) = self.producer.abort_transaction(ABORT)
        {
            tracing::debug!("{}: leaving a transaction to its timeout: {error}", self.cluster.name);
        }
    }
}
