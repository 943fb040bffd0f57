//! One partition of one pipeline: its plugins, what their state sums up to, and how far it has come.
//!
//! A task processes and hands over what changed; when that takes effect is for its worker to decide.

use std::time::{Duration, Instant};

use crate::chain::{Chain, Failed, Outlet, Stage};
use crate::checkpoint::{Checkpoint, Identity, Part, Tally};
use crate::message::{Batch, Fetch};
use crate::plugin::Rejection;
use crate::rejects::Rejects;
use crate::sink::{Kept, Sink};
use crate::version::Version;

/// The event time of the end: everything that waits for a time is due.
pub const END: i64 = i64::MAX;

/// One partition. Dropped, it leaves nothing; another one is built from its last checkpoint.
pub struct Task {
    /// What its checkpoints say of it, with the plugins that are at work.
    identity: Identity,
    partition: i32,
    chain: Chain,
    tally: Tally,
    /// The highest event time that was seen.
    time: Option<i64>,
    /// When the last message came, or the task began.
    heard: Instant,
    silence: Silence,
    /// Where it began to read, if that is known.
    began: Option<i64>,
    /// Where to go on reading, once all that was processed has its effect; `None` before the first message ever.
    next: Option<i64>,
    /// Since when there is something that has not.
    open: Option<Instant>,
    /// The checkpoint that it goes on from.
    last: Option<Checkpoint>,
}

/// Where the output of a task goes.
pub struct Effect<'a> {
    pub partition: i32,
    pub sink: &'a mut dyn Sink,
    pub rejects: &'a mut Rejects,
}

impl Outlet for Effect<'_> {
    fn rejected(
        &mut self,
        version: &Version,
        rejected: &[Rejection],
        batch: &Batch,
        offsets: &[i64],
    ) -> anyhow::Result<()> {
        self.rejects.by_plugin(rejected, version, batch, offsets, self.partition)
    }

    fn output(&mut self, batch: &Batch, offsets: &[i64], first: i64) -> anyhow::Result<()> {
        let refused = self.sink.write(self.partition, batch, first)?;
        self.rejects.counters.add("messages out", (batch.len() - refused.len()) as u64);
        self.rejects.by_sink(&refused, batch, offsets, self.partition)
    }
}

impl Task {
    /// A task that goes on at `next`, from checkpoint `last` with what was `kept` for it.
    pub fn new(
        partition: i32,
        versions: &[Version],
        identity: Identity,
        next: Option<i64>,
        last: Option<(Checkpoint, Kept)>,
    ) -> anyhow::Result<Self> {
        let now = Instant::now();
        let mut chain = Chain::open(versions, partition)?;
        let (last, tally) = match last {
            Some((last, kept)) => {
                let tally = chain.restore(&last, kept)?;
                (Some(last), tally)
            }
            None => (None, Tally::default()),
        };
        let time = last.as_ref().and_then(|last| last.time);
        let silence = Silence::new(now);
        let began = next;
        Ok(Self { identity, partition, chain, tally, time, heard: now, silence, began, next, open: None, last })
    }

    /// The versions of the plugins that are at work.
    pub fn versions(&self) -> Vec<Version> {
        self.chain.stages.iter().map(|stage| stage.version.clone()).collect()
    }

    pub fn version(&self, slot: usize) -> &Version {
        &self.chain.stages[slot].version
    }

    /// Ends what other versions see.
    pub fn leave_beside(&mut self) {
        self.chain.stages.iter_mut().for_each(|stage| stage.beside = None);
    }

    pub fn stage(&mut self, slot: usize) -> &mut Stage {
        &mut self.chain.stages[slot]
    }

    /// Puts another version of a plugin to work, with the state of the one before it, which is given back. Only between
    /// two checkpoints (Invariant 7).
    pub fn change(&mut self, slot: usize, stage: Stage) -> Stage {
        debug_assert!(self.open.is_none(), "a version changes between two checkpoints");
        self.identity.plugins[slot] = stage.version.mark();
        std::mem::replace(&mut self.chain.stages[slot], stage)
    }

    /// The checkpoint that it goes on from; `None` before the first one.
    pub fn last(&self) -> Option<&Checkpoint> {
        self.last.as_ref()
    }

    /// Where it began to read, if that is known.
    pub fn began(&self) -> Option<i64> {
        self.began
    }

    /// How many entries of state there are.
    pub fn entries(&self) -> u64 {
        self.tally.sum().entries
    }

    /// Since when something was processed that has not taken effect.
    pub fn open(&self) -> Option<Instant> {
        self.open
    }

    /// Says that there is to be a checkpoint though nothing was processed.
    pub fn touch(&mut self) {
        if self.next.is_some() {
            self.open.get_or_insert_with(Instant::now);
        }
    }

    /// Asks a plugin about its state, which has all that was processed; the inner error is what it refuses.
    pub fn ask(&mut self, slot: usize, question: &str) -> Result<Result<String, String>, Failed> {
        let stage = &mut self.chain.stages[slot];
        stage.instance.ask(question).map_err(|error| Failed { stage: slot, error })
    }

    /// Puts what was fetched through the plugins and writes what comes out.
    pub fn process(&mut self, fetch: Fetch, sink: &mut dyn Sink, rejects: &mut Rejects) -> anyhow::Result<()> {
        let Fetch { partition, batch, offsets, rejected, next } = fetch;
        self.pass(next);
        self.time = self.time.max(batch.timestamps.iter().copied().max());
        rejects.counters.add("messages in", batch.len() as u64);
        rejects.input(partition, &rejected)?;
        let first = offsets.first().copied().unwrap_or(next);
        self.chain.put_through(0, batch, offsets, first, &mut Effect { partition, sink, rejects })
    }

    /// Goes on to `next`, whatever became of what is before. Event time does not: no plugin has seen it.
    pub fn pass(&mut self, next: i64) {
        let now = Instant::now();
        self.heard = now;
        self.silence = Silence::new(now);
        self.open.get_or_insert(now);
        self.next = Some(next);
    }

    /// Moves event time on to `watermark` without a message, so that what waits for it comes out.
    pub fn advance(&mut self, watermark: i64, sink: &mut dyn Sink, rejects: &mut Rejects) -> anyhow::Result<()> {
        // Without a message there was no event time.
        let Some(next) = self.next else { return Ok(()) };
        self.open.get_or_insert_with(Instant::now);
        self.chain.advance(watermark, next, &mut Effect { partition: self.partition, sink, rejects })
    }

    /// Where event time stands by the clock in a partition that was silent for `idle`; each `idle` anew. To be asked
    /// after each poll, of which a partition with messages gets its own within as many as `turns`.
    pub fn passed(&mut self, now: Instant, idle: Duration, turns: usize) -> Option<i64> {
        let lasts = self.silence.lasts(now, idle, turns);
        let time = self.time?;
        if !lasts || !self.chain.has_timer() {
            return None;
        }
        let passed = i64::try_from(now.duration_since(self.heard).as_millis()).unwrap_or(i64::MAX);
        // No clock has gone on to what one message with a wrong time says.
        Some(time.saturating_add(passed).min(jiff::Timestamp::now().as_millisecond()))
    }

    /// The checkpoint of all that was processed; `None` where there is nothing new.
    pub fn part(&mut self) -> anyhow::Result<Option<Part>> {
        let (Some(_), Some(next)) = (self.open, self.next) else { return Ok(None) };
        let changes = self.chain.changes()?;
        self.tally.apply_all(&changes);
        let checkpoint = self.identity.checkpoint(self.partition, next, self.time, self.tally.sum());
        Ok(Some(Part { checkpoint, changes }))
    }

    /// All that was processed has taken effect, with this checkpoint.
    pub fn committed(&mut self, checkpoint: Checkpoint) {
        self.open = None;
        self.last = Some(checkpoint);
    }
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
