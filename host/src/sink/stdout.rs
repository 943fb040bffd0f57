//! JSON lines on standard output: one line for each message's value.

use std::io::{ErrorKind, Write};
use std::time::Instant;

use serde_json::value::RawValue;

use crate::checkpoint::Checkpoint;
use crate::message::Batch;
use crate::sink::{Kept, Positions, Refused, Sink, SinkError, Step};

/// A commit is due when so many bytes of lines wait for it, whatever it is held up for.
const FULL: usize = 1 << 20;

/// Writes to standard output, visible at each commit. A value that is not JSON becomes a JSON string, and the control
/// characters that JSON allows in strings (U+007F to U+009F) are escaped, so that nothing in a message can steer the
/// terminal. What was shown cannot be taken back, so a message has its effect at least once.
pub struct StdoutSink {
    lines: Vec<u8>,
    /// Where state and checkpoints are kept; `None` without state.
    store: Option<Box<dyn Sink>>,
}

impl StdoutSink {
    pub fn new(store: Option<Box<dyn Sink>>) -> Self {
        Self { lines: Vec::new(), store }
    }
}

impl Sink for StdoutSink {
    fn place(&self) -> String {
        self.store.as_ref().map_or_else(String::new, |store| store.place())
    }

    fn exactly_once(&self) -> bool {
        false
    }

    fn open(&mut self, partition: i32) -> Result<Option<Checkpoint>, SinkError> {
        self.store.as_mut().map_or(Ok(None), |store| store.open(partition))
    }

    fn kept(&self, last: &Checkpoint) -> Result<Kept, SinkError> {
        match &self.store {
            Some(store) => store.kept(last),
            None => Ok(Box::new(|_| Ok(()))),
        }
    }

    fn write(&mut self, _partition: i32, batch: &Batch, _first: i64) -> Result<Vec<Refused>, SinkError> {
        for value in &batch.values {
            line(value, &mut self.lines);
        }
        Ok(Vec::new())
    }

    /// What a person waits for is shown at once.
    fn due(&self, since: Instant) -> Instant {
        match &self.store {
            Some(store) if self.lines.is_empty() => store.due(since),
            _ => since,
        }
    }

    fn full(&self) -> bool {
        self.lines.len() > FULL || self.store.as_ref().is_some_and(|store| store.full())
    }

    fn abort(&mut self) -> Result<(), SinkError> {
        self.lines.clear();
        self.store.as_mut().map_or(Ok(()), |store| store.abort())
    }

    fn commit(&mut self, step: Step<'_>) -> Result<Positions, SinkError> {
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(&self.lines).and_then(|()| stdout.flush());
        drop(stdout);
        self.lines.clear();
        written.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => SinkError::Closed,
            _ => SinkError::File { path: "standard output".into(), error },
        })?;
        self.store.as_mut().map_or(Ok(Positions::Open), |store| store.commit(step))
    }

    fn close(&mut self, partition: i32) -> Result<(), SinkError> {
        self.store.as_mut().map_or(Ok(()), |store| store.close(partition))
    }
}

/// Appends a value as one line of JSON, fit for a terminal.
pub fn line(value: Option<&[u8]>, lines: &mut Vec<u8>) {
    let value = value.unwrap_or(b"null");
    let plain = !value.iter().any(|b| matches!(b, b'\n' | b'\r'));
    if plain && serde_json::from_slice::<&RawValue>(value).is_ok() {
        push_json(value, lines);
    } else {
        let json = serde_json::from_slice(value)
            .unwrap_or_else(|_| serde_json::Value::String(String::from_utf8_lossy(value).into_owned()));
        push_json(json.to_string().as_bytes(), lines);
    }
    lines.push(b'\n');
}

/// Appends JSON, which can have U+007F to U+009F only in its strings, with these as `\u00XX`.
pub fn push_json(mut json: &[u8], lines: &mut Vec<u8>) {
    // In UTF-8, U+0080 to U+009F are 0xC2 and the character's own byte.
    let control = |json: &[u8]| {
        let found = json.iter().zip(json.iter().skip(1).chain([&0])).position(|(byte, next)| match byte {
            0x7f => true,
            0xc2 => (0x80..=0x9f).contains(next),
            _ => false,
        })?;
        Some((found, if json[found] == 0x7f { 1 } else { 2 }))
    };
    while let Some((at, length)) = control(json) {
        lines.extend_from_slice(&json[..at]);
        lines.extend_from_slice(format!("\\u{:04x}", json[at + length - 1]).as_bytes());
        json = &json[at + length..];
    }
    lines.extend_from_slice(json);
}

#[cfg(test)]
mod tests {
    use super::{FULL, StdoutSink, line};
    use crate::message::Batch;
    use crate::sink::Sink;

    #[test]
    fn lines_that_wait_for_a_commit_are_bounded_and_dropped_by_an_abort() {
        let mut sink = StdoutSink::new(None);
        let mut batch = Batch::new();
        batch.push(None, Some("1".repeat(FULL).as_bytes()), 1);
        sink.write(0, &batch, 0).unwrap();
        assert!(sink.full());
        sink.abort().unwrap();
        assert!(!sink.full() && sink.lines.is_empty());
    }

    #[test]
    fn every_value_is_one_line_of_json() {
        let mut lines = Vec::new();
        for value in [Some(&b"{\"a\": 1}"[..]), Some(b"{\n\"a\":\n1}"), None, Some(b"\x1b[31mred\n"), Some(b"\xff")] {
            line(value, &mut lines);
        }
        let expected = "{\"a\": 1}\n{\"a\":1}\nnull\n\"\\u001b[31mred\\n\"\n\"\u{fffd}\"\n";
        assert_eq!(String::from_utf8_lossy(&lines), expected);
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        let text = "\u{7f}\u{80}a\u{9b}31m\u{9f}\u{a0}é\u{c2}\u{7e}";
        let escaped = "\"\\u007f\\u0080a\\u009b31m\\u009f\u{a0}é\u{c2}\u{7e}\"\n";
        // As valid JSON, as JSON over two lines, as what is not JSON.
        for value in [format!("\"{text}\""), format!("\n\"{text}\""), text.to_owned()] {
            let mut lines = Vec::new();
            line(Some(value.as_bytes()), &mut lines);
            assert_eq!(String::from_utf8(lines).unwrap(), escaped);
        }
    }
}
