//! CSV: one header, one row for each message, in the columns that the plugin declares.
//!
//! A message is a JSON object of the declared columns: a missing one and a null are empty cells, numbers and booleans
//! stand as they are, arrays and objects as JSON. A message of another form is refused.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use apogee_json::{Kind, Reader, Seen, Token};

use crate::message::Batch;
use crate::sink::files::{Format, Rolling, Unfit};

/// Where, and when a file is complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub directory: PathBuf,
    /// A file is finished this long after its first row …
    pub every: Duration,
    /// … or at this size in bytes, whichever comes first.
    pub size: u64,
    /// Puts `'` before a text that a spreadsheet would run as a formula.
    pub escape_formulas: bool,
}

impl Options {
    pub fn rolling(&self, interval: Duration) -> Rolling {
        Rolling { every: self.every, size: self.size, interval }
    }
}

/// Rows of the declared columns.
pub struct Csv {
    columns: Vec<String>,
    escape_formulas: bool,
    reader: Reader,
    /// Where each column is among the fields of a message of the present shape.
    places: Vec<Option<usize>>,
}

impl Csv {
    pub fn new(columns: Vec<String>, escape_formulas: bool) -> Self {
        let places = vec![None; columns.len()];
        Self { columns, escape_formulas, reader: Reader::flat(), places }
    }

    fn row(&mut self, text: &[u8], rows: &mut csv::Writer<&mut Vec<u8>>) -> Result<(), String> {
        self.read(text)?;
        let tokens = self.reader.tokens();
        for place in &self.places {
            let cell = place.map(|place| content(tokens[place], text, self.escape_formulas));
            rows.write_field(cell.unwrap_or_default()).map_err(|error| error.to_string())?;
        }
        rows.write_record(None::<&[u8]>).map_err(|error| error.to_string())
    }

    /// Reads a message, and finds the columns anew where it has another shape than the last one.
    fn read(&mut self, text: &[u8]) -> Result<(), String> {
        if self.reader.read(text).map_err(|error| error.to_string())? == Seen::Same {
            return Ok(());
        }
        let mut names = (0..self.reader.len()).map(|field| self.reader.name(field));
        if let Some(unknown) = names.find(|name| !self.columns.iter().any(|column| column == name)) {
            let problem = format!("a field {unknown:?} that the plugin does not declare");
            // A shape without places must not be taken for one that has them.
            self.reader = Reader::flat();
            return Err(problem);
        }
        self.places = self.columns.iter().map(|column| self.reader.find(column)).collect();
        Ok(())
    }
}

impl Format for Csv {
    const EXTENSION: &'static str = "csv";
    const SCHEME: &'static str = "csv";

    type File = ();

    fn begin(&mut self, bytes: &mut Vec<u8>) -> std::io::Result<()> {
        let mut rows = csv::Writer::from_writer(bytes);
        rows.write_record(&self.columns)?;
        rows.flush()
    }

    fn append(&mut self, (): &mut (), batch: &Batch, bytes: &mut Vec<u8>) -> Result<(), Unfit> {
        let mut rows = csv::Writer::from_writer(bytes);
        for value in &batch.values {
            let message = value.unwrap_or(b"null");
            self.row(message, &mut rows).map_err(|problem| Unfit { problem, message: message.to_vec() })?;
        }
        // Writing to memory, it does not fail.
        rows.flush().map_err(|error| Unfit { problem: error.to_string(), message: Vec::new() })
    }

    fn finish(&mut self, (): (), _bytes: &mut Vec<u8>) -> std::io::Result<()> {
        Ok(())
    }
}

fn content(cell: Token, text: &[u8], escape_formulas: bool) -> Cow<'_, [u8]> {
    let content = match cell.kind {
        Kind::Null => return Cow::Borrowed(b""),
        _ => cell.content(text),
    };
    // A spreadsheet takes these for the beginning of a formula: https://owasp.org/www-community/attacks/CSV_Injection
    let formula = escape_formulas
        && cell.is_text()
        && matches!(content.first(), Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r'))
        && !str::from_utf8(&content).is_ok_and(|text| text.parse::<f64>().is_ok());
    if formula { [b"'", &*content].concat().into() } else { content }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file of these messages holds.
    fn write(columns: &[&str], escape_formulas: bool, values: &[&str]) -> Result<String, Unfit> {
        let mut csv = Csv::new(columns.iter().map(|c| (*c).to_owned()).collect(), escape_formulas);
        let mut batch = Batch::new();
        values.iter().for_each(|value| batch.push(None, Some(value.as_bytes()), 0));
        let mut bytes = Vec::new();
        csv.begin(&mut bytes).unwrap();
        csv.append(&mut (), &batch, &mut bytes)?;
        csv.finish((), &mut bytes).unwrap();
        Ok(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn rows_have_the_declared_columns_whatever_the_order_of_the_fields() {
        let values =
            [r#"{"a": 1.50, "b": "x", "c": null}"#, r#"{"c": [1, {"d": 2}], "a": true}"#, r#"{"b": "\u00e9\n"}"#];
        let text = write(&["a", "b", "c"], false, &values).unwrap();
        assert_eq!(text, "a,b,c\n1.50,x,\ntrue,,\"[1, {\"\"d\"\": 2}]\"\n,\"é\n\",\n");
    }

    #[test]
    fn cells_survive_a_round_trip() {
        let cells = [["\"quoted\"", "a,b"], ["two\r\nlines", "nul\0"], ["=cmd|'/C calc'!A0", "é\t"], ["", "'"]];
        let values = cells.map(|[a, b]| serde_json::json!({ "a": a, "b": b }).to_string());
        let text = write(&["a", "b"], false, &values.each_ref().map(String::as_str)).unwrap();
        let rows = csv::Reader::from_reader(text.as_bytes()).into_records().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(rows.len(), cells.len());
        for (row, cells) in rows.iter().zip(cells) {
            assert_eq!(row.iter().collect::<Vec<_>>(), cells);
        }
    }

    #[test]
    fn formulas_are_escaped_on_request_and_numbers_are_not() {
        let values = [r#"{"a": "=cmd()", "b": "-85.6433"}"#, r#"{"a": "@x", "b": -1}"#];
        assert_eq!(write(&["a", "b"], true, &values).unwrap(), "a,b\n'=cmd(),-85.6433\n'@x,-1\n");
    }

    #[test]
    fn what_is_not_an_object_of_the_columns_is_an_error() {
        for (value, problem) in [("[1]", "an array instead of an object"), (r#"{"b": 1}"#, r#"a field "b" that the"#)] {
            let unfit = write(&["a"], false, &[r#"{"a": 1}"#, value]).unwrap_err();
            assert!(unfit.problem.contains(problem), "{unfit:?}");
            assert_eq!(unfit.message, value.as_bytes());
        }
    }
}
