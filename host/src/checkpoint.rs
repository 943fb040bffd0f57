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
const FORMAT: u32 = 1;

/// Says that what follows has our format; reading another one is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u32", try_from = "u32")]
struct Format;

impl From<Format> for u32 {
    fn from(_: Format) -> Self {
        FORMAT
    }
}

impl TryFrom<u32> for Format {
    type Error = String;

    fn try_from(found: u32) -> Result<Self, String> {
        let other = || format!("it has format {found} and this host reads {FORMAT}: use the host that wrote it");
        (found == FORMAT).then_some(Self).ok_or_else(other)
    }
}

/// Where one partition of a pipeline stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// First, so that another one is told before what it has or lacks.
    format: Format,
    pub pipeline: String,
    /// What the pipeline reads, so that its offsets mean the same: the topic, and which embedded log it is in.
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
    /// Whether it was kept in one step with the state; else what is kept may be of later messages already.
    pub exactly_once: bool,
}

impl Checkpoint {
    /// The version of the plugin that has kept the state of this number.
    pub fn kept_by(&self, number: u8) -> Option<&str> {
        self.with_state().nth(number.into())
    }

    /// The versions of the plugins with state, in the order of their numbers.
    pub fn with_state(&self) -> impl Iterator<Item = &str> {
        self.plugins.iter().filter(|mark| mark.has_state).map(|mark| mark.version.as_str())
    }
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
    /// Where it runs instead of what the pipeline file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swapped: Option<Swapped>,
}

/// That a plugin was swapped for another one, which lasts until the pipeline file says something else than it did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Swapped {
    /// When, in milliseconds since the Unix epoch: of two swaps the later one holds.
    pub since: i64,
    /// Hash and settings of what the file said.
    pub hash: String,
    pub settings: serde_json::Value,
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
    /// Whether the checkpoints are kept in one step with the state.
    pub exactly_once: bool,
}

/// Why a checkpoint is not gone on from. Each names the way out.
#[derive(Debug, thiserror::Error)]
#[error("partition {partition}: {what}")]
pub struct Refusal {
    pub partition: i32,
    pub what: String,
}

impl Identity {
    /// The same pipeline with these plugins.
    pub fn with(&self, plugins: Vec<Mark>) -> Self {
        Self { plugins, ..self.clone() }
    }

    /// A checkpoint of this pipeline.
    pub fn checkpoint(&self, partition: i32, next: i64, time: Option<i64>, state: Sum) -> Checkpoint {
        Checkpoint {
            format: Format,
            pipeline: self.pipeline.clone(),
            source: self.source.clone(),
            partition,
            next,
            time,
            plugins: self.plugins.clone(),
            state,
            exactly_once: self.exactly_once,
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
    /// Entries by plugin and key (see [`push`]); a null value deletes.
    pub changes: Entries,
}

/// Adds an entry of a plugin's state: its key is the plugin's number among those with state, a byte, and the plugin's own
/// key.
pub fn push(entries: &mut Entries, plugin: u8, key: &[u8], value: Option<&[u8]>) {
    entries.keys.push_joined(&[plugin], key);
    entries.values.push(value);
}

/// The entries of one plugin, by its own keys.
pub fn own(entries: &Entries, plugin: u8) -> Entries {
    let mut own = Entries::default();
    for (key, value) in entries.iter() {
        if let Some((&first, key)) = key.split_first()
            && first == plugin
        {
            own.keys.push(Some(key));
            own.values.push(value);
        }
    }
    own
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(name: &str, settings: &str) -> Mark {
        let settings = serde_json::from_str(settings).unwrap();
        Mark { name: name.into(), version: "1.0.0".into(), hash: "00".into(), settings, has_state: true, swapped: None }
    }

    fn identity(plugins: &[Mark]) -> Identity {
        Identity {
            pipeline: "p".into(),
            source: "kafka:///t".into(),
            place: "csv:/out".into(),
            plugins: plugins.into(),
            exactly_once: true,
        }
    }

    fn position(next: i64, place: &str) -> Position {
        Position { next, place: place.into() }
    }

    #[test]
    fn goes_on_where_the_checkpoint_ends_whatever_the_group_has_heard_of() {
        let own = identity(&[mark("counts", "{}")]);
        let last = own.checkpoint(0, 100, None, Sum::default());
        let resume = |last: Option<&Checkpoint>, position: Option<&Position>| own.resume(0, last, position).unwrap();
        assert_eq!(resume(None, None), None);
        assert_eq!(resume(Some(&last), None), Some(100));
        assert_eq!(resume(Some(&last), Some(&position(90, "csv:/out"))), Some(100));
        // Another sink was fed under the same group meanwhile, or before: each has its own checkpoints.
        assert_eq!(resume(Some(&last), Some(&position(200, "stdout:"))), Some(100));
        assert_eq!(resume(None, Some(&position(200, "stdout:"))), None);
    }

    #[test]
    fn a_checkpoint_that_is_missing_or_old_is_refused() {
        let own = identity(&[]);
        let last = own.checkpoint(3, 100, None, Sum::default());
        let ahead = position(101, "csv:/out");
        let refused = |last: Option<&Checkpoint>| own.resume(3, last, Some(&ahead)).unwrap_err().to_string();
        let missing = refused(None);
        assert!(missing.starts_with("partition 3: the group has had everything before offset 101"), "{missing}");
        assert!(missing.contains("is missing there; bring it back, or start anew under another `group`"), "{missing}");
        assert!(refused(Some(&last)).contains("ends at 100: it is an old copy"), "{}", refused(Some(&last)));
    }

    #[test]
    fn state_of_another_pipeline_plugin_or_setting_is_refused() {
        let own = identity(&[mark("counts", r#"{"window":"30s"}"#)]);
        let last = own.checkpoint(0, 100, None, Sum::default());
        let refused = |change: &dyn Fn(&mut Checkpoint)| {
            let mut other = last.clone();
            change(&mut other);
            let text = own.resume(0, Some(&other), None).unwrap_err().to_string();
            assert!(text.ends_with("; or start anew under another `group`"), "{text}");
            text
        };
        assert!(refused(&|c| c.pipeline = "q".into()).contains(r#"is of pipeline "q" reading kafka:///t"#));
        assert!(refused(&|c| c.source = "kafka:///u".into()).contains("reading kafka:///u, not of"));
        assert!(refused(&|c| c.plugins[0].name = "max".into()).contains("state of max, and now counts would keep it"));
        assert!(refused(&|c| c.plugins.clear()).contains("state of no plugin, and now counts"));
        let settings = refused(&|c| c.plugins[0].settings = serde_json::json!({ "window": "60s" }));
        assert!(settings.contains(r#"settings {"window":"60s"}, and they are now {"window":"30s"}"#), "{settings}");
        // The plugin itself decides about another version, and nobody about what has no state.
        let mut newer = last.clone();
        newer.plugins[0].version = "2.0.0".into();
        newer.plugins.push(Mark { has_state: false, ..mark("flatten", "{}") });
        assert_eq!(own.resume(0, Some(&newer), None).unwrap(), Some(100));
    }

    #[test]
    fn another_format_is_told_whatever_else_there_is() {
        let last = identity(&[]).checkpoint(0, 100, None, Sum::default());
        let written = serde_json::to_string(&last).unwrap();
        assert_eq!(serde_json::from_str::<Checkpoint>(&written).unwrap(), last);
        let error = serde_json::from_str::<Checkpoint>(r#"{"format":9,"pipe":"line"}"#).unwrap_err().to_string();
        assert!(error.starts_with("it has format 9 and this host reads 1: use the host that wrote it"), "{error}");
    }

    #[test]
    fn the_sum_follows_changes_in_any_order_and_finds_what_is_missing_or_altered() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut changed, mut state) = (Tally::default(), HashMap::<Vec<u8>, Vec<u8>>::new());
        for _ in 0..10_000 {
            let (key, value) = (random.u16(..500).to_be_bytes().to_vec(), random.u64(..).to_be_bytes().to_vec());
            if random.u8(..4) == 0 {
                changed.apply(&key, None);
                state.remove(&key);
            } else {
                changed.apply(&key, Some(&value));
                state.insert(key, value);
            }
        }
        let of = |state: &HashMap<Vec<u8>, Vec<u8>>| {
            let mut tally = Tally::default();
            state.iter().for_each(|(key, value)| tally.apply(key, Some(value)));
            tally.sum()
        };
        assert_eq!(changed.sum(), of(&state));
        let some = state.keys().next().unwrap().clone();
        state.get_mut(&some).unwrap()[0] ^= 1;
        assert_ne!(changed.sum(), of(&state));
        state.remove(&some);
        assert_ne!(changed.sum(), of(&state));
    }
}
