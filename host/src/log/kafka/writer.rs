//! Appends to one topic, outside of transactions.

use super::producer::Producer;
use crate::log::{LogError, Writer};
use crate::message::Batch;

pub(super) struct KafkaWriter {
    pub(super) producer: Producer,
    pub(super) topic: String,
}

impl Writer for KafkaWriter {
    fn append(&mut self, batch: &Batch) -> Result<(), LogError> {
        self.producer.append(&self.topic, batch)
    }

    fn flush(&mut self) -> Result<(), LogError> {
        self.producer.flush()
    }
}
