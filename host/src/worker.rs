//! THE loop: poll, process, write, commit.
//!
//! A worker is a thread with a source and a sink, and a task for each partition that is its own. Here, and nowhere
//! else, is decided in which order things take effect: output, state, dead letters and position in one step of the
//! sink where it can, else the position last (Invariant 1). What a failing plugin or a new version on trial leads to is
//! decided in `worker/poison.rs` and `worker/change.rs`: both go back to the last checkpoint, as a crash does.

mod answer;
mod change;
mod poison;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use self::change::Change;
use self::poison::Suspects;
use crate::checkpoint::{Identity, Position};
use crate::control::handle::Handle;
use crate::failures::Failures;
use crate::log::LogError;
use crate::message::Fetch;
use crate::rejects::Rejects;
use crate::sink::{Positions, Sink, Step};
use crate::source::{Assigned, Poll, Source};
use crate::stop::Order;
use crate::task::{END, Task};
use crate::version::Version;

/// How long one poll waits, and so how soon a request to stop is seen.
const WAIT: Duration = Duration::from_millis(50);

/// One thread's share of a pipeline.
pub struct Worker<'a> {
    /// Which one it is among those of its pipeline in this process.
    pub number: usize,
    /// What it shares with the others, and with those who ask.
    pub handle: &'a Handle,
    pub source: Box<dyn Source>,
    pub sink: Box<dyn Sink>,
    pub rejects: Rejects,
    /// What a checkpoint says of the pipeline; of its plugins each task knows.
    pub identity: Identity,
    pub failures: &'a mut Failures,
    /// After this long without a message, event time in a partition goes on by the clock.
    pub idle: Duration,
    /// Whether at the end of the source event time ends, too, so that every window closes.
    pub close: bool,
}

/// Runs a worker until its source ends or it is told to. On an error, what is not committed is dropped, to be read
/// again.
pub fn run(worker: Worker<'_>, order: impl Fn() -> Order) -> anyhow::Result<()> {
    let (tasks, change, unfit, suspects) = (BTreeMap::new(), Change::None, BTreeSet::new(), Suspects::default());
    Loop { worker, tasks, draining: false, held: false, change, seen: None, unfit, suspects, mute: false }.run(order)
}

struct Loop<'a> {
    worker: Worker<'a>,
    tasks: BTreeMap<i32, Task>,
    draining: bool,
    held: bool,
    /// The change of versions that this worker is at.
    change: Change,
    /// Which changes of versions it has looked at; `None` where it is to look again.
    seen: Option<u64>,
    /// Of each version that was swapped in elsewhere and could not be put to work here, its place and when that was.
    unfit: BTreeSet<(usize, i64)>,
    suspects: Suspects,
    /// Whether a plugin failed on a question since the last commit.
    mute: bool,
}

impl Loop<'_> {
    fn run(mut self, order: impl Fn() -> Order) -> anyhow::Result<()> {
        loop {
            match order() {
                Order::Go => {}
                Order::Drain if self.draining => {}
                Order::Drain => {
                    self.worker.source.drain()?;
                    self.draining = true;
                }
                Order::Stop => break,
            }
            match self.turn() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => self.recover(error)?,
            }
        }
        self.settle()
    }

    /// One poll and what follows from it. Says whether there is more to come.
    fn turn(&mut self) -> anyhow::Result<bool> {
        self.hold()?;
        self.look_for_changes()?;
        self.answer_questions()?;
        let found = self.worker.source.poll(self.wait())?;
        // Where nothing came, nothing waits in any partition; else each has its turn.
        let turns = if matches!(found, Poll::Idle) { 0 } else { self.tasks.len() };
        match found {
            Poll::Messages(fetch) => self.process(fetch)?,
            Poll::Idle => {}
            Poll::Assigned(assigned) => {
                // To restore state takes a while, for which nothing is to stay open.
                self.settle()?;
                assigned.iter().try_for_each(|assigned| self.take(assigned))?;
                self.tasks_changed();
            }
            Poll::Revoked(partitions) => self.give(&partitions)?,
            // What else was processed shares a commit with what was lost.
            Poll::Lost(partitions) => return Err(lost(&partitions).into()),
            Poll::End => {
                if self.worker.close {
                    self.advance(|_| Some(END))?;
                }
                // Where a version on trial was taken back, its messages come again.
                return Ok(!self.commit()?);
            }
        }
        if !self.held {
            let (now, idle) = (Instant::now(), self.worker.idle);
            self.advance(|task| task.passed(now, idle, turns))?;
        }
        if self.due().is_some_and(|due| due <= Instant::now()) {
            self.commit()?;
        }
        Ok(true)
    }

    /// While the pipeline is paused, what was processed is committed, and nothing more is.
    fn hold(&mut self) -> anyhow::Result<()> {
        let held = self.worker.handle.is_paused();
        if held != self.held {
            self.worker.source.hold(held);
            self.held = held;
            self.settle()?;
        }
        Ok(())
    }

    /// Builds the task of a partition that is ours now, from its last checkpoint.
    fn take(&mut self, assigned: &Assigned) -> anyhow::Result<()> {
        let Worker { source, sink, identity, handle, number, .. } = &mut self.worker;
        let (start, partition) = (Instant::now(), assigned.partition);
        let last = sink.open(partition)?;
        let versions = handle.versions.of(last.as_ref())?;
        let identity = identity.with(versions.iter().map(Version::mark).collect());
        let next = identity.resume(partition, last.as_ref(), assigned.position.as_ref())?;
        if let (None, Some(position)) = (next, &assigned.position)
            && identity.plugins.iter().any(|mark| mark.has_state)
        {
            tracing::warn!(
                "{}: partition {partition} has no checkpoint in {}; going on without state at offset {}, which the group \
                 has reached otherwise",
                identity.pipeline,
                identity.place,
                position.next
            );
        }
        let known = next.or(assigned.position.as_ref().map(|position| position.next));
        let went_on = last.as_ref().map(|last| last.next);
        let last = match last {
            Some(last) => Some((last.clone(), sink.kept(&last)?)),
            None => None,
        };
        let task = Task::new(partition, &versions, identity, known, last)?;
        if let Some(next) = went_on {
            let (pipeline, entries) = (&handle.pipeline.name, task.entries());
            let took = start.elapsed();
            tracing::info!(
                "{pipeline}: partition {partition} goes on at offset {next}, {entries} entries of state restored in {took:.1?}"
            );
        }
        handle.tell(*number, partition, &task);
        self.tasks.insert(partition, task);
        Ok(source.start(partition, next)?)
    }

    /// Commits what these partitions have, and gives them up.
    fn give(&mut self, partitions: &[i32]) -> anyhow::Result<()> {
        self.settle()?;
        for partition in partitions {
            if self.tasks.remove(partition).is_some() {
                self.worker.sink.close(*partition)?;
            }
            self.suspects.forget(*partition);
        }
        self.worker.handle.forget(self.worker.number, Some(partitions));
        self.tasks_changed();
        Ok(self.worker.source.release(partitions)?)
    }

    /// Undoes what is not committed: every task is built anew from its last checkpoint, and reads on from there.
    fn go_back(&mut self) -> anyhow::Result<()> {
        let Worker { source, sink, rejects, identity, handle, number, .. } = &mut self.worker;
        sink.abort()?;
        rejects.undo();
        for (&partition, task) in &mut self.tasks {
            let last = task.last().cloned();
            let versions = handle.versions.of(last.as_ref())?;
            let next = last.as_ref().map(|last| last.next).or(task.began());
            let last = match last {
                Some(last) => Some((last.clone(), sink.kept(&last)?)),
                None => None,
            };
            *task = Task::new(
                partition,
                &versions,
                identity.with(versions.iter().map(Version::mark).collect()),
                next,
                last,
            )?;
            handle.tell(*number, partition, task);
            source.start(partition, next)?;
        }
        Ok(())
    }

    /// Puts a batch through its task.
    fn process(&mut self, fetch: Fetch) -> anyhow::Result<()> {
        if self.suspects.has(&fetch) {
            return self.take_apart(fetch);
        }
        let messages = fetch.batch.len();
        self.put_through(fetch)?;
        self.change.saw(messages);
        Ok(())
    }

    fn put_through(&mut self, fetch: Fetch) -> anyhow::Result<()> {
        let Worker { sink, rejects, .. } = &mut self.worker;
        let Some(task) = self.tasks.get_mut(&fetch.partition) else {
            anyhow::bail!("a message of partition {}, which is not ours", fetch.partition);
        };
        self.suspects.begin(&fetch);
        task.process(fetch, sink.as_mut(), rejects)?;
        self.suspects.end();
        Ok(())
    }

    /// Moves event time on in every task for which `watermark` says so.
    fn advance(&mut self, mut watermark: impl FnMut(&mut Task) -> Option<i64>) -> anyhow::Result<()> {
        let Worker { sink, rejects, .. } = &mut self.worker;
        for task in self.tasks.values_mut() {
            if let Some(watermark) = watermark(task) {
                task.advance(watermark, sink.as_mut(), rejects)?;
            }
        }
        Ok(())
    }

    /// When the next commit is due; `None` while there is nothing to commit.
    fn due(&self) -> Option<Instant> {
        let since = self.tasks.values().filter_map(Task::open).min();
        let full = self.worker.rejects.dead_letters.full() || self.worker.sink.full();
        match (since, self.change.due()) {
            (_, Some(due)) => Some(since.filter(|_| full).unwrap_or(due)),
            (Some(since), None) if full => Some(since),
            (since, None) => since.map(|since| self.worker.sink.due(since)),
        }
    }

    fn wait(&self) -> Duration {
        let due = self.due().map(|due| due.saturating_duration_since(Instant::now()));
        due.map_or(WAIT, |due| due.min(WAIT))
    }

    /// Leaves nothing open: what was processed has taken effect, or is undone, to be read again.
    fn settle(&mut self) -> anyhow::Result<()> {
        match self.commit() {
            Ok(_) => Ok(()),
            Err(error) => self.recover(error),
        }
    }

    /// Makes everything that was processed take effect (Invariant 1); or nothing of it, where a new version is on trial
    /// and has failed it. Says which.
    fn commit(&mut self) -> anyhow::Result<bool> {
        if let Some(reason) = self.change.failed(self.worker.rejects.refused).or_else(|| self.change.called_off()) {
            self.roll_back(reason)?;
            return Ok(false);
        }
        let ready = self.change.is_ready();
        let Worker { source, sink, rejects, identity, failures, .. } = &mut self.worker;
        let mut parts = Vec::new();
        for task in self.tasks.values_mut() {
            parts.extend(task.part()?);
        }
        if !parts.is_empty() {
            // Where they cannot be in the same step, they are durable before it.
            let letters = rejects.dead_letters.take()?;
            let positions = sink.commit(Step { parts: &parts, letters: &letters, source: source.as_ref() })?;
            if positions == Positions::Open {
                for part in &parts {
                    let position = Position { next: part.checkpoint.next, place: identity.place.clone() };
                    source.commit(part.checkpoint.partition, &position)?;
                }
            }
            failures.went_well(rejects.counters.pending("messages in"));
            rejects.counters.commit();
            rejects.refused = 0;
            self.mute = false;
        }
        self.committed(parts, ready)?;
        Ok(true)
    }
}

fn lost(partitions: &[i32]) -> LogError {
    LogError::Interrupted {
        log: "the group".to_owned(),
        error: format!("partitions {partitions:?} went to another worker before they could be committed"),
    }
}
