//! JSON lines: each line is a message as it is. Whether it is JSON is for a plugin to say.

use super::reader::{Records, Step};

/// Lines that end with a newline, or with a carriage return and a newline. Blank lines are passed over.
pub struct JsonLines;

impl Records for JsonLines {
    fn next(&mut self, input: &[u8], end: bool, value: &mut Vec<u8>) -> Result<Step, String> {
        let (line, length) = match memchr::memchr(b'\n', input) {
            Some(newline) => (&input[..newline], newline + 1),
            None if end => (input, input.len()),
            None => return Ok(Step::More),
        };
        if line.trim_ascii().is_empty() {
            return Ok(Step::Skip(length));
        }
        value.clear();
        value.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        Ok(Step::Message(length))
    }

    fn skip(&mut self, input: &[u8]) -> (usize, bool) {
        match memchr::memchr(b'\n', input) {
            Some(newline) => (newline + 1, true),
            None => (input.len(), false),
        }
    }

    fn wants_first(&self) -> bool {
        false
    }
}
