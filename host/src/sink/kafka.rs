//! Output, state and checkpoints into topics of one Kafka cluster: one transaction a commit, or none at least once.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::checkpoint::Checkpoint;
use crate::log::LogError;
use crate::log::kafka::Kafka;
use crate::message::Batch;
use crate::plugin::Entries;
use crate::sink::{Positions, Sink, SinkError, Step};

/// What one worker writes, and where.
#[derive(Debug, Clone)]
pub struct Options {
    pub group: String,
    /// The topic of the output; without one only state and checkpoints are kept.
    pub topic: Option<String>,
    /// The topic of dead letters, where they are in the same cluster.
    pub letters: Option<String>,
    /// Partitions of what is read, and so of the changelog.
    pub inputs: u32,
    /// Who this worker is among the group's: its transactions end those of its former self. Without it there are no
    /// transactions, and each message has its effect at least once.
    pub member: Option<String>,
    pub interval: Duration,
}

/// Writes to topics. Checkpoints and state are in the compacted topic `GROUP.changelog`, in the partition of the input.
pub struct KafkaSink {
    kafka: Arc<Kafka>,
    options: Options,
}

impl KafkaSink {
    pub fn new(kafka: Arc<Kafka>, options: Options) -> Result<Self, LogError> {
        Ok(Self { kafka, options })
    }
}

impl Sink for KafkaSink {
    fn place(&self) -> String {
        todo!("{:p}", self.kafka)
    }

    fn exactly_once(&self) -> bool {
        self.options.member.is_some()
    }

    fn open(&mut self, _partition: i32) -> Result<Option<Checkpoint>, SinkError> {
        todo!()
    }

    fn state(
        &mut self,
        _last: &Checkpoint,
        _each: &mut dyn FnMut(&Entries) -> ControlFlow<()>,
    ) -> Result<(), SinkError> {
        todo!()
    }

    fn write(&mut self, _partition: i32, _batch: &Batch, _first: i64) -> Result<(), SinkError> {
        todo!()
    }

    fn due(&self, since: Instant) -> Instant {
        since + self.options.interval
    }

    fn commit(&mut self, _step: Step<'_>) -> Result<Positions, SinkError> {
        todo!()
    }

    fn close(&mut self, _partition: i32) -> Result<(), SinkError> {
        Ok(())
    }
}
