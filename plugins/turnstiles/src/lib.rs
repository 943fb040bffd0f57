//! Parses CSV messages by a schema: a row of cells becomes a JSON object with typed fields.
//!
//! The schema is that of the subway's turnstiles (CA, UNIT, SCP, STATION, LINENAME, DIVISION, DATE, TIME, DESC, ENTRIES,
//! EXITS, ID, TIMESTAMP) unless `columns` says otherwise. A date is put out in another form where `to` says so
//! (`08-15-23` as `08/15/2023`), a timestamp as RFC 3339 has it. Event time is that of the column `event_time`; the key is
//! made of the columns in `key` (one: its text, several: a JSON array). Headers of the message are kept.
//!
//! Rejected, with the reason: what is not one row of CSV in UTF-8, another number of cells, a cell that is not of its
//! column's type.

mod row;
mod settings;

use apogee_json::quote;
use apogee_sdk::{Field, Message, Output, Rejection, Transform};
use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::strtime;
use jiff::tz::Offset;

use row::Row;
pub use settings::{Column, Settings, Type};

/// The plugin: opened with its [`Settings`].
pub struct Turnstiles {
    settings: Settings,
    /// Where event time and key are among the columns.
    event_time: Option<usize>,
    key: Vec<usize>,
    row: Row,
    /// Of the message at hand: where the value of each column is in what is put out, and its key.
    places: Vec<(usize, usize)>,
    key_bytes: Vec<u8>,
}

impl Transform for Turnstiles {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Parses CSV messages, such as the counts of subway turnstiles, by a schema.";
    type Settings = Settings;

    fn open(settings: Settings) -> Result<Self, String> {
        let (event_time, key) = settings.check()?;
        let (places, key_bytes) = (Vec::with_capacity(settings.columns.len()), Vec::new());
        Ok(Self { settings, event_time, key, row: Row::new(), places, key_bytes })
    }

    fn fields(&self) -> Vec<Field> {
        let field = |column: &Column| Field { name: column.name.clone(), kind: column.kind(), nullable: false };
        self.settings.columns.iter().map(field).collect()
    }

    fn key(&self) -> Vec<String> {
        self.settings.key.clone()
    }

    fn process(&mut self, message: Message<'_>, out: &mut Output) -> Result<(), Rejection> {
        let Self { settings, event_time, key, row, places, key_bytes } = self;
        row.read(message.value.ok_or("not a row of CSV: the value is null")?)
            .map_err(|what| format!("not a row of CSV: {what}"))?;
        let (found, wanted) = (row.len(), settings.columns.len());
        if found != wanted {
            return Err(format!("it has {found} cells, and the schema has {wanted} columns").into());
        }
        let mut timestamp = message.timestamp;
        places.clear();
        let json = out.value();
        let before = json.len();
        for (number, column) in settings.columns.iter().enumerate() {
            json.push(if number == 0 { b'{' } else { b',' });
            quote(column.name.as_bytes(), json);
            json.push(b':');
            let start = json.len();
            let time = write(column, row.cell(number), json).map_err(|what| format!("{}: {what}", column.name))?;
            places.push((start - before, json.len() - before));
            if *event_time == Some(number) {
                timestamp = time.unwrap_or(timestamp);
            }
        }
        json.push(b'}');
        let value = &json[before..];
        key_bytes.clear();
        let keyed = apogee_json::key(key.iter().map(|&column| &value[places[column].0..places[column].1]), key_bytes);
        for header in message.headers {
            out.header(&header.name, &header.value);
        }
        let key = if key.is_empty() { message.key } else { keyed.then_some(key_bytes.as_slice()) };
        out.emit(key, timestamp);
        Ok(())
    }
}

/// Appends a cell as JSON; gives the time that it says, in milliseconds since the Unix epoch.
fn write(column: &Column, cell: &[u8], json: &mut Vec<u8>) -> Result<Option<i64>, String> {
    let text = std::str::from_utf8(cell).map_err(|_| "not UTF-8".to_owned())?;
    let format = column.format();
    let wrong = |what: &str| format!("{} is no {what}", shown(text));
    let written = |what: &str| wrong(&format!("{what} as {format:?} says"));
    let to = column.to.as_deref().unwrap_or(format);
    match column.of {
        Type::Text => quote(cell, json),
        Type::Integer => {
            let number: i64 = text.parse().map_err(|_| wrong("whole number of 64 bits"))?;
            json.extend_from_slice(number.to_string().as_bytes());
        }
        Type::Float => {
            let number = text.parse().ok().filter(|number: &f64| number.is_finite());
            json.extend_from_slice(format!("{:?}", number.ok_or_else(|| wrong("number"))?).as_bytes());
        }
        Type::Date => {
            let date = Date::strptime(format, text).map_err(|_| written("date"))?;
            quote(strtime::format(to, date).map_err(|error| error.to_string())?.as_bytes(), json);
        }
        Type::Time => {
            let time = Time::strptime(format, text).map_err(|_| written("time"))?;
            quote(strtime::format(to, time).map_err(|error| error.to_string())?.as_bytes(), json);
        }
        Type::Timestamp => {
            let time = DateTime::strptime(format, text).ok().and_then(|time| Offset::UTC.to_timestamp(time).ok());
            let time = time.ok_or_else(|| written("timestamp"))?;
            quote(time.to_string().as_bytes(), json);
            return Ok(Some(time.as_millisecond()));
        }
    }
    Ok(None)
}

/// The start of a cell, quoted.
fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

apogee_sdk::export!(Turnstiles);
