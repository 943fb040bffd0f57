//! Messages in columns: the one form in which they travel from source to sink.
//!
//! The types are those of `wit/messages.wit`, so that a batch crosses the sandbox wall as it is.
//! Nothing here reads what is inside a key or a value.

pub use crate::plugin::bindings::messages::{Batch, Column, Header};

/// The length that stands for a null in [`Column::lengths`].
const NULL: i32 = -1;

#[expect(clippy::derivable_impls, reason = "the type is generated, without this derive")]
impl Default for Column {
    fn default() -> Self {
        Self { bytes: Vec::new(), lengths: Vec::new() }
    }
}

impl Column {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, string: Option<&[u8]>) {
        match string {
            None => self.lengths.push(NULL),
            Some(string) => {
                self.bytes.extend_from_slice(string);
                // Strings are cut to far less than 2 GiB before they get here.
                self.lengths.push(i32::try_from(string.len()).expect("a string of less than 2 GiB"));
            }
        }
    }

    /// Adds a string of two parts.
    pub fn push_joined(&mut self, first: &[u8], second: &[u8]) {
        self.bytes.extend_from_slice(first);
        self.push(Some(second));
        if let Some(length) = self.lengths.last_mut() {
            *length += i32::try_from(first.len()).expect("a string of less than 2 GiB");
        }
    }

    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Keeps the first so many strings, and gives the others.
    pub fn split_off(&mut self, at: usize) -> Self {
        let before = self.iter().take(at).flatten().map(<[u8]>::len).sum();
        Self { bytes: self.bytes.split_off(before), lengths: self.lengths.split_off(at) }
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.lengths.clear();
    }

    /// The strings in order; `None` is a null.
    pub fn iter(&self) -> Strings<'_> {
        Strings { bytes: &self.bytes, lengths: self.lengths.iter() }
    }
}

/// The strings of a column, in order.
#[derive(Clone)]
pub struct Strings<'a> {
    bytes: &'a [u8],
    lengths: std::slice::Iter<'a, i32>,
}

impl<'a> Iterator for Strings<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = *self.lengths.next()?;
        let Ok(length) = usize::try_from(length) else {
            return Some(None);
        };
        let (string, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        Some(Some(string))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.lengths.size_hint()
    }
}

impl ExactSizeIterator for Strings<'_> {}

impl<'a> IntoIterator for &'a Column {
    type Item = Option<&'a [u8]>;
    type IntoIter = Strings<'a>;

    fn into_iter(self) -> Strings<'a> {
        self.iter()
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self { keys: Column::new(), values: Column::new(), timestamps: Vec::new(), headers: Vec::new() }
    }
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a message; `timestamp` is in milliseconds since the Unix epoch.
    pub fn push(&mut self, key: Option<&[u8]>, value: Option<&[u8]>, timestamp: i64) {
        self.keys.push(key);
        self.values.push(value);
        self.timestamps.push(timestamp);
    }

    /// The first so many messages, and the others.
    pub fn split(mut self, at: usize) -> (Self, Self) {
        let (keys, values) = (self.keys.split_off(at), self.values.split_off(at));
        let timestamps = self.timestamps.split_off(at);
        let (before, mut headers): (Vec<_>, Vec<_>) =
            self.headers.into_iter().partition(|header| (header.message as usize) < at);
        // There are no more messages in a batch than that.
        headers.iter_mut().for_each(|header| header.message -= at as u32);
        self.headers = before;
        (self, Self { keys, values, timestamps, headers })
    }

    /// How many messages.
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.keys.bytes.len() + self.values.bytes.len()
    }
}

/// Messages of one partition as a source hands them over, in the order of their offsets.
#[derive(Debug, Clone)]
pub struct Fetch {
    pub partition: i32,
    pub batch: Batch,
    /// The offset of each message of `batch`; gaps are allowed.
    pub offsets: Vec<i64>,
    /// What the source could not make a message of.
    pub rejected: Vec<Rejected>,
    /// Where to go on reading once all of this has had its effect.
    pub next: i64,
}

impl Fetch {
    pub fn new(partition: i32, next: i64) -> Self {
        Self { partition, batch: Batch::new(), offsets: Vec::new(), rejected: Vec::new(), next }
    }

    /// The offset of the first message, or of what could not be made one.
    pub fn first(&self) -> i64 {
        let rejected = self.rejected.iter().map(|rejected| rejected.offset).min();
        let message = self.offsets.first().copied();
        message.into_iter().chain(rejected).min().unwrap_or(self.next)
    }

    /// Whether there is nothing in it, though it may go on behind something.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.rejected.is_empty()
    }

    /// What is before an offset, and the rest.
    pub fn split(self, offset: i64) -> (Self, Self) {
        let Self { partition, batch, offsets, rejected, next } = self;
        let at = offsets.partition_point(|&own| own < offset);
        let (before, after) = batch.split(at);
        let (first, last) = offsets.split_at(at);
        let (early, late) = rejected.into_iter().partition(|rejected| rejected.offset < offset);
        let before =
            Self { partition, batch: before, offsets: first.to_vec(), rejected: early, next: next.min(offset) };
        (before, Self { partition, batch: after, offsets: last.to_vec(), rejected: late, next })
    }
}

/// Input that became no message, on its way to the dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    /// What came in, bounded by the source.
    pub value: Vec<u8>,
    /// A short cause to count by, such as `not json`.
    pub cause: &'static str,
    /// What is wrong, for a person.
    pub reason: String,
}
