//! The messages: each a function of its number and the seed, so that one that was altered is found.

use host::message::Batch;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Event time of the first message, in milliseconds since the Unix epoch …
const BEGIN: i64 = 1_700_000_000_000;
/// … and from one to the next. 500 messages are one window of `reference.rs`, so that one closes every moment.
const STEP: i64 = 20;
/// Most by which a message comes after one with a later time: within the grace of `reference.rs`, mostly.
const JITTER: u64 = 2_500;
/// One message in so many is a minute late …
const LATE: u64 = 97;
/// … and one in so many repeats another one of the last 200.
const REPEATED: u64 = 40;

/// An endless input.
#[derive(Debug, Clone, Copy)]
pub struct Input {
    pub seed: u64,
    /// How many keys, and so groups, there are.
    pub groups: u64,
}

#[derive(Debug, PartialEq)]
pub struct Message {
    pub key: String,
    pub value: String,
    pub timestamp: i64,
}

impl Input {
    pub fn message(&self, number: u64) -> Message {
        let id = self.id(number);
        let event = self.hash("event", id);
        let group = event % self.groups;
        let reading = (event >> 8) % 1_000;
        let late = if (event >> 20).is_multiple_of(LATE) { 60_000 } else { 0 };
        let timestamp = BEGIN + id as i64 * STEP - ((event >> 32) % JITTER) as i64 - late;
        // Nested, with a number that is unique, and an id that repeated messages share.
        let value = format!(
            r#"{{"number":{number},"id":{id},"group":"g{group}","reading":{{"value":{},"check":"{event:016x}"}}}}"#,
            reading as i64 - 500
        );
        Message { key: format!("g{group}"), value, timestamp }
    }

    pub fn batch(&self, numbers: std::ops::Range<u64>) -> Batch {
        let mut batch = Batch::new();
        for Message { key, value, timestamp } in numbers.map(|number| self.message(number)) {
            batch.push(Some(key.as_bytes()), Some(value.as_bytes()), timestamp);
        }
        batch
    }

    /// Which event a message is about: its own, or one that was told before.
    fn id(&self, number: u64) -> u64 {
        let chance = self.hash("number", number);
        let back = 1 + (chance >> 32) % 200;
        if chance.is_multiple_of(REPEATED) { number.saturating_sub(back) } else { number }
    }

    fn hash(&self, what: &str, number: u64) -> u64 {
        xxh3_64_with_seed(format!("{what} {number}").as_bytes(), self.seed)
    }
}
