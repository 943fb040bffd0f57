//! THE loop: poll, process, write, commit.
//!
//! A worker is a thread with a source and a sink, and a task for each partition that is its own. Here, and nowhere
//! else, is decided in which order things take effect: output, state, dead letters and position in one step of the
//! sink where it can, else the position last (Invariant 1).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::checkpoint::{Identity, Position};
use crate::log::LogError;
use crate::rejects::Rejects;
use crate::sink::{Positions, Sink, SinkError, Step};
use crate::source::{Assigned, Poll, Source, SourceError};
use crate::task::{END, Stage, Task};

/// How long one poll waits, and so how soon a request to stop is seen.
const WAIT: Duration = Duration::from_millis(50);

/// What a loop is told from outside.
pub enum Order {
    Go,
    /// Hand out what is there, then end.
    Drain,
    /// End with what is in hand.
    Stop,
}

/// One thread's share of a pipeline.
pub struct Worker<'a> {
    pub source: Box<dyn Source>,
    pub sink: Box<dyn Sink>,
    pub rejects: Rejects,
    pub identity: Identity,
    /// Opens the plugins for one more partition.
    pub open: &'a dyn Fn() -> anyhow::Result<Vec<Stage>>,
    /// After this long without a message, event time in a partition goes on by the clock.
    pub idle: Duration,
    /// Whether at the end of the source event time ends, too, so that every window closes.
    pub close: bool,
}

/// Runs a worker until its source ends or it is told to. On an error, what is not committed is dropped, to be read
/// again.
pub fn run(worker: Worker<'_>, order: impl Fn() -> Order) -> anyhow::Result<()> {
    Loop { worker, tasks: BTreeMap::new(), draining: false }.run(order)
}

struct Loop<'a> {
    worker: Worker<'a>,
    tasks: BTreeMap<i32, Task>,
    draining: bool,
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
            let found = self.worker.source.poll(self.wait())?;
            // Where nothing came, nothing waits in any partition; else each has its turn.
            let turns = if matches!(found, Poll::Idle) { 0 } else { self.tasks.len() };
            match found {
                Poll::Messages(fetch) => {
                    let Worker { sink, rejects, .. } = &mut self.worker;
                    match self.tasks.get_mut(&fetch.partition) {
                        Some(task) => task.process(fetch, sink.as_mut(), rejects)?,
                        None => anyhow::bail!("a message of partition {}, which is not ours", fetch.partition),
                    }
                }
                Poll::Idle => {}
                Poll::Assigned(assigned) => {
                    // To restore state takes a while, for which nothing is to stay open.
                    self.commit()?;
                    assigned.iter().try_for_each(|assigned| self.take(assigned))?;
                }
                Poll::Revoked(partitions) => self.give(&partitions)?,
                // What else was processed shares a commit with what was lost.
                Poll::Lost(partitions) => return Err(lost(&partitions).into()),
                Poll::End if self.worker.close => {
                    self.advance(|_| Some(END))?;
                    break;
                }
                Poll::End => break,
            }
            let (now, idle) = (Instant::now(), self.worker.idle);
            self.advance(|task| task.passed(now, idle, turns))?;
            if self.due().is_some_and(|due| due <= now) {
                self.commit()?;
            }
        }
        self.commit()
    }

    /// Builds the task of a partition that is ours now, from its last checkpoint.
    fn take(&mut self, assigned: &Assigned) -> anyhow::Result<()> {
        let Worker { source, sink, identity, open, .. } = &mut self.worker;
        let (start, partition) = (Instant::now(), assigned.partition);
        let last = sink.open(partition)?;
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
        let task = Task::new(partition, open()?, known, last.as_ref(), sink.as_mut())?;
        if let Some(last) = last {
            let (pipeline, entries) = (&identity.pipeline, task.entries());
            let took = start.elapsed();
            tracing::info!(
                "{pipeline}: partition {partition} goes on at offset {}, {entries} entries of state restored in {took:.1?}",
                last.next
            );
        }
        self.tasks.insert(partition, task);
        Ok(source.start(partition, next)?)
    }

    /// Commits what these partitions have, and gives them up.
    fn give(&mut self, partitions: &[i32]) -> anyhow::Result<()> {
        self.commit()?;
        for partition in partitions {
            if self.tasks.remove(partition).is_some() {
                self.worker.sink.close(*partition)?;
            }
        }
        Ok(self.worker.source.release(partitions)?)
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
        let since = self.tasks.values().filter_map(Task::open).min()?;
        let full = self.worker.rejects.dead_letters.full();
        Some(if full { since } else { self.worker.sink.due(since) })
    }

    fn wait(&self) -> Duration {
        let due = self.due().map(|due| due.saturating_duration_since(Instant::now()));
        due.map_or(WAIT, |due| due.min(WAIT))
    }

    /// Makes everything that was processed take effect (Invariant 1).
    fn commit(&mut self) -> anyhow::Result<()> {
        let Worker { source, sink, rejects, identity, .. } = &mut self.worker;
        let mut parts = Vec::new();
        for task in self.tasks.values_mut() {
            parts.extend(task.part(identity)?);
        }
        if parts.is_empty() {
            return Ok(());
        }
        // Where they cannot be in the same step, they are durable before it.
        let letters = rejects.dead_letters.take()?;
        let positions = sink.commit(Step { parts: &parts, letters: &letters, source: source.as_ref() })?;
        if positions == Positions::Open {
            for part in &parts {
                let position = Position { next: part.checkpoint.next, place: identity.place.clone() };
                source.commit(part.checkpoint.partition, &position)?;
            }
        }
        self.tasks.values_mut().for_each(Task::committed);
        rejects.counters.commit();
        Ok(())
    }
}

fn lost(partitions: &[i32]) -> LogError {
    LogError::Interrupted {
        log: "the group".to_owned(),
        error: format!("partitions {partitions:?} went to another worker before they could be committed"),
    }
}

/// Whether another host has taken over a partition at the sink.
pub fn is_fenced(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(SinkError::Fenced { .. })))
}

/// Whether what failed can be done again from the last checkpoint, by a new worker.
pub fn is_interrupted(error: &anyhow::Error) -> bool {
    matches!(log_error(error), Some(LogError::Interrupted { .. }))
}

/// Whether a topic is not there; for a moment a broker says so of any topic when it comes back.
pub fn is_missing(error: &anyhow::Error) -> bool {
    matches!(log_error(error), Some(LogError::NoTopic { .. }))
}

fn log_error(error: &anyhow::Error) -> Option<&LogError> {
    error.chain().find_map(|cause| match (cause.downcast_ref(), cause.downcast_ref()) {
        (Some(SinkError::Log(error)), _) | (_, Some(SourceError::Log(error))) => Some(error),
        _ => cause.downcast_ref(),
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn what_can_be_done_again_is_known_wherever_it_comes_from() {
        let interrupted = || LogError::Interrupted { log: "kafka://b".into(), error: "fenced".into() };
        let missing = || LogError::NoTopic { topic: "t".into(), log: "kafka://b".into() };
        let everywhere = |error: &dyn Fn() -> LogError| -> [anyhow::Error; 3] {
            [error().into(), SinkError::Log(error()).into(), SourceError::Log(error()).into()]
        };
        for error in everywhere(&interrupted) {
            let error = Err::<(), _>(error).context("the sink").unwrap_err();
            assert!(is_interrupted(&error) && !is_missing(&error), "{error:#}");
        }
        for error in everywhere(&missing) {
            assert!(is_missing(&error) && !is_interrupted(&error), "{error:#}");
        }
        let fenced = SinkError::Fenced { place: "csv:out".into(), what: "taken over".into() }.into();
        assert!(is_fenced(&fenced) && !is_interrupted(&fenced) && !is_fenced(&anyhow::anyhow!("other")));
    }
}
