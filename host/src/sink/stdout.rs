//! JSON lines on standard output: one line for each message's value.

use std::io::{ErrorKind, Write};
use std::time::Instant;

use serde_json::value::RawValue;

use crate::message::Batch;
use crate::sink::{Sink, SinkError};

/// Writes to standard output, visible at each commit. A value that is not JSON becomes a JSON string, so that
/// nothing in a message can steer the terminal.
#[derive(Default)]
pub struct StdoutSink {
    lines: Vec<u8>,
}

impl Sink for StdoutSink {
    fn write(&mut self, batch: &Batch, _first: i64) -> Result<(), SinkError> {
        for value in &batch.values {
            line(value, &mut self.lines);
        }
        Ok(())
    }

    fn due(&self, _now: Instant) -> bool {
        !self.lines.is_empty()
    }

    fn commit(&mut self) -> Result<(), SinkError> {
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(&self.lines).and_then(|()| stdout.flush());
        self.lines.clear();
        written.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => SinkError::Closed,
            _ => SinkError::File { path: "standard output".into(), error },
        })
    }
}

fn line(value: Option<&[u8]>, lines: &mut Vec<u8>) {
    let value = value.unwrap_or(b"null");
    let plain = !value.iter().any(|b| matches!(b, b'\n' | b'\r'));
    if plain && serde_json::from_slice::<&RawValue>(value).is_ok() {
        lines.extend_from_slice(value);
    } else {
        let json = serde_json::from_slice(value)
            .unwrap_or_else(|_| serde_json::Value::String(String::from_utf8_lossy(value).into_owned()));
        lines.extend_from_slice(json.to_string().as_bytes());
    }
    lines.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn every_value_is_one_line_of_json() {
        let mut lines = Vec::new();
        for value in [Some(&b"{\"a\": 1}"[..]), Some(b"{\n\"a\":\n1}"), None, Some(b"\x1b[31mred\n"), Some(b"\xff")] {
            line(value, &mut lines);
        }
        let expected = "{\"a\": 1}\n{\"a\":1}\nnull\n\"\\u001b[31mred\\n\"\n\"\u{fffd}\"\n";
        assert_eq!(String::from_utf8_lossy(&lines), expected);
    }
}
