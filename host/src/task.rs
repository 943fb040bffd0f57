//! One partition of one pipeline: its plugin instances, what their state sums up to, and how far it has come.
//!
//! A task processes and hands over what changed; when that takes effect is for its worker to decide.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::checkpoint::{self, Checkpoint, Identity, Part, Tally};
use crate::message::{Batch, Fetch};
use crate::plugin::{Entries, Instance, Plugin};
use crate::rejects::Rejects;
use crate::sink::Sink;

/// The event time of the end: everything that waits for a time is due.
pub const END: i64 = i64::MAX;

/// One plugin of a task's chain; the same version for as long as the task lives (Invariant 7).
pub struct Stage {
    pub plugin: Plugin,
    pub instance: Instance,
}

/// One partition. Dropped, it leaves nothing; another one is built from its last checkpoint.
pub struct Task {
    partition: i32,
    chain: Vec<Stage>,
    tally: Tally,
    /// The highest event time that was seen.
    time: Option<i64>,
    /// When the last message came, or the task began.
    heard: Instant,
    silence: Silence,
    /// Where to go on reading, once all that was processed has its effect; `None` before the first message ever.
    next: Option<i64>,
    /// Since when there is something that has not.
    open: Option<Instant>,
}

impl Task {
    /// A task of newly opened plugins that goes on at `next`, with the state of `last`.
    pub fn new(
        partition: i32,
        chain: Vec<Stage>,
        next: Option<i64>,
        last: Option<&Checkpoint>,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<Self> {
        let now = Instant::now();
        let time = last.and_then(|last| last.time);
        let (tally, silence) = (Tally::default(), Silence::new(now));
        let mut task = Self { partition, chain, tally, time, heard: now, silence, next, open: None };
        if let Some(last) = last {
            task.restore(last, sink)?;
        }
        Ok(task)
    }

    /// Takes back the state of a checkpoint, and checks that it is all there.
    fn restore(&mut self, last: &Checkpoint, sink: &mut dyn Sink) -> anyhow::Result<()> {
        let versions: Vec<&str> =
            last.plugins.iter().filter(|mark| mark.has_state).map(|mark| mark.version.as_str()).collect();
        let mut failed = None;
        sink.state(last, &mut |entries| match self.take_back(&versions, entries) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let (kept, found) = (last.state, self.tally.sum());
        if last.exactly_once && kept != found {
            let what = format!(
                "the state is damaged: the checkpoint says {} entries with the sum {:016x}, and there are {} with \
                 {:016x}; bring back an undamaged copy, or start anew under another `group`",
                kept.entries, kept.sum, found.entries, found.sum
            );
            return Err(checkpoint::Refusal { partition: self.partition, what }.into());
        }
        Ok(())
    }

    /// Gives a part of the kept state to the plugins that it belongs to.
    fn take_back(&mut self, versions: &[&str], entries: &Entries) -> anyhow::Result<()> {
        self.tally.apply_all(entries);
        for ((number, stage), version) in with_state(&mut self.chain).zip(versions) {
            let mut own = Entries::default();
            for (key, value) in entries.iter() {
                if let Some((&first, key)) = key.split_first()
                    && first == number
                {
                    own.keys.push(Some(key));
                    own.values.push(value);
                }
            }
            if !own.is_empty() {
                stage.instance.restore(version, &own)?;
            }
        }
        Ok(())
    }

    /// How many entries of state there are.
    pub fn entries(&self) -> u64 {
        self.tally.sum().entries
    }

    /// Since when something was processed that has not taken effect.
    pub fn open(&self) -> Option<Instant> {
        self.open
    }

    /// Puts what was fetched through the plugins and writes what comes out.
    pub fn process(&mut self, fetch: Fetch, sink: &mut dyn Sink, rejects: &mut Rejects) -> anyhow::Result<()> {
        let Fetch { partition, batch, offsets, rejected, next } = fetch;
        let now = Instant::now();
        self.heard = now;
        self.silence = Silence::new(now);
        self.open.get_or_insert(now);
        self.next = Some(next);
        self.time = self.time.max(batch.timestamps.iter().copied().max());
        rejects.counters.add("messages in", batch.len() as u64);
        rejects.input(partition, &rejected)?;
        let first = offsets.first().copied().unwrap_or(next);
        self.put_through(0, batch, offsets, first, sink, rejects)
    }

    /// Puts a batch through the plugins from the `from`-th on. `offsets` has, for each message, the offset of the one
    /// that it came from.
    fn put_through(
        &mut self,
        from: usize,
        mut batch: Batch,
        mut offsets: Vec<i64>,
        first: i64,
        sink: &mut dyn Sink,
        rejects: &mut Rejects,
    ) -> anyhow::Result<()> {
        for stage in &mut self.chain[from..] {
            if batch.is_empty() {
                return Ok(());
            }
            let output = stage.instance.process(&batch)?;
            rejects.by_plugin(&output.rejected, &stage.plugin, &batch, &offsets, self.partition)?;
            offsets = output.origins.iter().map(|&origin| offsets[origin as usize]).collect();
            batch = output.messages;
        }
        if !batch.is_empty() {
            sink.write(self.partition, &batch, first)?;
            rejects.counters.add("messages out", batch.len() as u64);
        }
        Ok(())
    }

    /// Moves event time on to `watermark` without a message, so that what waits for it comes out.
    pub fn advance(&mut self, watermark: i64, sink: &mut dyn Sink, rejects: &mut Rejects) -> anyhow::Result<()> {
        // Without a message there was no event time.
        let Some(next) = self.next else { return Ok(()) };
        self.open.get_or_insert_with(Instant::now);
        for number in 0..self.chain.len() {
            let batch = self.chain[number].instance.advance(watermark)?;
            let offsets = vec![next; batch.len()];
            self.put_through(number + 1, batch, offsets, next, sink, rejects)?;
        }
        Ok(())
    }

    /// Where event time stands by the clock in a partition that was silent for `idle`; each `idle` anew. To be asked
    /// after each poll, of which a partition with messages gets its own within as many as `turns`.
    pub fn passed(&mut self, now: Instant, idle: Duration, turns: usize) -> Option<i64> {
        let lasts = self.silence.lasts(now, idle, turns);
        let time = self.time?;
        if !lasts || !self.chain.iter().any(|stage| stage.instance.has_timer()) {
            return None;
        }
        let passed = i64::try_from(now.duration_since(self.heard).as_millis()).unwrap_or(i64::MAX);
        // No clock has gone on to what one message with a wrong time says.
        Some(time.saturating_add(passed).min(jiff::Timestamp::now().as_millisecond()))
    }

    /// The checkpoint of all that was processed; `None` where there is nothing new.
    pub fn part(&mut self, identity: &Identity) -> anyhow::Result<Option<Part>> {
        let (Some(_), Some(next)) = (self.open, self.next) else { return Ok(None) };
        let mut changes = Entries::default();
        for (number, stage) in with_state(&mut self.chain) {
            while let Some(entries) = stage.instance.changes()? {
                entries.iter().for_each(|(key, value)| checkpoint::push(&mut changes, number, key, value));
            }
        }
        self.tally.apply_all(&changes);
        let checkpoint = identity.checkpoint(self.partition, next, self.time, self.tally.sum());
        Ok(Some(Part { checkpoint, changes }))
    }

    /// All that was processed has taken effect.
    pub fn committed(&mut self) {
        self.open = None;
    }
}

/// The plugins that keep state, with the numbers by which it is kept: those without may come and go.
fn with_state(chain: &mut [Stage]) -> impl Iterator<Item = (u8, &mut Stage)> {
    (0..).zip(chain.iter_mut().filter(|stage| stage.instance.has_state()))
}

/// How long nothing came from a partition while it was listened to. A host that stands still, or is busy with other
/// partitions, does not hear what waits for it: that is no silence, and to move event time on would make it late.
#[derive(Debug)]
struct Silence {
    /// When it was asked for last.
    looked: Instant,
    /// How many polls there were.
    polls: usize,
    lasted: Duration,
}

impl Silence {
    fn new(now: Instant) -> Self {
        Self { looked: now, polls: 0, lasted: Duration::ZERO }
    }

    /// Whether it has lasted for `idle`, of which no time between two polls is more than half.
    fn lasts(&mut self, now: Instant, idle: Duration, turns: usize) -> bool {
        let since = now.duration_since(self.looked).min(idle / 2);
        self.looked = now;
        self.polls = self.polls.saturating_add(1);
        if self.polls > turns {
            self.lasted += since;
        }
        let lasts = self.lasted >= idle;
        if lasts {
            self.lasted = Duration::ZERO;
        }
        lasts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After each of these milliseconds, whether the silence has lasted for a second.
    fn lasts(turns: usize, polls: &[u64]) -> Vec<bool> {
        let start = Instant::now();
        let mut silence = Silence::new(start);
        let lasts = |&at: &u64| silence.lasts(start + Duration::from_millis(at), Duration::from_secs(1), turns);
        polls.iter().map(lasts).collect()
    }

    #[test]
    fn a_silence_lasts_by_the_clock_and_each_time_anew() {
        let polls: Vec<u64> = (1..=60).map(|poll| poll * 50).collect();
        let found = lasts(0, &polls);
        let when: Vec<u64> = polls.iter().zip(&found).filter(|(_, lasts)| **lasts).map(|(at, _)| *at).collect();
        assert_eq!(when, [1000, 2000, 3000]);
    }

    #[test]
    fn a_host_that_stands_still_is_no_silence() {
        assert_eq!(lasts(0, &[50, 30_000, 30_050, 30_500, 30_600]), [false, false, false, true, false]);
    }

    #[test]
    fn a_partition_that_waits_for_its_turn_is_not_silent() {
        assert_eq!(lasts(4, &[500, 1000, 1500, 2000]), [false; 4]);
        assert_eq!(lasts(4, &[500, 1000, 1500, 2000, 2500, 3000]), [false, false, false, false, false, true]);
    }
}
