//! What becomes of messages that cannot be used: a count by cause, and a dead letter each (Invariant 2).

use std::collections::BTreeMap;

use crate::chain::Failed;
use crate::dead_letter::{DeadLetters, HEADERS, Letter, Text};
use crate::failures::Policy;
use crate::message::{Batch, Fetch, Rejected};
use crate::metrics::Tentative;
use crate::plugin::{Description, Plugin, Rejection};

/// Where messages go that cannot be used, and who counts them.
pub struct Rejects {
    pub pipeline: String,
    pub counters: Tentative,
    pub dead_letters: DeadLetters,
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

    /// Nothing that was taken since the last commit has had an effect, nor will it.
    pub fn undo(&mut self) {
        self.counters.undo();
        self.dead_letters.undo();
    }

    /// Takes a message, the `index`-th of what was fetched, that a plugin failed on; what becomes of it is `policy`.
    pub fn by_failure(
        &mut self,
        failed: &Failed,
        plugin: &Plugin,
        policy: Policy,
        fetch: &Fetch,
        index: usize,
    ) -> anyhow::Result<()> {
        let _ = (failed, plugin, policy, fetch, index);
        todo!()
    }

    /// Takes the messages of `batch` that a plugin rejected, each as the plugin saw it.
    pub fn by_plugin(
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
