//! Another version of a plugin that sees the same messages beside the one whose output counts, and is compared with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::compare::Comparison;
use crate::message::Batch;
use crate::plugin::{Instance, Output, PluginError};

/// Which of the two is beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// In a trial, the version that was at work before.
    Old,
    /// In a canary, the version that may come.
    New,
}

/// An instance without effect. Where it fails, it is seen no more, and the one beside it goes on.
pub struct Beside {
    side: Side,
    partition: i32,
    /// `None` once it failed.
    instance: Option<Instance>,
    comparison: Arc<Mutex<Comparison>>,
}

impl Beside {
    pub fn new(side: Side, partition: i32, instance: Instance, comparison: Arc<Mutex<Comparison>>) -> Self {
        Self { side, partition, instance: Some(instance), comparison }
    }

    /// Sees what the other one made of a batch in `other`, and makes its own of it.
    pub fn process(&mut self, batch: &Batch, offsets: &[i64], output: &Output, other: Duration, memory: usize) {
        let Some(instance) = &mut self.instance else { return };
        let start = Instant::now();
        match instance.locate(self.partition, offsets).and_then(|()| instance.process(batch)) {
            Ok(own) => {
                let (took, size) = (start.elapsed(), instance.memory());
                let mut comparison = self.comparison();
                match self.side {
                    Side::Old => {
                        comparison.output(self.partition, batch, offsets, &own, output);
                        comparison.took(batch.len(), took, other);
                        comparison.memory(size, memory);
                    }
                    Side::New => {
                        comparison.output(self.partition, batch, offsets, output, &own);
                        comparison.took(batch.len(), other, took);
                        comparison.memory(memory, size);
                    }
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Sees what the other one put out when time passed.
    pub fn advance(&mut self, watermark: i64, output: &Batch) {
        let Some(instance) = &mut self.instance else { return };
        match instance.advance(watermark) {
            Ok(own) => match self.side {
                Side::Old => self.comparison().advanced(self.partition, &own, output),
                Side::New => self.comparison().advanced(self.partition, output, &own),
            },
            Err(error) => self.fail(&error),
        }
    }

    /// What changed in its state is of no interest, and must not pile up.
    pub fn forget_changes(&mut self) {
        let Some(instance) = &mut self.instance else { return };
        loop {
            match instance.changes() {
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(error) => return self.fail(&error),
            }
        }
    }

    fn fail(&mut self, error: &PluginError) {
        self.instance = None;
        // Of the old one it is known what it does; here it only gives the measure.
        if self.side == Side::New {
            self.comparison().failed(&error.to_string());
        }
    }

    fn comparison(&self) -> MutexGuard<'_, Comparison> {
        self.comparison.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
