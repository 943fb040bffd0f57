//! What a message leads to that a plugin fails on: its batch is undone and read again, taken apart in new instances, and
//! goes through without it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Loop, Worker};
use crate::chain::{Chain, Failed};
use crate::failures::{Policy, Stopped};
use crate::isolate::{Piece, isolate};
use crate::log::LogError;
use crate::message::Fetch;
use crate::supervise::log_error;

/// How often the same messages may fail after they were taken apart: a plugin is a function of its input, but its time is
/// not.
const AGAIN: u32 = 3;

/// Offsets, by partition, among which a plugin failed.
#[derive(Default)]
pub(super) struct Suspects {
    /// With how often it has.
    ranges: BTreeMap<i32, (Range<i64>, u32)>,
    /// What is being processed.
    at: Option<(i32, Range<i64>)>,
}

impl Suspects {
    /// Whether a batch is of them. One that comes behind them all says that they do not come again: their source has no
    /// more of them.
    pub fn has(&mut self, fetch: &Fetch) -> bool {
        let Some((range, _)) = self.ranges.get(&fetch.partition).cloned() else { return false };
        if range.end <= fetch.first() {
            self.forget(fetch.partition);
        }
        fetch.first() < range.end && range.start < fetch.next
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
        let (partition, at) = self.at.take()?;
        let (range, times) = self.ranges.entry(partition).or_insert((at.clone(), 0));
        *range = range.start.min(at.start)..range.end.max(at.end);
        *times += 1;
        Some(*times)
    }
}

impl Loop<'_> {
    /// Goes on from the last checkpoint after a failure that is a plugin's; any other one is given back.
    pub(super) fn recover(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        if self.change.is_on_trial() && is_of_a_plugin(&error) {
            return self.roll_back(format!("{error:#}"));
        }
        let Some(failed) = error.downcast_ref::<Failed>() else { return Err(error) };
        if failed.error.call() == Some("ask") {
            tracing::warn!("{}: {error:#}; going on from the last checkpoint", self.worker.identity.pipeline);
            self.go_back()?;
            self.tasks_changed();
            return Ok(());
        }
        if !matches!(failed.error.call(), Some("process" | "locate")) {
            return Err(error);
        }
        match self.suspects.suspect() {
            Some(times) if times <= 1 + AGAIN => {}
            _ => return Err(error),
        }
        tracing::warn!("{}: {error:#}; looking for the message that it fails on", self.worker.identity.pipeline);
        self.worker.handle.counters.add("batches taken apart", 1);
        self.go_back()?;
        self.tasks_changed();
        Ok(())
    }

    /// Processes a batch of which some messages are suspect: what goes through, and what becomes of the others, in one
    /// commit.
    pub(super) fn take_apart(&mut self, fetch: Fetch) -> anyhow::Result<()> {
        let (partition, Some((range, _))) = (fetch.partition, self.suspects.ranges.get(&fetch.partition).cloned())
        else {
            return self.put_through(fetch);
        };
        let (before, rest) = fetch.split(range.start);
        let (rest, after) = rest.split(range.end);
        if !before.is_empty() {
            self.put_through(before)?;
        }
        // What was before them has its effect, so that their state is that of a checkpoint.
        self.commit()?;
        let end = rest.next;
        self.suspects.begin(&rest);
        let pieces = self.isolate(rest)?;
        self.suspects.end();
        for piece in pieces {
            match piece {
                Piece::Good(fetch) => self.put_through(fetch)?,
                Piece::Poison(fetch, failed) => self.pass(&fetch, failed)?,
            }
        }
        self.commit()?;
        if range.end <= end {
            self.suspects.forget(partition);
        }
        if after.is_empty() { Ok(()) } else { self.process(after) }
    }

    fn isolate(&mut self, fetch: Fetch) -> anyhow::Result<Vec<Piece>> {
        let Worker { sink, failures, .. } = &mut self.worker;
        let partition = fetch.partition;
        let Some(task) = self.tasks.get(&partition) else { return Ok(Vec::new()) };
        let versions = task.versions();
        let mut fresh = || {
            let mut chain = Chain::open(&versions, partition)?;
            if let Some(last) = task.last() {
                chain.restore(last, sink.kept(last)?)?;
            }
            Ok(chain)
        };
        isolate(fetch, &mut fresh, failures)
    }

    /// Goes past a message that a plugin fails on, as the policy says.
    fn pass(&mut self, fetch: &Fetch, failed: Failed) -> anyhow::Result<()> {
        let policy = self.worker.failures.policy();
        if policy == Policy::Stop {
            // What was before it has its effect.
            self.commit()?;
            return Err(Stopped { partition: fetch.partition, offset: fetch.offsets[0], error: failed.error }.into());
        }
        let Some(task) = self.tasks.get_mut(&fetch.partition) else { return Ok(()) };
        task.pass(fetch.next);
        let rejects = &mut self.worker.rejects;
        rejects.by_failure(&failed, &task.versions(), fetch, policy == Policy::DeadLetter)?;
        rejects.input(fetch.partition, &fetch.rejected)
    }
}

/// Whether it is a plugin's fault, and so that of a version on trial: it failed, or put out what nobody can take.
fn is_of_a_plugin(error: &anyhow::Error) -> bool {
    error.is::<Failed>() || matches!(log_error(error), Some(LogError::TooLarge { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(offsets: Range<i64>) -> Fetch {
        let mut fetch = Fetch::new(0, offsets.end);
        offsets.for_each(|offset| {
            fetch.batch.push(None, None, 0);
            fetch.offsets.push(offset);
        });
        fetch
    }

    /// Says how often a plugin has failed there.
    fn fail(suspects: &mut Suspects, offsets: Range<i64>) -> u32 {
        suspects.begin(&fetch(offsets));
        suspects.suspect().unwrap()
    }

    #[test]
    fn what_failed_is_suspect_until_it_is_through() {
        let mut suspects = Suspects::default();
        suspects.begin(&fetch(0..10));
        suspects.end();
        assert_eq!((suspects.suspect(), suspects.any()), (None, false), "nothing failed");
        assert_eq!(fail(&mut suspects, 10..20), 1);
        // Batches may be cut elsewhere when they come again.
        let at = [0..10, 0..11, 10..15, 19..30].map(|offsets| suspects.has(&fetch(offsets)));
        assert_eq!(at, [false, true, true, true]);
        assert!(!suspects.has(&fetch(20..30)) && !suspects.any(), "it is waited for what does not come");
    }

    /// However the batch is cut, and wherever in it a plugin fails, it does not go on for ever.
    #[test]
    fn the_same_messages_fail_so_often_and_no_more() {
        let mut suspects = Suspects::default();
        let times = [10..20, 15..20, 10..12, 5..10].map(|offsets| fail(&mut suspects, offsets));
        assert_eq!(times, [1, 2, 3, 4]);
        assert!(suspects.has(&fetch(5..6)) && suspects.has(&fetch(19..20)));
        suspects.forget(0);
        assert_eq!(fail(&mut suspects, 10..20), 1);
    }
}
