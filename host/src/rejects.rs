//! What becomes of messages that cannot be used: a count by cause, and a dead letter each (Invariant 2).

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::chain::Failed;
use crate::dead_letter::{DeadLetters, Letter, Ran, Text};
use crate::message::{Batch, Fetch, Rejected};
use crate::metrics::Tentative;
use crate::plugin::{Description, Rejection};
use crate::sink::Refused;
use crate::version::Version;

/// Where messages go that cannot be used, and who counts them.
pub struct Rejects {
    pub pipeline: String,
    /// What the pipeline reads, as a URI.
    pub source: String,
    pub counters: Tentative,
    pub dead_letters: DeadLetters,
    /// Messages that the sink has refused since the last commit.
    pub refused: u64,
}

impl Rejects {
    /// Takes what a source could not make a message of.
    pub fn input(&mut self, partition: i32, rejected: &[Rejected]) -> anyhow::Result<()> {
        self.counters.add("messages in", rejected.len() as u64);
        for rejected in rejected {
            self.counters.add(&format!("rejected by source: {}", rejected.cause), 1);
            let letter = Letter {
                key: rejected.key.as_deref().map(Text::key),
                value: Some(Text::value(&rejected.value)),
                ..Letter::new(
                    &self.pipeline,
                    &self.source,
                    partition,
                    rejected.offset,
                    rejected.cause,
                    &rejected.reason,
                )
            };
            self.dead_letters.put(&letter)?;
        }
        Ok(())
    }

    /// Nothing that was taken since the last commit has had an effect, nor will it.
    pub fn undo(&mut self) {
        self.counters.undo();
        self.refused = 0;
        self.dead_letters.undo();
    }

    /// Takes a message, alone in what was fetched, that one of the plugins of a chain failed on. Without a letter it is
    /// only counted.
    pub fn by_failure(
        &mut self,
        failed: &Failed,
        versions: &[Version],
        fetch: &Fetch,
        letter: bool,
    ) -> anyhow::Result<()> {
        let (by, cause) = (Ran::of(&versions[failed.stage]), failed.error.cause());
        self.counters.add("messages in", 1);
        let skipped = if letter { "" } else { ", skipped" };
        self.counters.add(&format!("rejected by {}: {cause}{skipped}", by.name), 1);
        if !letter {
            return Ok(());
        }
        let (reason, batch) = (failed.error.to_string(), &fetch.batch);
        let (key, value) = (batch.keys.iter().next().flatten(), batch.values.iter().next().flatten());
        let letter = Letter {
            timestamp: batch.timestamps.first().copied(),
            before: versions[..failed.stage].iter().map(Ran::of).collect(),
            said: failed.error.said().iter().map(|line| Cow::Borrowed(line.as_str())).collect(),
            backtrace: failed.error.backtrace().into_iter().map(Cow::Owned).collect(),
            key: key.map(Text::key),
            value: value.map(Text::value),
            headers: Text::headers(batch, 0),
            ..Letter::new(&self.pipeline, &self.source, fetch.partition, fetch.offsets[0], cause, &reason).by(by)
        };
        self.dead_letters.put(&letter)
    }

    /// Takes the messages of `batch` that a plugin rejected, each as the plugin saw it.
    pub fn by_plugin(
        &mut self,
        rejected: &[Rejection],
        version: &Version,
        batch: &Batch,
        offsets: &[i64],
        partition: i32,
    ) -> anyhow::Result<()> {
        if rejected.is_empty() {
            return Ok(());
        }
        let Description { name, .. } = &version.plugin.description;
        self.counters.add(&format!("rejected by {name}"), rejected.len() as u64);
        let reasons = rejected.iter().map(|rejection| (rejection.message, ("rejected", rejection.reason.as_str())));
        self.put(&reasons.collect(), Some(version), batch, offsets, partition)
    }

    /// Takes the messages of `batch` that the sink refused, each as the last plugin put it out.
    pub fn by_sink(
        &mut self,
        refused: &[Refused],
        batch: &Batch,
        offsets: &[i64],
        partition: i32,
    ) -> anyhow::Result<()> {
        if refused.is_empty() {
            return Ok(());
        }
        self.refused += refused.len() as u64;
        refused.iter().for_each(|refused| self.counters.add(&format!("rejected by sink: {}", refused.cause), 1));
        let reasons = refused.iter().map(|refused| (refused.message, (refused.cause, refused.reason.as_str())));
        self.put(&reasons.collect(), None, batch, offsets, partition)
    }

    /// A letter for each message that there is a cause and a reason for.
    fn put(
        &mut self,
        reasons: &BTreeMap<u32, (&str, &str)>,
        by: Option<&Version>,
        batch: &Batch,
        offsets: &[i64],
        partition: i32,
    ) -> anyhow::Result<()> {
        for (index, (key, value)) in (0_u32..).zip(batch.keys.iter().zip(&batch.values)) {
            let Some((cause, reason)) = reasons.get(&index) else { continue };
            let letter = Letter::new(&self.pipeline, &self.source, partition, offsets[index as usize], cause, reason);
            let letter = Letter {
                timestamp: Some(batch.timestamps[index as usize]),
                key: key.map(Text::key),
                value: value.map(Text::value),
                headers: Text::headers(batch, index),
                ..match by {
                    Some(version) => letter.by(Ran::of(version)),
                    None => letter,
                }
            };
            self.dead_letters.put(&letter)?;
        }
        Ok(())
    }
}
