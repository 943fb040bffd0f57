//! Compares what two versions of a plugin make of the same messages: by message, and field by field where they differ.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::message::Batch;
use crate::plugin::Output;

/// Counts what is the same and what is not, and remembers the first differences.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    report: Report,
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

impl Comparison {
    pub fn new() -> Self {
        Self::default()
    }

    /// What both made of a batch; `offsets` has that of each message.
    pub fn output(&mut self, partition: i32, batch: &Batch, offsets: &[i64], old: &Output, new: &Output) {
        let _ = (partition, batch, offsets, old, new);
        todo!()
    }

    /// What both put out when time passed.
    pub fn advanced(&mut self, partition: i32, old: &Batch, new: &Batch) {
        let _ = (partition, old, new);
        todo!()
    }

    /// How long a call took each of them, for so many messages.
    pub fn took(&mut self, messages: usize, old: Duration, new: Duration) {
        let _ = (messages, old, new);
        todo!()
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
        todo!()
    }
}
