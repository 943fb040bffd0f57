//! What state is made of when the host keeps it: entries of key and value.

use crate::wire::{Column, Entries};

/// How much one call to `changes` gives, so that it is short whatever has changed.
const ENTRIES: usize = 4096;
const BYTES: usize = 1 << 20;

/// State that the host keeps: [`Keyed`](crate::Keyed) or [`Windows`](crate::Windows).
pub trait State {
    /// Adds what changed since everything was last given, until there is no more or the part is full.
    fn changes(&mut self, part: &mut Part);

    /// Takes back an entry that was given as a change; a null deletes it. It is not changed by that, unless an `other`
    /// version kept it, in another form: then it is to be given as a change, so that it is kept in this one's.
    ///
    /// `other` is none where the version that kept it has the same major and minor number, and so the same form.
    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, other: Option<&str>) -> Result<(), Unreadable>;
}

/// Why an entry cannot be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// The plugin that is to take it back did not write it.
    Foreign,
    /// For a reason of the plugin's own.
    Refused(String),
}

/// A value of state, in the plugin's own encoding.
pub trait Value: Sized {
    /// Appends to `bytes`.
    fn encode(&self, bytes: &mut Vec<u8>);

    /// `None` if this is not what [`encode`](Self::encode) writes.
    fn decode(bytes: &[u8]) -> Option<Self>;

    /// Reads what another `version` of the plugin wrote, of those that it [accepts](crate::Stateful::accepts) and that
    /// have not its own major and minor number. What is read so and would be written otherwise now has changed. By
    /// default there is one form for all.
    fn decode_of(_version: &str, bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes)
    }
}

impl Value for () {
    fn encode(&self, _: &mut Vec<u8>) {}

    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().then_some(())
    }
}

impl Value for Vec<u8> {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(bytes.to_vec())
    }
}

impl Value for i64 {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self::from_le_bytes(bytes.try_into().ok()?))
    }
}

/// A part of what changed, in columns as they cross the wall.
#[derive(Debug)]
pub struct Part {
    keys: Column,
    values: Column,
}

impl Part {
    pub(crate) fn new() -> Self {
        let column = || Column { bytes: Vec::new(), lengths: Vec::new() };
        Self { keys: column(), values: column() }
    }

    /// Adds an entry, whose key is of two pieces; `None` deletes it.
    pub fn push<V: Value>(&mut self, prefix: &[u8], key: &[u8], value: Option<&V>) {
        self.keys.bytes.extend_from_slice(prefix);
        self.keys.bytes.extend_from_slice(key);
        self.keys.lengths.push(length(prefix.len() + key.len()));
        let before = self.values.bytes.len();
        self.values.lengths.push(match value {
            Some(value) => {
                value.encode(&mut self.values.bytes);
                length(self.values.bytes.len() - before)
            }
            None => -1,
        });
    }

    /// How many entries it still takes; none when it is full.
    pub fn room(&self) -> usize {
        if self.keys.bytes.len() + self.values.bytes.len() >= BYTES { 0 } else { ENTRIES - self.keys.lengths.len() }
    }

    pub(crate) fn into_entries(self) -> Entries {
        Entries { keys: self.keys, values: self.values }
    }
}

fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("an entry of less than 2 GiB")
}
