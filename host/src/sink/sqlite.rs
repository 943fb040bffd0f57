//! A table in a SQLite file: rows, state and checkpoint in one transaction.
//!
//! The file is one of the embedded log's, with the same checkpoints ([`EmbeddedSink`] keeps them); the rows of a table
//! take the place of a topic's messages. Exactly once follows: a transaction that was interrupted at whatever point left
//! neither rows nor checkpoint, and one that was done has both, so that the input before it is not read again. Where the
//! file is the very one of the pipeline's log, the group's positions are in the transaction, too.
//!
//! A message is a JSON object of the declared columns: a missing one and a null are NULL, booleans are 0 and 1, times are
//! text as RFC 3339 has it. One of another form is refused alone.

use std::path::PathBuf;
use std::time::Duration;

use apogee_json::{Kind as Json, Reader, Seen, Token, excerpt};

use crate::log::embedded::Embedded;
use crate::log::embedded::table::{Cell, Column, Rows, Table, Type};
use crate::log::embedded::writer::{MESSAGE_BYTES, PENDING_BYTES, PENDING_MESSAGES};
use crate::message::Batch;
use crate::plugin::{Field, Kind};
use crate::sink::embedded::EmbeddedSink;
use crate::sink::{Refused, SinkError};

/// Which table.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub path: PathBuf,
    pub table: String,
    /// The columns that say which row a message is of: a later message replaces it. Without any, every message is a row
    /// of its own.
    pub key: Vec<String>,
}

/// Opens the table, which is made where it is absent; `log` is the file that it is in.
pub fn open(
    log: Embedded,
    group: &str,
    options: &Options,
    fields: &[Field],
    interval: Duration,
) -> Result<EmbeddedSink, SinkError> {
    let writer = Writer::new(options, fields)?;
    let place = format!("sqlite:{}?group={group}", options.path.display());
    match log.prepare(&writer.table, group)? {
        Ok(()) => Ok(EmbeddedSink::of_table(log, group, place, writer, interval)),
        Err(what) => Err(SinkError::Place { place: format!("sqlite:{}", options.path.display()), what }),
    }
}

/// Refuses a key that is not of the fields, and names that SQLite has no room for. Opens nothing.
pub fn check(options: &Options, fields: &[Field]) -> Result<(), SinkError> {
    Writer::new(options, fields).map(drop)
}

/// Makes rows of messages.
pub(super) struct Writer {
    pub table: Table,
    /// What is not committed.
    pub rows: Rows,
    kinds: Vec<Kind>,
    reader: Reader,
    /// Where each column is among the fields of a message of the present shape.
    places: Vec<Option<usize>>,
}

impl Writer {
    fn new(options: &Options, fields: &[Field]) -> Result<Self, SinkError> {
        let column = |field: &Field| {
            let holds = match field.kind {
                Kind::Boolean | Kind::Integer => Type::Integer,
                Kind::Float => Type::Real,
                Kind::Text | Kind::Timestamp => Type::Text,
            };
            Column { name: field.name.clone(), holds, nullable: field.nullable }
        };
        let table = Table::new(&options.table, fields.iter().map(column).collect(), &options.key);
        let sink = || format!("sqlite:{}", options.path.display());
        Ok(Self {
            table: table.map_err(|what| SinkError::Columns { sink: sink(), what })?,
            rows: Rows::default(),
            kinds: fields.iter().map(|field| field.kind).collect(),
            reader: Reader::flat(),
            places: vec![None; fields.len()],
        })
    }

    /// Takes messages, but for those that it gives back.
    pub fn write(&mut self, batch: &Batch) -> Vec<Refused> {
        let mut refused = Vec::new();
        for (message, value) in (0..).zip(&batch.values) {
            let mark = self.rows.mark();
            if let Err((cause, reason)) = self.row(value.unwrap_or(b"null")) {
                self.rows.go_back(mark);
                refused.push(Refused { message, cause, reason });
            }
        }
        refused
    }

    pub fn is_full(&self) -> bool {
        self.rows.bytes() > PENDING_BYTES || self.rows.cells() > PENDING_MESSAGES * self.kinds.len()
    }

    pub fn clear(&mut self) {
        self.rows.clear();
    }

    fn row(&mut self, text: &[u8]) -> Result<(), (&'static str, String)> {
        if text.len() > MESSAGE_BYTES {
            return Err(("too large", format!("{} bytes, where {MESSAGE_BYTES} are the most", text.len())));
        }
        self.read(text).and_then(|()| self.cells(text)).map_err(|reason| ("not of the columns", reason))
    }

    /// Reads a message, and finds the columns anew where it has another shape than the last one.
    fn read(&mut self, text: &[u8]) -> Result<(), String> {
        if self.reader.read(text).map_err(|error| error.to_string())? == Seen::Same {
            return Ok(());
        }
        let columns = self.table.columns();
        let mut names = (0..self.reader.len()).map(|field| self.reader.name(field));
        if let Some(unknown) = names.find(|name| !columns.iter().any(|column| column.name == *name)) {
            let problem = format!("a field {unknown:?} that the plugin does not declare");
            // A shape without places must not be taken for one that has them.
            self.reader = Reader::flat();
            return Err(problem);
        }
        self.places = columns.iter().map(|column| self.reader.find(&column.name)).collect();
        Ok(())
    }

    fn cells(&mut self, text: &[u8]) -> Result<(), String> {
        let Self { table, rows, kinds, reader, places, .. } = self;
        for ((place, kind), column) in places.iter().zip(kinds).zip(table.columns()) {
            let token = place.map(|place| reader.tokens()[place]).filter(|token| token.kind != Json::Null);
            let Some(token) = token else {
                if !column.nullable {
                    return Err(format!("field `{}`: missing or null", column.name));
                }
                rows.push(Cell::Null);
                continue;
            };
            if !push(token, text, *kind, rows) {
                return Err(format!("field `{}`: {} is no {kind}", column.name, excerpt(token.raw(text))));
            }
        }
        Ok(())
    }
}

/// Adds a value as a cell of a column of this kind; says whether it is one.
fn push(token: Token, text: &[u8], kind: Kind, rows: &mut Rows) -> bool {
    let number = || str::from_utf8(token.raw(text)).unwrap_or_default();
    let cell = match (kind, token.kind) {
        (Kind::Boolean, Json::True) => Some(Cell::Integer(1)),
        (Kind::Boolean, Json::False) => Some(Cell::Integer(0)),
        (Kind::Integer, Json::Integer) => number().parse().ok().map(Cell::Integer),
        (Kind::Float, Json::Integer | Json::Decimal) => {
            number().parse().ok().filter(|number: &f64| number.is_finite()).map(Cell::Real)
        }
        (Kind::Text, Json::Text | Json::Escaped) => {
            rows.push_text(&token.content(text));
            return true;
        }
        (Kind::Timestamp, Json::Text) => {
            let content = token.content(text);
            let is_time = str::from_utf8(&content).is_ok_and(|time| time.parse::<jiff::Timestamp>().is_ok());
            if is_time {
                rows.push_text(&content);
            }
            return is_time;
        }
        _ => None,
    };
    cell.map(|cell| rows.push(cell)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, kind: Kind, nullable: bool) -> Field {
        Field { name: name.to_owned(), kind, nullable }
    }

    fn options(path: &std::path::Path, table: &str, key: &[&str]) -> Options {
        Options {
            path: path.join("t.sqlite"),
            table: table.to_owned(),
            key: key.iter().map(|k| (*k).to_owned()).collect(),
        }
    }

    fn place(options: &Options, fields: &[Field]) -> String {
        let log = Embedded::open(&options.path).unwrap();
        open(log, "g", options, fields, Duration::ZERO).map(drop).unwrap_err().to_string()
    }

    #[test]
    fn a_value_of_another_kind_is_refused_alone_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let kinds = [
            ("b", Kind::Boolean, "true", "1"),
            ("i", Kind::Integer, "-7", "1.0"),
            ("f", Kind::Float, "1e3", "1e999"),
            ("t", Kind::Text, r#""a\u0000b""#, "1"),
            ("w", Kind::Timestamp, r#""2024-01-01T00:00:00Z""#, r#""yesterday""#),
        ];
        let fields: Vec<Field> = kinds.iter().map(|(name, kind, ..)| field(name, *kind, false)).collect();
        let mut writer = Writer::new(&options(folder.path(), "t", &[]), &fields).unwrap();
        let message = |wrong: Option<usize>| {
            let pair = |(n, (name, _, good, bad)): (usize, &(&str, Kind, &str, &str))| {
                format!("{name:?}: {}", if wrong == Some(n) { bad } else { good })
            };
            format!("{{{}}}", kinds.iter().enumerate().map(pair).collect::<Vec<_>>().join(", "))
        };
        let mut batch = Batch::new();
        for wrong in [None, Some(0), Some(1), Some(2), Some(3), Some(4), None] {
            batch.push(None, Some(message(wrong).as_bytes()), 0);
        }
        for text in [r#"{"b":true}"#, "[]", r#"{"x":1}"#] {
            batch.push(None, Some(text.as_bytes()), 0);
        }
        let refused = writer.write(&batch);
        assert_eq!(refused.iter().map(|r| r.message).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 7, 8, 9]);
        let reasons: Vec<&str> = refused.iter().map(|refused| refused.reason.as_str()).collect();
        assert_eq!(reasons[..2], ["field `b`: 1 is no boolean", "field `i`: 1.0 is no integer"]);
        assert_eq!(reasons[4..6], [r#"field `w`: "yesterday" is no timestamp"#, "field `i`: missing or null"]);
        assert_eq!(writer.rows.cells(), 2 * fields.len());
    }

    #[test]
    fn what_is_there_must_be_as_declared_and_both_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let fields = [field("id", Kind::Integer, true), field("v\"w", Kind::Float, true)];
        let options = options(folder.path(), "a \"b\"; DROP TABLE log", &["id"]);
        let log = Embedded::open(&options.path).unwrap();
        for _ in 0..2 {
            open(log.clone(), "g", &options, &fields, Duration::ZERO).unwrap();
        }
        rusqlite::Connection::open(&options.path)
            .unwrap()
            .execute("CREATE INDEX own ON \"a \"\"b\"\"; DROP TABLE log\" (\"v\"\"w\")", [])
            .unwrap();
        open(log, "g", &options, &fields, Duration::ZERO).unwrap();
        let other = [fields[0].clone(), field("v\"w", Kind::Text, false)];
        let error = place(&options, &other);
        assert!(error.contains(r#"has "v""w" REAL, and what comes has "v""w" TEXT NOT NULL; name"#), "{error}");
        assert!(place(&options, &fields[..1]).contains(r#"has "v""w" REAL, and what comes has not"#));
        let more = [&fields[..], &[field("z", Kind::Text, true)]].concat();
        assert!(place(&options, &more).contains(r#"has no "z" TEXT, and what comes has"#));
        let keyless = Options { key: Vec::new(), ..options.clone() };
        // A column of a key is never null.
        let fields = [field("id", Kind::Integer, false), fields[1].clone()];
        assert!(place(&keyless, &fields).contains(r#"has the primary key ("id"), and () is asked for"#));
    }

    #[test]
    fn names_that_there_is_no_room_for_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let fields = [field("id", Kind::Integer, true), field("v", Kind::Float, true)];
        let refused = |table: &str, key: &[&str], fields: &[Field]| {
            check(&options(folder.path(), table, key), fields).unwrap_err().to_string()
        };
        for table in ["Checkpoints", "sqlite_x", ""] {
            assert!(refused(table, &[], &fields).contains("a table cannot be called"), "{table}");
        }
        assert!(refused("t", &["x"], &fields).contains(r#"`key` names "x", and the columns are id, v"#));
        assert!(refused("t", &["v", "v"], &fields).contains("twice"));
        assert!(refused("t", &[], &[fields[0].clone(), field("ID", Kind::Text, true)]).contains("are one column"));
    }
}
