//! CSV files in a directory: one header, one row for each message, in the columns that the plugin declares.
//!
//! A file is finished some time after its first row or at a size. Its name says when it was started (UTC), the
//! partition, and the first offset in it. Other files in the directory are left alone.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use apogee_json::{Kind, Reader, Seen, Token};

use crate::message::Batch;
use crate::metrics::Counters;
use crate::plugin::quote;
use crate::sink::file::{self, PartFile};
use crate::sink::{Sink, SinkError};

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

/// Rows as [`CsvSink`] writes them.
pub struct Csv {
    _columns: Vec<String>,
    _escape_formulas: bool,
}

impl Csv {
    pub fn new(columns: Vec<String>, escape_formulas: bool) -> Self {
        Self { _columns: columns, _escape_formulas: escape_formulas }
    }
}

impl crate::sink::files::Format for Csv {
    const EXTENSION: &'static str = "csv";
    const SCHEME: &'static str = "csv";

    fn begin(&mut self, _file: &mut Vec<u8>) -> Result<(), String> {
        todo!()
    }

    fn append(&mut self, _batch: &Batch, _file: &mut Vec<u8>) -> Result<(), (String, String)> {
        todo!()
    }
}

impl Options {
    pub fn rolling(&self, interval: Duration) -> crate::sink::files::Rolling {
        crate::sink::files::Rolling { every: self.every, size: self.size, interval }
    }
}

/// Removes the unfinished files of killed runs; says how many.
pub fn prepare(options: &Options) -> Result<usize, SinkError> {
    file::remove_abandoned(&options.directory)
}

/// The rows of one partition. A message is a JSON object of the declared columns: a missing one and a null are
/// empty cells, numbers and booleans stand as they are, arrays and objects as JSON.
pub struct CsvSink {
    options: Options,
    columns: Vec<String>,
    partition: i32,
    counters: Counters,
    open: Option<(PartFile, Instant)>,
    rows: csv::Writer<Vec<u8>>,
    reader: Reader,
    /// Where each column is among the fields of a message of the present shape.
    places: Vec<Option<usize>>,
}

impl CsvSink {
    pub fn new(options: Options, columns: Vec<String>, partition: i32, counters: Counters) -> Self {
        let places = vec![None; columns.len()];
        let reader = Reader::flat();
        Self { options, columns, partition, counters, open: None, rows: writer(), reader, places }
    }

    fn open(&mut self, first: i64) -> Result<&mut PartFile, SinkError> {
        if self.open.is_none() {
            let started = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ");
            let name = format!("{started}-{}-{first}.csv", self.partition);
            self.open = Some((PartFile::create(&self.options.directory, &name)?, Instant::now()));
            self.rows.write_record(&self.columns).map_err(|error| self.unwritten(error.into()))?;
        }
        match &mut self.open {
            Some((file, _)) => Ok(file),
            None => unreachable!("it was opened above"),
        }
    }

    fn row(&mut self, value: Option<&[u8]>) -> Result<(), SinkError> {
        let text = value.unwrap_or(b"null");
        if let Err(problem) = self.read(text) {
            return Err(SinkError::Message {
                sink: self.name(),
                problem,
                excerpt: quote(&String::from_utf8_lossy(&text[..text.len().min(100)])),
            });
        }
        let tokens = self.reader.tokens();
        for place in &self.places {
            let cell = place.map(|place| content(tokens[place], text, self.options.escape_formulas));
            let written = self.rows.write_field(cell.unwrap_or_default());
            written.map_err(|error| self.unwritten(error.into()))?;
        }
        self.rows.write_record(None::<&[u8]>).map_err(|error| self.unwritten(error.into()))
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

    fn unwritten(&self, error: std::io::Error) -> SinkError {
        SinkError::File { path: self.options.directory.clone(), error }
    }

    fn name(&self) -> String {
        format!("csv:{}", self.options.directory.display())
    }
}

impl CsvSink {
    fn write(&mut self, batch: &Batch, first: i64) -> Result<(), SinkError> {
        self.open(first)?;
        for value in &batch.values {
            self.row(value)?;
        }
        let rows = std::mem::replace(&mut self.rows, writer()).into_inner();
        let mut rows = rows.map_err(|error| self.unwritten(std::io::Error::other(error.to_string())))?;
        self.open(first)?.write(&rows)?;
        rows.clear();
        self.rows = csv::Writer::from_writer(rows);
        Ok(())
    }

    fn due(&self, now: Instant) -> bool {
        self.open.as_ref().is_some_and(|(file, started)| {
            now.duration_since(*started) >= self.options.every || file.written() >= self.options.size
        })
    }

    fn commit(&mut self) -> Result<(), SinkError> {
        if let Some((file, _)) = self.open.take() {
            file.finish()?;
            self.counters.add("files", 1);
        }
        Ok(())
    }
}

fn writer() -> csv::Writer<Vec<u8>> {
    csv::Writer::from_writer(Vec::new())
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
    use std::fs;
    use std::path::Path;

    use super::*;

    fn sink(directory: &Path, columns: &[&str], escape_formulas: bool) -> CsvSink {
        let options =
            Options { directory: directory.to_owned(), every: Duration::from_secs(3600), size: 50, escape_formulas };
        CsvSink::new(options, columns.iter().map(|c| (*c).to_owned()).collect(), 0, Counters::default())
    }

    fn batch(values: &[&str]) -> Batch {
        let mut batch = Batch::new();
        values.iter().for_each(|value| batch.push(None, Some(value.as_bytes()), 0));
        batch
    }

    fn read(directory: &Path) -> String {
        let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
    }

    #[test]
    fn rows_have_the_declared_columns_whatever_the_order_of_the_fields() {
        let directory = tempfile::tempdir().unwrap();
        let mut sink = sink(directory.path(), &["a", "b", "c"], false);
        let values =
            [r#"{"a": 1.50, "b": "x", "c": null}"#, r#"{"c": [1, {"d": 2}], "a": true}"#, r#"{"b": "\u00e9\n"}"#];
        sink.write(&batch(&values), 0).unwrap();
        sink.commit().unwrap();
        assert_eq!(read(directory.path()), "a,b,c\n1.50,x,\ntrue,,\"[1, {\"\"d\"\": 2}]\"\n,\"é\n\",\n");
    }

    #[test]
    fn cells_survive_a_round_trip() {
        let directory = tempfile::tempdir().unwrap();
        let mut sink = sink(directory.path(), &["a", "b"], false);
        let cells = [["\"quoted\"", "a,b"], ["two\r\nlines", "nul\0"], ["=cmd|'/C calc'!A0", "é\t"], ["", "'"]];
        let values = cells.map(|[a, b]| serde_json::json!({ "a": a, "b": b }).to_string());
        sink.write(&batch(&values.each_ref().map(String::as_str)), 0).unwrap();
        sink.commit().unwrap();
        let text = read(directory.path());
        let rows = csv::Reader::from_reader(text.as_bytes()).into_records().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(rows.len(), cells.len());
        for (row, cells) in rows.iter().zip(cells) {
            assert_eq!(row.iter().collect::<Vec<_>>(), cells);
        }
    }

    #[test]
    fn formulas_are_escaped_on_request_and_numbers_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let mut sink = sink(directory.path(), &["a", "b"], true);
        sink.write(&batch(&[r#"{"a": "=cmd()", "b": "-85.6433"}"#, r#"{"a": "@x", "b": -1}"#]), 0).unwrap();
        sink.commit().unwrap();
        assert_eq!(read(directory.path()), "a,b\n'=cmd(),-85.6433\n'@x,-1\n");
    }

    #[test]
    fn a_file_is_due_by_size_or_time_and_invisible_before() {
        let directory = tempfile::tempdir().unwrap();
        let mut sink = sink(directory.path(), &["a"], false);
        sink.write(&batch(&[r#"{"a": 1}"#]), 7).unwrap();
        assert!(!sink.due(Instant::now()));
        assert!(sink.due(Instant::now() + Duration::from_secs(3600)));
        sink.write(&batch(&[r#"{"a": "a text of more than fifty bytes, so that the file is full"}"#]), 8).unwrap();
        assert!(sink.due(Instant::now()));
        let visible = || {
            fs::read_dir(directory.path())
                .unwrap()
                .filter(|entry| !entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'))
                .count()
        };
        assert_eq!(visible(), 0);
        sink.commit().unwrap();
        assert_eq!(visible(), 1);
        drop(sink);
        assert_eq!(visible(), 1);
    }

    #[test]
    fn what_is_not_an_object_of_the_columns_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let mut sink = sink(directory.path(), &["a"], false);
        for (value, problem) in [("[1]", "an array instead of an object"), (r#"{"b": 1}"#, r#"a field "b" that the"#)] {
            let error = sink.write(&batch(&[value]), 0).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        drop(sink);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
