//! Compares what two versions of a plugin make of the same messages: by message, and field by field where they differ.
//!
//! What comes of one message is aligned, in its order, so that the fewest differences are told. A message that only one
//! of them rejects is counted as that and as nothing else. Messages are equal where all of their bytes are.

mod align;
mod fields;
mod latency;
mod messages;
mod show;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::text::excerpt;
use crate::message::Batch;
use crate::plugin::Output;

use align::align;
use fields::{Field, Fields};
use latency::Latency;
use messages::{Message, Messages};

/// How many differences are shown.
const SHOWN: usize = 10;
/// Most fields of one difference that are shown.
const FIELDS_SHOWN: usize = 32;
/// Most names of fields that are counted, each for itself; the others are counted as `<other fields>`.
const NAMES: usize = 1_000;
/// Most characters of a name or of a reason.
const TEXT: usize = 200;

/// Counts what is the same and what is not, and remembers the first differences.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    report: Report,
    old: Latency,
    new: Latency,
}

/// What one version cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Name and version.
    pub plugin: String,
    /// SHA-256 of the component.
    pub hash: String,
    /// Nanoseconds for each message that went in, on average.
    pub ns_per_message: f64,
    /// Microseconds for each call: the median, and that of the slowest in a hundred.
    pub call_p50: f64,
    pub call_p99: f64,
    /// Bytes of memory at the end.
    pub memory: usize,
}

/// What came of a comparison; as JSON in the control interface, as text for a person.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Messages that both have seen.
    pub messages: u64,
    /// Of what came out: the same from both, different, from the new one only, from the old one only.
    pub equal: u64,
    pub changed: u64,
    pub added: u64,
    pub missing: u64,
    pub rejected_by_both: u64,
    pub rejected_by_old_only: u64,
    pub rejected_by_new_only: u64,
    /// Of the changed messages, how many differ in each field; `value`, `key`, `timestamp` and `headers` in angle brackets
    /// where it is not a field of a JSON object.
    pub fields: BTreeMap<String, u64>,
    /// The first differences.
    pub differences: Vec<Difference>,
    pub old: Cost,
    pub new: Cost,
    /// Why the new version did not come to the end.
    pub failed: Option<String>,
}

/// One message that the two do not agree about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub partition: i32,
    /// Of the message that went in; `None` where time passed and nothing came in.
    pub offset: Option<i64>,
    /// `changed`, `added`, `missing`, `rejected by old only` or `rejected by new only`.
    pub what: String,
    /// Field, what the old one has, what the new one has.
    pub fields: Vec<(String, Option<String>, Option<String>)>,
}

impl Report {
    /// Whether the two do not agree about something, or the new one failed.
    pub fn differs(&self) -> bool {
        let Self { changed, added, missing, rejected_by_old_only, rejected_by_new_only, .. } = self;
        changed + added + missing + rejected_by_old_only + rejected_by_new_only > 0 || self.failed.is_some()
    }

    /// Remembers a difference, if there were only few before.
    fn show(&mut self, (partition, offset): Place, what: &str, fields: impl FnOnce() -> Vec<Field>) {
        if self.differences.len() < SHOWN {
            let mut fields = fields();
            fields.truncate(FIELDS_SHOWN);
            self.differences.push(Difference { partition, offset, what: what.to_owned(), fields });
        }
    }

    fn count_field(&mut self, name: &str) {
        let name = excerpt(name, TEXT);
        let name = if self.fields.len() < NAMES || self.fields.contains_key(&name) { &name } else { "<other fields>" };
        match self.fields.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(self.fields.insert(name.to_owned(), 1)),
        }
    }

    /// What came of the same, in order, from the old one and from the new one.
    fn outputs(&mut self, place: Place, old: &[Message<'_>], new: &[Message<'_>], fields: &mut Fields) {
        for pair in align(old, new) {
            match pair {
                (Some(old), Some(new)) if old == new => self.equal += 1,
                (Some(old), Some(new)) => {
                    self.changed += 1;
                    let shown = self.differences.len() < SHOWN;
                    let mut differing = fields.differing(old, new, shown);
                    differing.iter().for_each(|(name, _, _)| self.count_field(name));
                    // Where no message came in, the key tells which one it is.
                    if place.1.is_none() && old.key == new.key {
                        differing.insert(0, fields::key(Some(old), Some(new)));
                    }
                    self.show(place, "changed", || differing);
                }
                (Some(old), None) => {
                    self.missing += 1;
                    self.show(place, "missing", || fields::all(Some(old), None));
                }
                (None, Some(new)) => {
                    self.added += 1;
                    self.show(place, "added", || fields::all(None, Some(new)));
                }
                (None, None) => {}
            }
        }
    }
}

/// A partition, and the offset of what went in.
type Place = (i32, Option<i64>);

impl Comparison {
    pub fn new() -> Self {
        Self::default()
    }

    /// What both made of a batch; `offsets` has that of each message.
    pub fn output(&mut self, partition: i32, batch: &Batch, offsets: &[i64], old: &Output, new: &Output) {
        let report = &mut self.report;
        report.messages += batch.len() as u64;
        let rejected = |output: &Output| output.rejected.iter().map(|rejection| rejection.message).collect::<Vec<_>>();
        if old.origins == new.origins
            && messages::same(&old.messages, &new.messages)
            && old.rejected.len() == new.rejected.len()
            && rejected(old) == rejected(new)
        {
            report.equal += old.messages.len() as u64;
            report.rejected_by_both += old.rejected.len() as u64;
            return;
        }
        let (old_reasons, new_reasons) = (reasons(old, batch.len()), reasons(new, batch.len()));
        let (mut old, mut new, mut fields) = (ByOrigin::new(old), ByOrigin::new(new), Fields::new());
        for (origin, &offset) in (0..).zip(offsets.iter().take(batch.len())) {
            let place = (partition, Some(offset));
            let (by_old, by_new) = (old.take(origin), new.take(origin));
            let rejection = |old: Option<&str>, new: Option<&str>| {
                let text = |reason: &str| excerpt(reason, TEXT);
                vec![("<rejected>".to_owned(), old.map(text), new.map(text))]
            };
            match (old_reasons[origin], new_reasons[origin]) {
                (Some(reason), None) => {
                    report.rejected_by_old_only += 1;
                    report.show(place, "rejected by old only", || rejection(Some(reason), None));
                }
                (None, Some(reason)) => {
                    report.rejected_by_new_only += 1;
                    report.show(place, "rejected by new only", || rejection(None, Some(reason)));
                }
                (both, _) => {
                    report.rejected_by_both += u64::from(both.is_some());
                    if old.made(&by_old).eq(new.made(&by_new)) {
                        report.equal += by_old.len() as u64;
                        continue;
                    }
                    let (by_old, by_new): (Vec<_>, Vec<_>) = (old.made(&by_old).collect(), new.made(&by_new).collect());
                    report.outputs(place, &by_old, &by_new, &mut fields);
                }
            }
        }
    }

    /// What both put out when time passed. Messages of one key are compared with each other, in their order.
    pub fn advanced(&mut self, partition: i32, old: &Batch, new: &Batch) {
        if messages::same(old, new) {
            self.report.equal += old.len() as u64;
            return;
        }
        let (old, new) = (Messages::new(old), Messages::new(new));
        let mut by_key: BTreeMap<_, (Vec<Message<'_>>, Vec<Message<'_>>)> = BTreeMap::new();
        old.iter().for_each(|message| by_key.entry(message.key).or_default().0.push(message));
        new.iter().for_each(|message| by_key.entry(message.key).or_default().1.push(message));
        let mut fields = Fields::new();
        for (old, new) in by_key.values() {
            self.report.outputs((partition, None), old, new, &mut fields);
        }
    }

    /// How long a call took each of them, for so many messages.
    pub fn took(&mut self, messages: usize, old: Duration, new: Duration) {
        self.old.add(messages, old);
        self.new.add(messages, new);
    }

    /// How much memory each has.
    pub fn memory(&mut self, old: usize, new: usize) {
        (self.report.old.memory, self.report.new.memory) = (old, new);
    }

    /// Who is compared: name with version, and hash, of each.
    pub fn between(&mut self, old: (String, String), new: (String, String)) {
        (self.report.old.plugin, self.report.old.hash) = old;
        (self.report.new.plugin, self.report.new.hash) = new;
    }

    /// The new one failed, for this reason.
    pub fn failed(&mut self, reason: &str) {
        self.report.failed.get_or_insert_with(|| reason.to_owned());
    }

    /// Whether the new one failed.
    pub fn has_failed(&self) -> bool {
        self.report.failed.is_some()
    }

    /// Messages that both have seen.
    pub fn messages(&self) -> u64 {
        self.report.messages
    }

    pub fn report(&self) -> Report {
        let mut report = self.report.clone();
        self.old.tell(&mut report.old);
        self.new.tell(&mut report.new);
        report
    }
}

/// For each of the messages that went in, why it was rejected, if it was.
fn reasons(output: &Output, came_in: usize) -> Vec<Option<&str>> {
    let mut reasons = vec![None; came_in];
    for rejection in &output.rejected {
        reasons[rejection.message as usize] = Some(rejection.reason.as_str());
    }
    reasons
}

/// What was made of each message of a batch.
struct ByOrigin<'a> {
    messages: Messages<'a>,
    origins: &'a [u32],
    /// The numbers of what came out, by what it came from.
    order: Vec<usize>,
    taken: usize,
}

impl<'a> ByOrigin<'a> {
    fn new(output: &'a Output) -> Self {
        let mut order: Vec<usize> = (0..output.origins.len()).collect();
        order.sort_by_key(|&number| output.origins[number]);
        Self { messages: Messages::new(&output.messages), origins: &output.origins, order, taken: 0 }
    }

    /// Where in the order that is which came of a message; to be asked for each, one after the other.
    fn take(&mut self, origin: usize) -> Range<usize> {
        let start = self.taken;
        let rest = &self.order[start..];
        self.taken += rest.iter().take_while(|&&number| self.origins[number] as usize == origin).count();
        start..self.taken
    }

    fn made(&self, range: &Range<usize>) -> impl Iterator<Item = Message<'_>> {
        self.order[range.clone()].iter().map(|&number| self.messages.get(number))
    }
}
