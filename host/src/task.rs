//! THE loop: poll, process, write, commit.
//!
//! A task is one partition of one pipeline: its plugin instances and its sink. Here, and nowhere else, is decided in
//! which order things take effect: output first, then dead letters, then the offset (Invariant 1).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::dead_letter::{DeadLetters, Letter, Text};
use crate::message::{Batch, Fetch, Rejected};
use crate::metrics::Counters;
use crate::plugin::{Instance, Plugin};
use crate::sink::Sink;
use crate::source::{Poll, Source};

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

/// One plugin of a task's chain.
pub struct Stage {
    pub plugin: Plugin,
    pub instance: Instance,
}

/// One partition: plugins and a sink of its own.
pub struct Task {
    pub partition: i32,
    pub chain: Vec<Stage>,
    pub sink: Box<dyn Sink>,
    /// Where to go on reading, once what was written is committed.
    next: Option<i64>,
}

/// What all tasks of a pipeline share.
pub struct Shared<'a> {
    pub pipeline: &'a str,
    pub counters: &'a Counters,
    pub dead_letters: DeadLetters,
}

/// Reads `source` and runs a task for each of its partitions, until it ends or is told to.
/// On an error, what is not committed is dropped, to be read again.
pub fn run(
    source: &mut dyn Source,
    mut open: impl FnMut(i32) -> anyhow::Result<Task>,
    shared: &mut Shared<'_>,
    order: impl Fn() -> Order,
) -> anyhow::Result<()> {
    let mut tasks = BTreeMap::new();
    let mut draining = false;
    loop {
        match order() {
            Order::Go => {}
            Order::Drain if draining => {}
            Order::Drain => {
                source.drain()?;
                draining = true;
            }
            Order::Stop => break,
        }
        match source.poll(WAIT)? {
            Poll::Messages(fetch) => {
                let task = match tasks.entry(fetch.partition) {
                    std::collections::btree_map::Entry::Occupied(task) => task.into_mut(),
                    std::collections::btree_map::Entry::Vacant(place) => place.insert(open(fetch.partition)?),
                };
                task.process(fetch, shared)?;
            }
            Poll::Idle => {}
            Poll::Revoked(partitions) => tasks.retain(|partition, _| !partitions.contains(partition)),
            Poll::End => break,
        }
        let now = Instant::now();
        for task in tasks.values_mut().filter(|task| task.sink.due(now)) {
            task.commit(source, shared)?;
        }
    }
    tasks.values_mut().try_for_each(|task| task.commit(source, shared))
}

impl Task {
    pub fn new(partition: i32, chain: Vec<Stage>, sink: Box<dyn Sink>) -> Self {
        Self { partition, chain, sink, next: None }
    }

    /// Puts what was fetched through the plugins and writes what comes out.
    fn process(&mut self, fetch: Fetch, shared: &mut Shared<'_>) -> anyhow::Result<()> {
        let Fetch { partition, mut batch, mut offsets, rejected, next } = fetch;
        shared.counters.add("messages in", batch.len() as u64);
        shared.reject_input(partition, &rejected)?;
        // Of each message in `batch`, the offset of the message that it came from.
        let first = offsets.first().copied();
        for stage in &mut self.chain {
            if batch.is_empty() {
                break;
            }
            let output = stage.instance.process(&batch)?;
            if !output.rejected.is_empty() {
                reject(&output.rejected, &stage.plugin, &batch, &offsets, partition, shared)?;
            }
            offsets = output.origins.iter().map(|&origin| offsets[origin as usize]).collect();
            batch = output.messages;
        }
        if let Some(first) = first
            && !batch.is_empty()
        {
            self.sink.write(&batch, first)?;
            shared.counters.add("messages out", batch.len() as u64);
        }
        self.next = Some(next);
        Ok(())
    }

    /// Makes everything that was processed take effect, and then says so to the source (Invariant 1).
    fn commit(&mut self, source: &mut dyn Source, shared: &mut Shared<'_>) -> anyhow::Result<()> {
        let Some(next) = self.next else { return Ok(()) };
        self.sink.commit()?;
        shared.dead_letters.flush()?;
        source.commit(self.partition, next)?;
        self.next = None;
        Ok(())
    }
}

/// Sends the messages that a plugin rejected to the dead letters, each as the plugin saw it.
fn reject(
    rejected: &[crate::plugin::Rejection],
    plugin: &Plugin,
    batch: &Batch,
    offsets: &[i64],
    partition: i32,
    shared: &mut Shared<'_>,
) -> anyhow::Result<()> {
    let reasons: BTreeMap<u32, &str> =
        rejected.iter().map(|rejection| (rejection.message, rejection.reason.as_str())).collect();
    for (index, (key, value)) in (0_u32..).zip(batch.keys.iter().zip(&batch.values)) {
        let Some(reason) = reasons.get(&index) else { continue };
        let headers = batch.headers.iter().filter(|header| header.message == index);
        shared.reject(&Letter {
            pipeline: shared.pipeline,
            by: &plugin.description.name,
            version: Some(&plugin.description.version),
            hash: Some(&plugin.hash),
            cause: "rejected",
            reason,
            partition,
            offset: offsets[index as usize],
            timestamp: Some(batch.timestamps[index as usize]),
            key: key.map(Text),
            value: value.map(Text),
            headers: headers.map(|header| (header.name.as_str(), Text(&header.value))).collect(),
        })?;
    }
    Ok(())
}

impl Shared<'_> {
    /// Sends what a source could not make a message of to the dead letters.
    pub fn reject_input(&mut self, partition: i32, rejected: &[Rejected]) -> anyhow::Result<()> {
        self.counters.add("messages in", rejected.len() as u64);
        rejected.iter().try_for_each(|rejected| {
            self.reject(&Letter {
                pipeline: self.pipeline,
                by: "source",
                version: None,
                hash: None,
                cause: rejected.cause,
                reason: &rejected.reason,
                partition,
                offset: rejected.offset,
                timestamp: None,
                key: rejected.key.as_deref().map(Text),
                value: Some(Text(&rejected.value)),
                headers: Vec::new(),
            })
        })
    }

    fn reject(&mut self, letter: &Letter<'_>) -> anyhow::Result<()> {
        let cause = if letter.by == "source" { letter.cause } else { letter.by };
        self.counters.add(&format!("rejected by {cause}"), 1);
        tracing::debug!("partition {} offset {}: {}: {}", letter.partition, letter.offset, letter.by, letter.reason);
        self.dead_letters.put(letter)
    }
}
