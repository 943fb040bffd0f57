//! The outgoing batch, written in place: a plugin needs no buffer of its own for a message.

use crate::wire::{self, Batch, Column, Header};

/// Takes what a plugin puts out for one batch.
///
/// Write a value to [`value`](Self::value), then [`emit`](Self::emit) it: none, one or many times for each
/// incoming message. When the message is rejected, all that was put out for it is taken back.
#[derive(Debug)]
pub struct Output {
    messages: Batch,
    origins: Vec<u32>,
    rejected: Vec<wire::Rejection>,
    /// The message that is being processed.
    incoming: u32,
    /// Where the value that is being written starts.
    start: usize,
    /// What was there before the message that is being processed.
    before: Lengths,
}

#[derive(Debug, Clone, Copy, Default)]
struct Lengths {
    messages: usize,
    keys: usize,
    values: usize,
    headers: usize,
}

impl Output {
    /// For what is put out though nothing came in.
    pub(crate) fn new() -> Self {
        let column = || Column { bytes: Vec::new(), lengths: Vec::new() };
        let nothing = || Batch { keys: column(), values: column(), timestamps: Vec::new(), headers: Vec::new() };
        Self::for_batch(&nothing())
    }

    /// Room for about as much as comes in.
    pub(crate) fn for_batch(batch: &Batch) -> Self {
        let count = batch.timestamps.len();
        let column = |like: &Column| Column {
            // Somewhat more, so that a value that is written in wide steps does not make it grow.
            bytes: Vec::with_capacity(like.bytes.len() + 64),
            lengths: Vec::with_capacity(count),
        };
        Self {
            messages: Batch {
                keys: column(&batch.keys),
                values: column(&batch.values),
                timestamps: Vec::with_capacity(count),
                headers: Vec::with_capacity(batch.headers.len()),
            },
            origins: Vec::with_capacity(count),
            rejected: Vec::new(),
            incoming: 0,
            start: 0,
            before: Lengths::default(),
        }
    }

    /// Where to append the value of the next outgoing message. Before it are the values of earlier messages:
    /// only append, and shorten no further than what was appended.
    #[inline]
    pub fn value(&mut self) -> &mut Vec<u8> {
        &mut self.messages.values.bytes
    }

    /// Adds a header to the next outgoing message.
    pub fn header(&mut self, name: &str, value: &[u8]) {
        // Of what is put out, the host takes far less than 2³² messages.
        let message = self.origins.len() as u32;
        self.messages.headers.push(Header { message, name: name.to_owned(), value: value.to_owned() });
    }

    /// Puts out a message with what was written to [`value`](Self::value).
    ///
    /// `timestamp` is the event time in milliseconds since the Unix epoch.
    ///
    /// # Panics
    /// If values of earlier messages were shortened, or the value has 2 GiB.
    #[inline]
    pub fn emit(&mut self, key: Option<&[u8]>, timestamp: i64) {
        let end = self.messages.values.bytes.len();
        let length = end.checked_sub(self.start).expect("a plugin only appends to `Output::value`");
        self.start = end;
        self.push(key, length_of(length), timestamp);
    }

    /// Puts out a message with a null value, which deletes its key in a compacted topic.
    pub fn emit_null(&mut self, key: Option<&[u8]>, timestamp: i64) {
        self.messages.values.bytes.truncate(self.start);
        self.push(key, -1, timestamp);
    }

    #[inline]
    fn push(&mut self, key: Option<&[u8]>, value: i32, timestamp: i64) {
        let Batch { keys, values, timestamps, .. } = &mut self.messages;
        match key {
            None => keys.lengths.push(-1),
            Some(key) => {
                keys.bytes.extend_from_slice(key);
                keys.lengths.push(length_of(key.len()));
            }
        }
        values.lengths.push(value);
        timestamps.push(timestamp);
        self.origins.push(self.incoming);
    }

    #[inline]
    pub(crate) fn begin(&mut self, incoming: u32) {
        self.incoming = incoming;
        self.start = self.messages.values.bytes.len();
        self.before = Lengths {
            messages: self.origins.len(),
            keys: self.messages.keys.bytes.len(),
            values: self.start,
            headers: self.messages.headers.len(),
        };
    }

    /// Drops what was written but not put out.
    #[inline]
    pub(crate) fn end(&mut self) {
        self.messages.values.bytes.truncate(self.start);
        if !self.messages.headers.is_empty() {
            let count = self.origins.len() as u32;
            self.messages.headers.retain(|header| header.message < count);
        }
    }

    /// Takes back all that was put out for the message, and rejects it.
    #[cold]
    pub(crate) fn reject(&mut self, reason: String) {
        let Lengths { messages, keys, values, headers } = self.before;
        self.messages.keys.bytes.truncate(keys);
        self.messages.keys.lengths.truncate(messages);
        self.messages.values.bytes.truncate(values);
        self.messages.values.lengths.truncate(messages);
        self.messages.timestamps.truncate(messages);
        self.messages.headers.truncate(headers);
        self.origins.truncate(messages);
        self.rejected.push(wire::Rejection { message: self.incoming, reason });
    }

    /// What is put out though nothing came in: no message of it came from another.
    pub(crate) fn without_origins(mut self) -> wire::Output {
        self.end();
        self.origins.clear();
        self.finish()
    }

    pub(crate) fn finish(self) -> wire::Output {
        wire::Output { messages: self.messages, origins: self.origins, rejected: self.rejected }
    }
}

#[inline]
fn length_of(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("a key or value of less than 2 GiB")
}
