//! THE loop: poll, process, write, commit.
//!
//! A task is one partition of one pipeline: its plugin instances and its sink. Here, and nowhere else, is decided in
//! which order things take effect: output first, then dead letters, then the offset (Invariant 1).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use crate::dead_letter::{DeadLetters, HEADERS, Letter, Text};
use crate::message::{Batch, Fetch, Rejected};
use crate::metrics::Counters;
use crate::plugin::{Description, Instance, Plugin, Rejection};
use crate::sink::Sink;
use crate::source::{Poll, Source};

/// How long one poll waits, and so how soon a request to stop is seen.
const WAIT: Duration = Duration::from_millis(50);

/// How long after reading a commit waits where nothing was written: all was rejected or filtered.
const UNWRITTEN: Duration = Duration::from_secs(1);

/// What a loop is told from outside.
pub enum Order {
    Go,
    /// Hand out what is there, then end.
    Drain,
    /// End with what is in hand.
    Stop,
}

/// One plugin of a task's chain; the same version for as long as the task lives (Invariant 7).
pub struct Stage {
    pub plugin: Plugin,
    pub instance: Instance,
}

/// One partition: plugins, a sink and dead letters of its own.
pub struct Task {
    partition: i32,
    chain: Vec<Stage>,
    sink: Box<dyn Sink>,
    rejects: Rejects,
    /// What was processed since the last commit.
    open: Option<Open>,
}

/// Work that has not taken effect yet.
struct Open {
    since: Instant,
    /// Where to go on reading, once it has.
    next: i64,
    /// Whether anything of it was written to the sink, which then says when it is due.
    written: bool,
}

/// Where messages go that cannot be used, and who counts them.
pub struct Rejects {
    pub pipeline: String,
    pub counters: Counters,
    pub dead_letters: DeadLetters,
}

/// Reads `source` and runs a task for each of its partitions, until it ends or is told to.
/// On an error, what is not committed is dropped, to be read again.
pub fn run(
    source: &mut dyn Source,
    mut open: impl FnMut(i32) -> anyhow::Result<Task>,
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
                    Entry::Occupied(task) => task.into_mut(),
                    Entry::Vacant(place) => place.insert(open(fetch.partition)?),
                };
                task.process(fetch)?;
            }
            Poll::Idle => {}
            Poll::Revoked(partitions) => tasks.retain(|partition, _| !partitions.contains(partition)),
            Poll::End => break,
        }
        let now = Instant::now();
        for task in tasks.values_mut().filter(|task| task.due(now)) {
            task.commit(source)?;
        }
    }
    tasks.values_mut().try_for_each(|task| task.commit(source))
}

impl Task {
    pub fn new(partition: i32, chain: Vec<Stage>, sink: Box<dyn Sink>, rejects: Rejects) -> Self {
        Self { partition, chain, sink, rejects, open: None }
    }

    /// Puts what was fetched through the plugins and writes what comes out.
    fn process(&mut self, fetch: Fetch) -> anyhow::Result<()> {
        let Fetch { partition, mut batch, mut offsets, rejected, next } = fetch;
        let open = self.open.get_or_insert(Open { since: Instant::now(), next, written: false });
        open.next = next;
        self.rejects.counters.add("messages in", batch.len() as u64);
        self.rejects.input(partition, &rejected)?;
        let first = offsets.first().copied().unwrap_or(next);
        // `offsets` follows the batch: for each message, the offset of the one that it came from.
        for stage in &mut self.chain {
            if batch.is_empty() {
                break;
            }
            let output = stage.instance.process(&batch)?;
            self.rejects.by_plugin(&output.rejected, &stage.plugin, &batch, &offsets, partition)?;
            offsets = output.origins.iter().map(|&origin| offsets[origin as usize]).collect();
            batch = output.messages;
        }
        if !batch.is_empty() {
            self.sink.write(&batch, first)?;
            open.written = true;
            self.rejects.counters.add("messages out", batch.len() as u64);
        }
        Ok(())
    }

    /// Whether to commit now: when the sink says so, and soon where nothing was written at all.
    fn due(&self, now: Instant) -> bool {
        match &self.open {
            Some(Open { since, written: false, .. }) => now.duration_since(*since) >= UNWRITTEN,
            Some(_) => self.sink.due(now),
            None => false,
        }
    }

    /// Makes everything that was processed take effect, and then says so to the source (Invariant 1).
    fn commit(&mut self, source: &mut dyn Source) -> anyhow::Result<()> {
        let Some(Open { next, .. }) = self.open else { return Ok(()) };
        self.sink.commit()?;
        self.rejects.dead_letters.flush()?;
        source.commit(self.partition, next)?;
        self.open = None;
        Ok(())
    }
}

impl Rejects {
    /// Takes what a source could not make a message of.
    pub fn input(&mut self, partition: i32, rejected: &[Rejected]) -> anyhow::Result<()> {
        self.counters.add("messages in", rejected.len() as u64);
        for rejected in rejected {
            self.counters.add(&format!("rejected by source: {}", rejected.cause), 1);
            self.dead_letters.put(&Letter {
                pipeline: &self.pipeline,
                by: "source",
                version: None,
                hash: None,
                cause: rejected.cause,
                reason: &rejected.reason,
                partition,
                offset: rejected.offset,
                timestamp: None,
                key: rejected.key.as_deref().map(Text::key),
                value: Some(Text::value(&rejected.value)),
                headers: Vec::new(),
            })?;
        }
        Ok(())
    }

    /// Takes the messages of `batch` that a plugin rejected, each as the plugin saw it.
    fn by_plugin(
        &mut self,
        rejected: &[Rejection],
        plugin: &Plugin,
        batch: &Batch,
        offsets: &[i64],
        partition: i32,
    ) -> anyhow::Result<()> {
        if rejected.is_empty() {
            return Ok(());
        }
        let Description { name, version, .. } = &plugin.description;
        self.counters.add(&format!("rejected by {name}"), rejected.len() as u64);
        let reasons: BTreeMap<u32, &str> =
            rejected.iter().map(|rejection| (rejection.message, rejection.reason.as_str())).collect();
        for (index, (key, value)) in (0_u32..).zip(batch.keys.iter().zip(&batch.values)) {
            let Some(reason) = reasons.get(&index) else { continue };
            let headers = batch.headers.iter().filter(|header| header.message == index).take(HEADERS);
            self.dead_letters.put(&Letter {
                pipeline: &self.pipeline,
                by: name,
                version: Some(version),
                hash: Some(&plugin.hash),
                cause: "rejected",
                reason,
                partition,
                offset: offsets[index as usize],
                timestamp: Some(batch.timestamps[index as usize]),
                key: key.map(Text::key),
                value: value.map(Text::value),
                headers: headers
                    .map(|header| (Text::header(header.name.as_bytes()), Text::header(&header.value)))
                    .collect(),
            })?;
        }
        Ok(())
    }
}
