//! What a message leads to that a plugin fails on: its batch is undone and read again, taken apart in new instances, and
//! goes through without it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Loop, Worker};
use crate::chain::{Chain, Failed};
use crate::failures::Policy;
use crate::isolate::{Piece, isolate};
use crate::message::Fetch;

/// How often the same batch may fail after it was taken apart: a plugin is a function of its input, but its time is not.
const AGAIN: u32 = 3;

/// Offsets, by partition, among which a plugin failed.
#[derive(Default)]
pub(super) struct Suspects {
    ranges: BTreeMap<i32, Range<i64>>,
    /// What is being processed.
    at: Option<(i32, Range<i64>)>,
    /// The last batch that failed, and how often in a row.
    failed: Option<(i32, i64, u32)>,
}

impl Suspects {
    pub fn has(&self, fetch: &Fetch) -> bool {
        self.ranges.get(&fetch.partition).is_some_and(|range| fetch.first() < range.end && range.start < fetch.next)
    }

    pub fn begin(&mut self, fetch: &Fetch) {
        self.at = Some((fetch.partition, fetch.first()..fetch.next));
    }

    pub fn end(&mut self) {
        self.at = None;
    }

    pub fn forget(&mut self, partition: i32) {
        self.ranges.remove(&partition);
    }

    pub fn any(&self) -> bool {
        !self.ranges.is_empty()
    }

    /// What was being processed when a plugin failed. Says how often it has.
    fn suspect(&mut self) -> Option<u32> {
        let (partition, range) = self.at.take()?;
        let times = match self.failed {
            Some((of, start, times)) if (of, start) == (partition, range.start) => times + 1,
            _ => 1,
        };
        self.failed = Some((partition, range.start, times));
        self.ranges.insert(partition, range);
        Some(times)
    }
}

impl Loop<'_> {
    /// Goes on from the last checkpoint after a failure that is a plugin's; any other one is given back.
    pub(super) fn recover(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        if self.change.is_on_trial() && is_of_a_plugin(&error) {
            return self.roll_back(format!("{error:#}"));
        }
        let Some(failed) = error.downcast_ref::<Failed>() else { return Err(error) };
        if failed.error.call() != Some("process") || self.worker.failures.policy() == Policy::Stop {
            return Err(error);
        }
        match self.suspects.suspect() {
            Some(times) if times <= AGAIN => {}
            _ => return Err(error),
        }
        tracing::warn!("{}: {error:#}; looking for the message that it fails on", self.worker.identity.pipeline);
        self.worker.handle.counters.add("batches taken apart", 1);
        self.go_back()?;
        self.tasks_changed();
        Ok(())
    }

    /// Processes a batch of which some messages are suspect.
    pub(super) fn take_apart(&mut self, fetch: Fetch) -> anyhow::Result<()> {
        let (partition, Some(range)) = (fetch.partition, self.suspects.ranges.get(&fetch.partition).cloned()) else {
            return self.put_through(fetch);
        };
        let (before, rest) = fetch.split(range.start);
        let (mut rest, after) = rest.split(range.end);
        if !before.is_empty() {
            self.put_through(before)?;
        }
        // What was before them has its effect, so that their state is that of a checkpoint.
        self.commit()?;
        for piece in self.isolate(&rest)? {
            let end = match &piece {
                Piece::Good(messages) => messages.end,
                Piece::Poison(message, _) => message + 1,
            };
            let _ = end;
            let _ = &mut rest;
            todo!()
        }
        if range.end <= rest.next {
            self.suspects.forget(partition);
        }
        if after.is_empty() { Ok(()) } else { self.process(after) }
    }

    fn isolate(&mut self, fetch: &Fetch) -> anyhow::Result<Vec<Piece>> {
        let Worker { sink, failures, .. } = &mut self.worker;
        let Some(task) = self.tasks.get(&fetch.partition) else { return Ok(Vec::new()) };
        let versions = task.versions();
        let mut fresh = || {
            let mut chain = Chain::open(&versions)?;
            if let Some(last) = task.last() {
                chain.restore(last, sink.kept(last)?)?;
            }
            Ok(chain)
        };
        isolate(fetch, &mut fresh, failures)
    }
}

/// Whether it is a plugin's fault, and so that of a version on trial: it failed, or put out what nobody can take.
fn is_of_a_plugin(error: &anyhow::Error) -> bool {
    use crate::sink::SinkError;
    error.is::<Failed>() || error.chain().any(|cause| matches!(cause.downcast_ref(), Some(SinkError::Message { .. })))
}
