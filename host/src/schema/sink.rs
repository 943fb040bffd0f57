//! Checks what plugins put out by a schema, on its way to a sink, and writes it as the wire has it.

use std::ops::ControlFlow;
use std::time::Instant;

use super::{Checker, Schema, Wire, picked};
use crate::checkpoint::Checkpoint;
use crate::message::{Batch, Column};
use crate::plugin::Entries;
use crate::sink::{Kept, Positions, Refused, Sink, SinkError, Step};

/// By which messages that do not fit are counted.
const CAUSE: &str = "invalid schema";

/// A sink of which each message fits a schema. What does not is refused, and all else is one batch for the inner sink.
pub struct SchemaSink {
    inner: Box<dyn Sink>,
    checker: Checker,
    wire: Wire,
    /// What stands before each message; nothing without a registry.
    frame: Vec<u8>,
    avro: Vec<u8>,
}

impl SchemaSink {
    /// `number` is that of the schema in a registry.
    pub fn new(inner: Box<dyn Sink>, schema: &Schema, number: Option<u32>) -> Self {
        let frame = number.map(|number| [&[0], &number.to_be_bytes()[..]].concat()).unwrap_or_default();
        Self { inner, checker: schema.checker(), wire: schema.wire, frame, avro: Vec::new() }
    }

    /// The places of the messages that fit, their values as they are on the wire, and the others.
    fn check(&mut self, batch: &Batch) -> (Vec<u32>, Column, Vec<Refused>) {
        let (mut places, mut values, mut refused) = (Vec::new(), Column::new(), Vec::new());
        for (message, json) in (0..).zip(&batch.values) {
            let Some(json) = json else {
                places.push(message);
                values.push(None);
                continue;
            };
            match self.checker.check(json, &mut self.avro) {
                Ok(()) => {
                    let value = if self.wire == Wire::Avro { &self.avro } else { json };
                    places.push(message);
                    values.push_joined(&self.frame, value);
                }
                Err(misfit) => refused.push(Refused { message, cause: CAUSE, reason: misfit.to_string() }),
            }
        }
        (places, values, refused)
    }
}

impl Sink for SchemaSink {
    fn write(&mut self, partition: i32, batch: &Batch, first: i64) -> Result<Vec<Refused>, SinkError> {
        let (places, values, mut refused) = self.check(batch);
        if places.is_empty() {
            return Ok(refused);
        }
        let fitting = picked(batch, &places, values);
        for inner in self.inner.write(partition, &fitting, first)? {
            refused.push(Refused { message: places[inner.message as usize], ..inner });
        }
        refused.sort_by_key(|refused| refused.message);
        Ok(refused)
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn exactly_once(&self) -> bool {
        self.inner.exactly_once()
    }

    fn open(&mut self, partition: i32) -> Result<Option<Checkpoint>, SinkError> {
        self.inner.open(partition)
    }

    fn kept(&self, last: &Checkpoint) -> Result<Kept, SinkError> {
        self.inner.kept(last)
    }

    fn state(&mut self, last: &Checkpoint, each: &mut dyn FnMut(&Entries) -> ControlFlow<()>) -> Result<(), SinkError> {
        self.inner.state(last, each)
    }

    fn due(&self, since: Instant) -> Instant {
        self.inner.due(since)
    }

    fn full(&self) -> bool {
        self.inner.full()
    }

    fn abort(&mut self) -> Result<(), SinkError> {
        self.inner.abort()
    }

    fn commit(&mut self, step: Step<'_>) -> Result<Positions, SinkError> {
        self.inner.commit(step)
    }

    fn close(&mut self, partition: i32) -> Result<(), SinkError> {
        self.inner.close(partition)
    }
}
