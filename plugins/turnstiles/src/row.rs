//! A message as one row of CSV (RFC 4180): its cells.

use csv_core::{ReadRecordResult, Reader};

/// Reads one row after the other into the same buffers.
pub struct Row {
    parser: Reader,
    /// The cells end to end, and where each ends. Both only grow.
    text: Vec<u8>,
    ends: Vec<usize>,
    count: usize,
}

impl Row {
    pub fn new() -> Self {
        Self { parser: Reader::new(), text: Vec::new(), ends: vec![0; 32], count: 0 }
    }

    /// Reads a message, with or without the end of its line; the error says why it is not one row.
    pub fn read(&mut self, message: &[u8]) -> Result<(), &'static str> {
        let end = message.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).ok_or("it is empty")?;
        let message = &message[..=end];
        self.parser.reset();
        self.count = 0;
        self.text.resize(self.text.len().max(message.len() + 1), 0);
        let mut written = 0;
        // A row ends with its line; inside of quotes that is no end.
        for (mut rest, ends) in [(message, false), (&b"\n"[..], true)] {
            while !rest.is_empty() {
                let (result, read, wrote, ended) =
                    self.parser.read_record(rest, &mut self.text[written..], &mut self.ends[self.count..]);
                rest = &rest[read..];
                (written, self.count) = (written + wrote, self.count + ended);
                if self.count == self.ends.len() {
                    self.ends.resize(2 * self.count, 0);
                }
                match result {
                    ReadRecordResult::Record if ends => return Ok(()),
                    ReadRecordResult::Record => return Err("it has more than one row"),
                    _ => {}
                }
            }
        }
        Err("it opens a quote that is never closed")
    }

    /// How many cells there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// One of them.
    pub fn cell(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[number]]
    }
}
