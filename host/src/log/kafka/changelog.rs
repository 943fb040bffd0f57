//! The topic that keeps the state of a group's partitions, each in the partition of the same number: the last value of
//! each key, compacted, and the checkpoint that it belongs to.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::scan::Scan;
use super::{Kafka, transaction};
use crate::log::LogError;
use crate::message::Fetch;
use crate::plugin::Entries;

/// The key of checkpoints. A key of state begins with its plugin's number, a byte, and no chain has 256 plugins.
pub(crate) const CHECKPOINT: &[u8] = b"\xffcheckpoint";

/// How far back from the end a checkpoint is looked for at first; then ever further. Behind the last one there is
/// nothing but what never took effect.
const BACK: i64 = 64;
/// What is handed over at once: so many entries, or so many bytes of them.
const ENTRIES: usize = 4096;
const BYTES: usize = 1 << 20;

#[derive(Clone)]
pub(crate) struct Changelog {
    kafka: Arc<Kafka>,
    topic: String,
}

/// The state of a partition as it was kept up to one moment.
pub(crate) struct State {
    changelog: Changelog,
    partition: i32,
    first: i64,
    end: i64,
}

impl Changelog {
    pub(super) fn new(kafka: Arc<Kafka>, topic: &str) -> Self {
        Self { kafka, topic: topic.to_owned() }
    }

    /// As a person writes it: `kafka://HOST:PORT/TOPIC`.
    pub(crate) fn place(&self) -> String {
        format!("{}/{}", self.kafka.name(), self.topic)
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// The last checkpoint of a partition, with its offset. Waits until what others have under way there is settled.
    pub(crate) fn last(&self, partition: i32) -> Result<Option<(i64, Vec<u8>)>, LogError> {
        let (first, mut end) = self.bounds(partition)?;
        let mut back = BACK;
        while end > first {
            let from = first.max(end - back);
            let mut last = None;
            self.scan(partition, from, end, |fetch| {
                for (offset, (key, value)) in fetch.offsets.iter().zip(fetch.batch.keys.iter().zip(&fetch.batch.values))
                {
                    if let (Some(CHECKPOINT), Some(value)) = (key, value) {
                        last = Some((*offset, value.to_vec()));
                    }
                }
                ControlFlow::Continue(())
            })?;
            if last.is_some() {
                return Ok(last);
            }
            (end, back) = (from, back * 16);
        }
        Ok(None)
    }

    /// The state of a partition, to be read by whichever thread. What is kept from now on is not among it; but what has a
    /// later value by the time that it is read may be gone.
    pub(crate) fn state(&self, partition: i32) -> Result<State, LogError> {
        let (first, end) = self.bounds(partition)?;
        Ok(State { changelog: self.clone(), partition, first, end })
    }

    /// Where a partition begins and ends, with what is under way there.
    fn bounds(&self, partition: i32) -> Result<(i64, i64), LogError> {
        self.kafka.watermarks(&self.topic, partition)
    }

    fn scan(
        &self,
        partition: i32,
        from: i64,
        end: i64,
        mut each: impl FnMut(&Fetch) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        let cluster = &self.kafka.cluster;
        let patience = transaction::settled(cluster);
        self.kafka.scanning(|consumer| {
            let mut scan = Scan::new(consumer, cluster, &self.topic, partition, from, Some(end), patience)?;
            loop {
                let fetch = scan.take(ENTRIES, BYTES)?;
                if fetch.batch.is_empty() || each(&fetch).is_break() {
                    return Ok(());
                }
            }
        })
    }
}

impl State {
    /// Hands it out, a part at a time and in the order in which it was kept, until `each` breaks.
    pub(crate) fn read(&self, each: &mut dyn FnMut(&Entries) -> ControlFlow<()>) -> Result<(), LogError> {
        self.changelog.scan(self.partition, self.first, self.end, |fetch| {
            let mut entries = Entries::default();
            for (key, value) in fetch.batch.keys.iter().zip(&fetch.batch.values) {
                if key != Some(CHECKPOINT) {
                    entries.keys.push(key);
                    entries.values.push(value);
                }
            }
            if entries.is_empty() { ControlFlow::Continue(()) } else { each(&entries) }
        })
    }
}
