//! What it takes to go on where another process ended: how far reading has come, whose state was kept, and its sum.
//!
//! A [`Checkpoint`] takes effect in the one step that makes output visible (Invariant 1); where and how is the sink's
//! business, and nothing here touches a disk or a network.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::message::Column;
use crate::plugin::Entries;

/// Of what is written below and of how state is kept beside it; a change of either is a new one.
pub const FORMAT: u32 = 1;

/// Where one partition of a pipeline stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub format: u32,
    pub pipeline: String,
    /// The URI of what the pipeline reads.
    pub source: String,
    pub partition: i32,
    /// Everything before this offset has had its effect.
    pub next: i64,
    /// The highest event time among the messages before `next`, in milliseconds since the Unix epoch.
    pub time: Option<i64>,
    /// The chain that was at work, in order.
    pub plugins: Vec<Mark>,
    /// Of all state that is kept for this checkpoint.
    pub state: Sum,
}

/// Which plugin was at work, and how it was set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    pub name: String,
    pub version: String,
    /// SHA-256 of the component, in hexadecimal.
    pub hash: String,
    pub settings: serde_json::Value,
    pub has_state: bool,
}

/// How many entries there are, and a sum over them that does not depend on their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sum {
    pub entries: u64,
    pub sum: u64,
}

/// What a pipeline is to the checkpoints that it may go on from.
#[derive(Debug, Clone)]
pub struct Identity {
    pub pipeline: String,
    pub source: String,
    /// Whose state a refusal is about, such as `csv:out` or a topic; where the checkpoints are. Empty without any.
    pub place: String,
    pub plugins: Vec<Mark>,
}

/// Why a checkpoint is not gone on from. Each names the way out.
#[derive(Debug, thiserror::Error)]
#[error("partition {partition}: {what}")]
pub struct Refusal {
    pub partition: i32,
    pub what: String,
}

impl Identity {
    /// A checkpoint of this pipeline.
    pub fn checkpoint(&self, partition: i32, next: i64, time: Option<i64>, state: Sum) -> Checkpoint {
        Checkpoint {
            format: FORMAT,
            pipeline: self.pipeline.clone(),
            source: self.source.clone(),
            partition,
            next,
            time,
            plugins: self.plugins.clone(),
            state,
        }
    }

    /// Where to go on reading, given the last checkpoint and the position that the source's group has, with the
    /// place that it was committed for. `None` is wherever the source says.
    pub fn resume(
        &self,
        partition: i32,
        last: Option<&Checkpoint>,
        position: Option<&Position>,
    ) -> Result<Option<i64>, Refusal> {
        let refuse = |what: String| Err(Refusal { partition, what });
        // A position of a sink that keeps its checkpoints elsewhere, or none, says nothing about this one.
        let position = position.filter(|position| !self.place.is_empty() && position.place == self.place);
        let Some(last) = last else {
            return match position {
                Some(position) => refuse(format!(
                    "the group has had everything before offset {} in {}, but the checkpoint that belongs to it is \
                     missing there; bring it back, or start anew under another `group`",
                    position.next, self.place
                )),
                None => Ok(None),
            };
        };
        if let Some(position) = position.filter(|position| position.next > last.next) {
            return refuse(format!(
                "the group has had everything before offset {} in {}, but the checkpoint there ends at {}: it is an \
                 old copy; bring back the last one, or start anew under another `group`",
                position.next, self.place, last.next
            ));
        }
        match self.accept(last) {
            Ok(()) => Ok(Some(last.next)),
            Err(what) => refuse(what + "; or start anew under another `group`"),
        }
    }

    /// Whether state of this checkpoint is ours.
    fn accept(&self, last: &Checkpoint) -> Result<(), String> {
        let place = &self.place;
        if last.format != FORMAT {
            return Err(format!(
                "the checkpoint in {place} has format {} and this host reads {FORMAT}; use the host that wrote it",
                last.format
            ));
        }
        if (&last.pipeline, &last.source) != (&self.pipeline, &self.source) {
            return Err(format!(
                "the checkpoint in {place} is of pipeline {:?} reading {}, not of {:?} reading {}; write elsewhere",
                last.pipeline, last.source, self.pipeline, self.source
            ));
        }
        let state = |plugins: &[Mark]| -> Vec<Mark> { plugins.iter().filter(|mark| mark.has_state).cloned().collect() };
        let (then, now) = (state(&last.plugins), state(&self.plugins));
        let names = |marks: &[Mark]| marks.iter().map(|mark| mark.name.as_str()).collect::<Vec<_>>().join(", ");
        if !then.iter().map(|mark| &mark.name).eq(now.iter().map(|mark| &mark.name)) {
            let none = |names: String| if names.is_empty() { "no plugin".to_owned() } else { names };
            return Err(format!(
                "the checkpoint in {place} has state of {}, and now {} would keep it; put back the former",
                none(names(&then)),
                none(names(&now))
            ));
        }
        match then.iter().zip(&now).find(|(then, now)| then.settings != now.settings) {
            Some((then, now)) => Err(format!(
                "the state in {place} was made by {} with the settings {}, and they are now {}; set them back",
                now.name, then.settings, now.settings
            )),
            None => Ok(()),
        }
    }
}

/// How far a source's group has come, as the source itself remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub next: i64,
    /// Where the checkpoint is that this position belongs to; empty where it is not known.
    pub place: String,
}

/// What changes with one checkpoint of one partition.
#[derive(Debug)]
pub struct Part {
    pub checkpoint: Checkpoint,
    /// Entries by stage and key (see [`stage_key`]); a null value deletes.
    pub changes: Entries,
}

/// Adds an entry of a stage's state: its key is the stage's number, a byte, and the plugin's own key.
pub fn push(entries: &mut Entries, stage: u8, key: &[u8], value: Option<&[u8]>) {
    entries.keys.push_joined(&[stage], key);
    entries.values.push(value);
}

impl Default for Entries {
    fn default() -> Self {
        Self { keys: Column::new(), values: Column::new() }
    }
}

impl Entries {
    /// Key and value of each entry, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.keys.iter().map(Option::unwrap_or_default).zip(&self.values)
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.keys.bytes.len() + self.values.bytes.len()
    }
}

/// Keeps the [`Sum`] of a state that is known by its changes only: 16 bytes for each entry.
#[derive(Debug, Default)]
pub struct Tally {
    /// For the hash of each key, that of its entry.
    entries: HashMap<u64, u64>,
    sum: u64,
}

impl Tally {
    /// Takes note of an entry that was set, or deleted by a null.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) {
        let name = xxh3_64(key);
        let before = match value {
            Some(value) => {
                let entry = xxh3_64_with_seed(value, name);
                self.sum = self.sum.wrapping_add(entry);
                self.entries.insert(name, entry)
            }
            None => self.entries.remove(&name),
        };
        self.sum = self.sum.wrapping_sub(before.unwrap_or(0));
    }

    pub fn apply_all(&mut self, entries: &Entries) {
        entries.iter().for_each(|(key, value)| self.apply(key, value));
    }

    pub fn sum(&self) -> Sum {
        Sum { entries: self.entries.len() as u64, sum: self.sum }
    }
}
