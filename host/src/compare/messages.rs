//! The messages of a batch one by one, and whether two batches are the same as a whole.

use crate::message::{Batch, Column, Header};

/// One message of a batch.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub timestamp: i64,
    pub headers: &'a [&'a Header],
}

impl Message<'_> {
    pub fn same_headers(&self, other: &Self) -> bool {
        let same = |(one, other): (&&Header, &&Header)| one.name == other.name && one.value == other.value;
        self.headers.len() == other.headers.len() && self.headers.iter().zip(other.headers).all(same)
    }
}

impl PartialEq for Message<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
            && self.key == other.key
            && self.timestamp == other.timestamp
            && self.same_headers(other)
    }
}

/// The messages of a batch, by number.
pub(super) struct Messages<'a> {
    keys: Vec<Option<&'a [u8]>>,
    values: Vec<Option<&'a [u8]>>,
    timestamps: &'a [i64],
    /// Those of one message together, in the order in which they are.
    headers: Vec<&'a Header>,
}

impl<'a> Messages<'a> {
    pub fn new(batch: &'a Batch) -> Self {
        let mut headers: Vec<&Header> = batch.headers.iter().collect();
        headers.sort_by_key(|header| header.message);
        Self {
            keys: batch.keys.iter().collect(),
            values: batch.values.iter().collect(),
            timestamps: &batch.timestamps,
            headers,
        }
    }

    pub fn get(&self, number: usize) -> Message<'_> {
        let start = self.headers.partition_point(|header| (header.message as usize) < number);
        let headers = &self.headers[start..];
        let end = headers.partition_point(|header| header.message as usize == number);
        Message {
            key: self.keys[number],
            value: self.values[number],
            timestamp: self.timestamps[number],
            headers: &headers[..end],
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        (0..self.timestamps.len()).map(|number| self.get(number))
    }
}

/// Whether two batches are the same, byte for byte.
pub(super) fn same(one: &Batch, other: &Batch) -> bool {
    let column = |one: &Column, other: &Column| one.lengths == other.lengths && one.bytes == other.bytes;
    let header = |(one, other): (&Header, &Header)| {
        one.message == other.message && one.name == other.name && one.value == other.value
    };
    one.timestamps == other.timestamps
        && column(&one.keys, &other.keys)
        && column(&one.values, &other.values)
        && one.headers.len() == other.headers.len()
        && one.headers.iter().zip(&other.headers).all(header)
}
