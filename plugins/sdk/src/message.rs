//! An incoming message, borrowed from the columns of its batch.

use crate::wire::{Column, Header};

/// One message of the stream. Copies nothing.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Event time, in milliseconds since the Unix epoch.
    pub timestamp: i64,
    pub headers: &'a [Header],
}

/// The strings of a column, in order.
pub(crate) struct Strings<'a> {
    bytes: &'a [u8],
    lengths: std::slice::Iter<'a, i32>,
}

impl<'a> Strings<'a> {
    pub(crate) fn of(column: &'a Column) -> Self {
        Self { bytes: &column.bytes, lengths: column.lengths.iter() }
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = Option<&'a [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let length = *self.lengths.next()?;
        let Ok(length) = usize::try_from(length) else {
            return Some(None);
        };
        // The host's lengths sum up; the check is what keeps this free of panics.
        let (string, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(Some(string))
    }
}
