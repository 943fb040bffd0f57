//! The plugin: what is put out for each shape of object, and how.

use apogee_json::{Reader, Seen, Token, quote};
use apogee_sdk::{Field, Message, Output, Rejection, Transform};

use crate::append::{self, append};
use crate::convert::Convert;
use crate::settings::{self, EventTime, Pick, Settings};

/// The plugin: opened with its [`Settings`].
pub struct Flatten {
    reader: Reader,
    /// As configured; `None` puts out what there is.
    picks: Option<Vec<Pick>>,
    event_time: Option<EventTime>,
    /// Where the event time is among the leaves of the present shape.
    event_leaf: Option<usize>,
    /// What is put out for the present shape, in order.
    columns: Vec<Column>,
    /// What stands before each value: bracket or comma, name, colon. Ends with bytes to read over.
    labels: Vec<u8>,
    /// The outgoing fields that make up the key, and their columns in the present shape.
    key: Vec<String>,
    key_columns: Vec<Option<usize>>,
    key_bytes: Vec<u8>,
}

/// A member of what is put out.
struct Column {
    /// Where its label ends in `labels`; it starts where the last one ends.
    label: usize,
    /// Its place among the leaves of the present shape.
    leaf: Option<usize>,
    convert: Convert,
    /// Where the value that was last written is.
    start: usize,
    end: usize,
}

impl Column {
    fn new(leaf: Option<usize>, convert: Convert) -> Self {
        Self { label: 0, leaf, convert, start: 0, end: 0 }
    }
}

impl Transform for Flatten {
    const NAME: &'static str = "flatten";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Flattens nested JSON objects, picks and converts their fields.";
    type Settings = Settings;

    fn open(settings: Settings) -> Result<Self, String> {
        let mut plugin = Self {
            reader: Reader::deep(&settings.separator),
            picks: settings.fields.map(settings::picks).transpose()?,
            event_time: settings.event_time,
            event_leaf: None,
            columns: Vec::new(),
            labels: Vec::new(),
            key: settings.key,
            key_columns: Vec::new(),
            key_bytes: Vec::new(),
        };
        settings::check_key(&plugin.key, plugin.picks.as_deref())?;
        if let Some(picks) = &plugin.picks {
            plugin.columns.extend(picks.iter().map(|pick| Column::new(None, pick.convert.clone())));
            label(&mut plugin.columns, &mut plugin.labels, |index| &picks[index].name);
        }
        Ok(plugin)
    }

    fn fields(&self) -> Vec<Field> {
        let field = |pick: &Pick| Field { name: pick.name.clone(), kind: pick.kind(), nullable: true };
        self.picks.iter().flatten().map(field).collect()
    }

    fn key(&self) -> Vec<String> {
        self.key.clone()
    }

    #[inline]
    fn process(&mut self, message: Message<'_>, out: &mut Output) -> Result<(), Rejection> {
        let text = message.value.ok_or("not a JSON object: the value is null")?;
        match self.reader.read(text) {
            Ok(Seen::Same) => {}
            Ok(Seen::New) => self.resolve(),
            Err(error) => return Err(format!("not a JSON object to flatten: {error}").into()),
        }
        let timestamp = match &self.event_time {
            None => message.timestamp,
            Some(event_time) => event_time.of(self.event_leaf.map(|leaf| self.reader.tokens()[leaf]), text)?,
        };
        self.write(text, out.value())?;
        for header in message.headers {
            out.header(&header.name, &header.value);
        }
        if self.key.is_empty() {
            out.emit(message.key, timestamp);
        } else {
            let some = self.make_key(out.value());
            out.emit(some.then_some(&self.key_bytes), timestamp);
        }
        Ok(())
    }
}

impl Flatten {
    /// Looks up in the present shape what is to be put out.
    fn resolve(&mut self) {
        let Self { reader, columns, labels, .. } = self;
        match &self.picks {
            Some(picks) => {
                for (column, pick) in columns.iter_mut().zip(picks) {
                    column.leaf = reader.find(&pick.from);
                }
            }
            None => {
                columns.clear();
                columns.extend((0..reader.len()).map(|leaf| Column::new(Some(leaf), Convert::Keep)));
                label(columns, labels, |index| reader.name(index));
            }
        }
        let column = |name: &String| match &self.picks {
            Some(picks) => picks.iter().position(|pick| pick.name == *name),
            None => self.reader.find(name),
        };
        self.key_columns = self.key.iter().map(column).collect();
        self.event_leaf = self.event_time.as_ref().and_then(|event_time| self.reader.find(&event_time.field));
    }

    /// Writes the outgoing object.
    #[inline]
    fn write(&mut self, text: &[u8], value: &mut Vec<u8>) -> Result<(), Rejection> {
        if self.columns.is_empty() {
            value.push(b'{');
        }
        let tokens: &[Token] = self.reader.tokens();
        let mut label = 0;
        for (index, column) in self.columns.iter_mut().enumerate() {
            append(value, &self.labels, label, column.label);
            label = column.label;
            column.start = value.len();
            match column.leaf.and_then(|leaf| tokens.get(leaf)) {
                None => value.extend_from_slice(b"null"),
                Some(token) => column.convert.write(*token, text, value).map_err(|problem| {
                    // Only what was asked for by `fields` is converted.
                    let from = self.picks.as_ref().map_or("", |picks| &picks[index].from);
                    format!("field `{from}`: {problem}")
                })?,
            }
            column.end = value.len();
        }
        value.push(b'}');
        Ok(())
    }

    /// Makes the key of what was written; says whether there is one.
    fn make_key(&mut self, value: &[u8]) -> bool {
        let columns = &self.columns;
        let written = |column: &Option<usize>| match column.and_then(|column| columns.get(column)) {
            Some(column) => &value[column.start..column.end],
            None => b"null",
        };
        self.key_bytes.clear();
        apogee_json::key(self.key_columns.iter().map(written), &mut self.key_bytes)
    }
}

/// Makes the labels of the columns, in order.
fn label<'a>(columns: &mut [Column], labels: &mut Vec<u8>, name: impl Fn(usize) -> &'a str) {
    labels.clear();
    for (index, column) in columns.iter_mut().enumerate() {
        labels.push(if index == 0 { b'{' } else { b',' });
        quote(name(index).as_bytes(), labels);
        labels.push(b':');
        column.label = labels.len();
    }
    labels.extend_from_slice(&[0; append::STEP]);
}
