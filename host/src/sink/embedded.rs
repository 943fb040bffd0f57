//! Output, state and checkpoints into the embedded log: one SQLite transaction a commit.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::checkpoint::Checkpoint;
use crate::log::LogError;
use crate::log::embedded::Embedded;
use crate::message::Batch;
use crate::plugin::Entries;
use crate::sink::{Positions, Sink, SinkError, Step};

/// Writes to topics of the embedded log, in the same transaction in which it keeps state and checkpoints there.
pub struct EmbeddedSink {
    log: Embedded,
    interval: Duration,
}

impl EmbeddedSink {
    /// Without a `topic` only state and checkpoints are kept; `letters` is where dead letters go.
    pub fn new(
        log: Embedded,
        _group: &str,
        _topic: Option<&str>,
        _letters: Option<&str>,
        interval: Duration,
    ) -> Result<Self, LogError> {
        Ok(Self { log, interval })
    }
}

impl Sink for EmbeddedSink {
    fn place(&self) -> String {
        todo!("{:p}", &self.log)
    }

    fn exactly_once(&self) -> bool {
        true
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
        since + self.interval
    }

    fn commit(&mut self, _step: Step<'_>) -> Result<Positions, SinkError> {
        todo!()
    }

    fn close(&mut self, _partition: i32) -> Result<(), SinkError> {
        Ok(())
    }
}
