//! CSV (RFC 4180, any delimiter): each row is a JSON object or array of strings.
//!
//! The first row says how many fields every row has; a row with another number is bad. A quoted field
//! may hold newlines, and one that never ends is not taken for a field. So a quote that is not closed takes the rows
//! up to the next quote into its field, and is noticed only where no quote follows, at the end of the file. Types are
//! for a plugin to give.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::reader::{Problem, Records, Step};

/// Rows of CSV.
pub struct Csv {
    parser: Reader,
    header: bool,
    /// What stands before each field in a message: `{"name":` or `[`, then with commas. Empty until
    /// the first row is read.
    before: Vec<Vec<u8>>,
    /// The fields of a row end to end, and where each ends. Both only grow.
    text: Vec<u8>,
    ends: Vec<usize>,
}

/// A row in `text` and `ends`.
struct Row {
    /// Its bytes in the file.
    length: usize,
    fields: usize,
    /// Whether its last quote is closed.
    closed: bool,
}

impl Csv {
    pub fn new(header: bool, delimiter: u8) -> Self {
        let parser = ReaderBuilder::new().delimiter(delimiter).build();
        Self { parser, header, before: Vec::new(), text: Vec::new(), ends: vec![0; 64] }
    }

    /// The row at the start of `input`; `None` where it goes on after it.
    fn row(&mut self, input: &[u8], end: bool) -> Option<Row> {
        self.parser.reset();
        if self.text.len() <= input.len() {
            self.text.resize(input.len() + 1, 0);
        }
        let (mut length, mut written, mut fields, mut closing) = (0, 0, 0, false);
        loop {
            // To the parser, an empty input is the end of the file.
            let rest = if closing { &b"\n"[..] } else { &input[length..] };
            let (result, read, wrote, ended) =
                self.parser.read_record(rest, &mut self.text[written..], &mut self.ends[fields..]);
            length = (length + read).min(input.len());
            (written, fields) = (written + wrote, fields + ended);
            if fields == self.ends.len() {
                self.ends.resize(2 * fields, 0);
            }
            match result {
                ReadRecordResult::Record => {
                    return Some(Row { length, fields, closed: true });
                }
                _ if closing => {
                    return Some(Row { length, fields, closed: false });
                }
                _ if length < input.len() => {}
                // The last row may lack its newline, unless it is inside of quotes.
                _ if end => closing = true,
                _ => return None,
            }
        }
    }

    /// The `n`-th field of the row that was read last.
    fn field(&self, n: usize) -> Result<&str, Problem> {
        let start = if n == 0 { 0 } else { self.ends[n - 1] };
        std::str::from_utf8(&self.text[start..self.ends[n]]).map_err(|_| Problem {
            cause: "not utf-8",
            reason: format!("has bytes that are not UTF-8 in field {}", n + 1),
        })
    }

    /// Learns from the first row what every row looks like.
    fn learn(&mut self, row: &Row) -> Result<(), String> {
        if !row.closed {
            return Err("its first row opens a quote that is never closed".to_owned());
        }
        let mut before = Vec::with_capacity(row.fields);
        for n in 0..row.fields {
            let opening = match (self.header, n) {
                (false, 0) => "[".to_owned(),
                (false, _) => ",".to_owned(),
                (true, n) => {
                    let name = self.field(n).map_err(|problem| format!("its header {}", problem.reason))?;
                    if (0..n).any(|other| self.field(other) == Ok(name)) {
                        let shown: String = name.chars().take(100).collect();
                        return Err(format!(
                            "its header names two columns {shown:?}; rename one, or read it without header"
                        ));
                    }
                    let name = serde_json::to_string(name).map_err(|error| error.to_string())?;
                    format!("{}{name}:", if n == 0 { '{' } else { ',' })
                }
            };
            before.push(opening.into_bytes());
        }
        self.before = before;
        Ok(())
    }

    fn write(&self, row: &Row, value: &mut Vec<u8>) -> Result<(), Problem> {
        if !row.closed {
            let reason =
                "opens a quote that is never closed; what follows in the file was read as part of it".to_owned();
            return Err(Problem { cause: "open quote", reason });
        }
        if row.fields != self.before.len() {
            let reason = format!("has {} fields where the first row has {}", row.fields, self.before.len());
            return Err(Problem { cause: "number of fields", reason });
        }
        value.clear();
        for (n, before) in self.before.iter().enumerate() {
            value.extend_from_slice(before);
            serde_json::to_writer(&mut *value, self.field(n)?)
                .map_err(|error| Problem { cause: "not a string", reason: error.to_string() })?;
        }
        value.push(if self.header { b'}' } else { b']' });
        Ok(())
    }
}

impl Records for Csv {
    fn next(&mut self, input: &[u8], end: bool, value: &mut Vec<u8>) -> Result<Step, String> {
        let blank = input.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        if blank > 0 {
            return Ok(Step::Skip(blank));
        }
        let Some(row) = self.row(input, end) else {
            return Ok(Step::More);
        };
        if self.wants_first() {
            self.learn(&row)?;
            if self.header {
                return Ok(Step::Skip(row.length));
            }
        }
        Ok(match self.write(&row, value) {
            Ok(()) => Step::Message(row.length),
            Err(problem) => Step::Bad(row.length, problem),
        })
    }

    fn skip(&mut self, input: &[u8]) -> (usize, bool) {
        let mut read = 0;
        while read < input.len() {
            let (result, bytes, ..) = self.parser.read_record(&input[read..], &mut self.text, &mut self.ends);
            read += bytes;
            if result == ReadRecordResult::Record {
                return (read, true);
            }
        }
        (read, false)
    }

    fn wants_first(&self) -> bool {
        self.before.is_empty()
    }
}
