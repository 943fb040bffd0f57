//! CSV: one header, one row for each message, in the columns that the plugin declares.
//!
//! A message is a JSON object of the declared columns: a missing one and a null are empty cells, numbers and booleans
//! stand as they are, arrays and objects as JSON. A message of another form is refused. Files may be compressed with gzip.

use std::borrow::Cow;
use std::io::{self, Write};

use apogee_json::{Kind, Reader, Seen, Token};
use flate2::write::GzEncoder;

use crate::message::Batch;
use crate::sink::Refused;
use crate::sink::files::{self, Format};

/// Where, and when a file is complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub files: files::Options,
    pub compression: Compression,
    /// Puts `'` before a text that a spreadsheet would run as a formula.
    pub escape_formulas: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
}

/// Rows of the declared columns.
pub struct Csv {
    columns: Vec<String>,
    escape_formulas: bool,
    reader: Reader,
    /// Where each column is among the fields of a message of the present shape.
    places: Vec<Option<usize>>,
    compression: Compression,
    /// Rows that are to be compressed; empty between calls.
    rows: Vec<u8>,
}

impl Csv {
    /// Not compressed.
    pub fn new(columns: Vec<String>, escape_formulas: bool) -> Self {
        let (places, compression) = (vec![None; columns.len()], Compression::None);
        Self { columns, escape_formulas, reader: Reader::flat(), places, compression, rows: Vec::new() }
    }

    pub fn compressed(self, compression: Compression) -> Self {
        Self { compression, ..self }
    }

    /// Appends rows as they are.
    fn rows(&mut self, batch: &Batch, bytes: &mut Vec<u8>) -> io::Result<Vec<Refused>> {
        let mut rows = csv::Writer::from_writer(bytes);
        let mut refused = Vec::new();
        for (message, value) in (0..).zip(&batch.values) {
            if let Err(reason) = self.row(value.unwrap_or(b"null"), &mut rows) {
                refused.push(Refused { message, cause: "not of the columns", reason });
            }
        }
        rows.flush()?;
        Ok(refused)
    }

    /// Writes a row, or nothing.
    fn row(&mut self, text: &[u8], rows: &mut csv::Writer<&mut Vec<u8>>) -> Result<(), String> {
        self.read(text)?;
        let tokens = self.reader.tokens();
        let cells = self
            .places
            .iter()
            .map(|place| place.map(|place| content(tokens[place], text, self.escape_formulas)).unwrap_or_default());
        rows.write_record(cells).map_err(|error| error.to_string())
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

/// A file is one member of gzip, whole with its checksum and its length.
impl Format for Csv {
    const EXTENSION: &'static str = "csv";
    const SCHEME: &'static str = "csv";

    type File = Option<GzEncoder<Vec<u8>>>;

    fn extension(&self) -> &'static str {
        match self.compression {
            Compression::None => Self::EXTENSION,
            Compression::Gzip => "csv.gz",
        }
    }

    fn begin(&mut self, bytes: &mut Vec<u8>) -> io::Result<Self::File> {
        let mut header = csv::Writer::from_writer(Vec::new());
        header.write_record(&self.columns)?;
        let header = header.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
        if self.compression == Compression::None {
            bytes.extend_from_slice(&header);
            return Ok(None);
        }
        let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&header)?;
        Ok(Some(gzip))
    }

    fn append(&mut self, file: &mut Self::File, batch: &Batch, bytes: &mut Vec<u8>) -> io::Result<Vec<Refused>> {
        let Some(gzip) = file else { return self.rows(batch, bytes) };
        let mut rows = std::mem::take(&mut self.rows);
        let refused = self.rows(batch, &mut rows)?;
        gzip.write_all(&rows)?;
        bytes.append(gzip.get_mut());
        rows.clear();
        self.rows = rows;
        Ok(refused)
    }

    fn finish(&mut self, file: Self::File, bytes: &mut Vec<u8>) -> io::Result<()> {
        if let Some(gzip) = file {
            bytes.append(&mut gzip.finish()?);
        }
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
    fn write(columns: &[&str], escape_formulas: bool, values: &[&str]) -> (String, Vec<Refused>) {
        let mut csv = Csv::new(columns.iter().map(|c| (*c).to_owned()).collect(), escape_formulas);
        let mut batch = Batch::new();
        values.iter().for_each(|value| batch.push(None, Some(value.as_bytes()), 0));
        let mut bytes = Vec::new();
        let mut file = csv.begin(&mut bytes).unwrap();
        let refused = csv.append(&mut file, &batch, &mut bytes).unwrap();
        csv.finish(file, &mut bytes).unwrap();
        (String::from_utf8(bytes).unwrap(), refused)
    }

    #[test]
    fn rows_have_the_declared_columns_whatever_the_order_of_the_fields() {
        let values =
            [r#"{"a": 1.50, "b": "x", "c": null}"#, r#"{"c": [1, {"d": 2}], "a": true}"#, r#"{"b": "\u00e9\n"}"#];
        let text = write(&["a", "b", "c"], false, &values).0;
        assert_eq!(text, "a,b,c\n1.50,x,\ntrue,,\"[1, {\"\"d\"\": 2}]\"\n,\"é\n\",\n");
    }

    #[test]
    fn cells_survive_a_round_trip() {
        let cells = [["\"quoted\"", "a,b"], ["two\r\nlines", "nul\0"], ["=cmd|'/C calc'!A0", "é\t"], ["", "'"]];
        let values = cells.map(|[a, b]| serde_json::json!({ "a": a, "b": b }).to_string());
        let text = write(&["a", "b"], false, &values.each_ref().map(String::as_str)).0;
        let rows = csv::Reader::from_reader(text.as_bytes()).into_records().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(rows.len(), cells.len());
        for (row, cells) in rows.iter().zip(cells) {
            assert_eq!(row.iter().collect::<Vec<_>>(), cells);
        }
    }

    #[test]
    fn formulas_are_escaped_on_request_and_numbers_are_not() {
        let values = [r#"{"a": "=cmd()", "b": "-85.6433"}"#, r#"{"a": "@x", "b": -1}"#];
        assert_eq!(write(&["a", "b"], true, &values).0, "a,b\n'=cmd(),-85.6433\n'@x,-1\n");
    }

    #[test]
    fn what_is_not_an_object_of_the_columns_is_refused_alone() {
        for (value, problem) in [("[1]", "an array instead of an object"), (r#"{"b": 1}"#, r#"a field "b" that the"#)] {
            let (text, refused) = write(&["a"], false, &[r#"{"a": 1}"#, value, r#"{"a": 2}"#]);
            assert_eq!((text.as_str(), refused.len(), refused[0].message), ("a\n1\n2\n", 1, 1));
            assert!(refused[0].reason.contains(problem), "{refused:?}");
        }
    }
}
