//! Messages as rows of an Arrow table, in the columns that the plugin declares.
//!
//! A message is a JSON object. A field that is missing is null, as one that says so. A text column takes every value: of
//! a string what it says, of any other its JSON. The other columns take values of their own kind alone, besides integers
//! in a float column: text that says a number is none, and nothing is rounded to fit, except that of a time what is
//! finer than a microsecond is cut off. A timestamp is RFC 3339 text, or an integer: milliseconds since the Unix epoch.
//!
//! Refused is, alone and whole, a message with a value of another kind, a null where none may be, a field that is not
//! declared, or one that is there twice.

use std::sync::Arc;

use apogee_json::{Kind as Json, Number, Reader, Seen, Token, excerpt};
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, NullBufferBuilder, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};
use jiff::Timestamp;

use crate::plugin::{Field, Kind};

/// Rows that are gathered, column by column. A column holds at most 2 GiB of text: take them long before.
pub struct Columns {
    schema: SchemaRef,
    columns: Vec<Column>,
    rows: usize,
    reader: Reader,
}

struct Column {
    name: String,
    nullable: bool,
    /// Where it is among the fields of a message of the present shape.
    place: Option<usize>,
    nulls: NullBufferBuilder,
    values: Values,
}

/// A value for each row; of a null it is anything.
enum Values {
    Boolean(Vec<bool>),
    Integer(Vec<i64>),
    Float(Vec<f64>),
    /// Of each row where it ends in `bytes`, after a zero.
    Text {
        bytes: Vec<u8>,
        ends: Vec<i32>,
    },
    /// Microseconds since the Unix epoch.
    Timestamp(Vec<i64>),
}

impl Columns {
    pub fn new(fields: &[Field]) -> Self {
        let column = |field: &Field| Column {
            name: field.name.clone(),
            nullable: field.nullable,
            place: None,
            nulls: NullBufferBuilder::new(0),
            values: Values::new(field.kind),
        };
        let columns: Vec<_> = fields.iter().map(column).collect();
        let typed = |column: &Column| ArrowField::new(&column.name, column.values.data_type(), column.nullable);
        let schema = Arc::new(Schema::new(columns.iter().map(typed).collect::<Vec<_>>()));
        Self { schema, columns, rows: 0, reader: Reader::flat() }
    }

    /// Booleans, 64-bit integers and floats, text, and microseconds in UTC, in the order of the fields.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Appends a message as a row; or nothing of it, with what is wrong with it.
    pub fn push(&mut self, message: &[u8]) -> Result<(), String> {
        self.read(message)?;
        let tokens = self.reader.tokens();
        let pushed = self.columns.iter_mut().try_for_each(|column| {
            let value = column.place.map(|place| tokens[place]).filter(|token| token.kind != Json::Null);
            column.push(value, message)
        });
        match pushed {
            Ok(()) => self.rows += 1,
            Err(_) => self.columns.iter_mut().for_each(|column| column.truncate(self.rows)),
        }
        pushed
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// About how many bytes the rows take.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(|column| column.values.bytes()).sum()
    }

    /// The rows, and begins anew.
    pub fn take(&mut self) -> RecordBatch {
        self.rows = 0;
        let arrays = self.columns.iter_mut().map(Column::take).collect();
        RecordBatch::try_new(self.schema.clone(), arrays).expect("columns of the schema, all of as many rows")
    }

    /// Reads a message, and finds the columns anew where it has another shape than the last one.
    fn read(&mut self, message: &[u8]) -> Result<(), String> {
        if self.reader.read(message).map_err(|error| error.to_string())? == Seen::Same {
            return Ok(());
        }
        let mut names = (0..self.reader.len()).map(|field| self.reader.name(field));
        if let Some(unknown) = names.find(|name| !self.columns.iter().any(|column| column.name == *name)) {
            let problem = format!("a field {:?} that the plugin does not declare", excerpt(unknown.as_bytes()));
            // A shape without places must not be taken for one that has them.
            self.reader = Reader::flat();
            return Err(problem);
        }
        for column in &mut self.columns {
            column.place = self.reader.find(&column.name);
        }
        Ok(())
    }
}

impl Column {
    #[inline]
    fn push(&mut self, value: Option<Token>, text: &[u8]) -> Result<(), String> {
        let appended = match value {
            Some(token) => self.values.push(token, text),
            None if self.nullable => {
                self.values.push_any();
                Some(())
            }
            None => None,
        };
        if appended.is_none() {
            return Err(self.refusal(value, text));
        }
        self.nulls.append(value.is_some());
        Ok(())
    }

    #[cold]
    fn refusal(&self, value: Option<Token>, text: &[u8]) -> String {
        let name = excerpt(self.name.as_bytes());
        match value {
            Some(token) => format!("field {name:?}: {} is not {}", excerpt(token.raw(text)), self.values.wanted()),
            None => format!("field {name:?}: it is missing or null, and the plugin declares that it never is"),
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.nulls.truncate(rows);
        self.values.truncate(rows);
    }

    fn take(&mut self) -> ArrayRef {
        let nulls = self.nulls.finish();
        match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(anew(values).into(), nulls)),
            Values::Integer(values) => Arc::new(Int64Array::new(anew(values).into(), nulls)),
            Values::Float(values) => Arc::new(Float64Array::new(anew(values).into(), nulls)),
            Values::Timestamp(values) => {
                Arc::new(TimestampMicrosecondArray::new(anew(values).into(), nulls).with_timezone("UTC"))
            }
            Values::Text { bytes, ends } => {
                let offsets = OffsetBuffer::new(anew(ends).into());
                ends.push(0);
                let strings = StringArray::try_new(offsets, anew(bytes).into(), nulls);
                Arc::new(strings.expect("the reader takes nothing but UTF-8"))
            }
        }
    }
}

impl Values {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Boolean => Self::Boolean(Vec::new()),
            Kind::Integer => Self::Integer(Vec::new()),
            Kind::Float => Self::Float(Vec::new()),
            Kind::Text => Self::Text { bytes: Vec::new(), ends: vec![0] },
            Kind::Timestamp => Self::Timestamp(Vec::new()),
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Boolean(_) => DataType::Boolean,
            Self::Integer(_) => DataType::Int64,
            Self::Float(_) => DataType::Float64,
            Self::Text { .. } => DataType::Utf8,
            Self::Timestamp(_) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    fn wanted(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) => "a 64-bit integer",
            Self::Float(_) => "a number that a 64-bit float can hold",
            Self::Text { .. } => "a text that still fits the file",
            Self::Timestamp(_) => "a timestamp: RFC 3339 text, or milliseconds since 1970",
        }
    }

    /// Appends a value that is not null; `None` if it is not of the kind.
    #[inline]
    fn push(&mut self, token: Token, text: &[u8]) -> Option<()> {
        match self {
            Self::Boolean(values) => match token.kind {
                Json::True => values.push(true),
                Json::False => values.push(false),
                _ => return None,
            },
            Self::Integer(values) => values.push(integer(token, text)?),
            Self::Float(values) => match token.kind {
                Json::Integer | Json::Decimal => values.push(Number::read(token.raw(text))?.value()),
                _ => return None,
            },
            Self::Text { bytes, ends } => {
                let content = token.content(text);
                ends.push(i32::try_from(bytes.len() + content.len()).ok()?);
                bytes.extend_from_slice(&content);
            }
            Self::Timestamp(values) => values.push(timestamp(token, text)?),
        }
        Some(())
    }

    /// Appends what stands for a null.
    #[inline]
    fn push_any(&mut self) {
        match self {
            Self::Boolean(values) => values.push(false),
            Self::Integer(values) | Self::Timestamp(values) => values.push(0),
            Self::Float(values) => values.push(0.0),
            Self::Text { ends, .. } => ends.extend_from_within(ends.len() - 1..),
        }
    }

    fn truncate(&mut self, rows: usize) {
        match self {
            Self::Boolean(values) => values.truncate(rows),
            Self::Integer(values) | Self::Timestamp(values) => values.truncate(rows),
            Self::Float(values) => values.truncate(rows),
            Self::Text { bytes, ends } => {
                ends.truncate(rows + 1);
                bytes.truncate(ends.last().map_or(0, |end| *end as usize));
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Boolean(values) => values.len(),
            Self::Integer(values) | Self::Timestamp(values) => values.len() * 8,
            Self::Float(values) => values.len() * 8,
            Self::Text { bytes, ends } => bytes.len() + ends.len() * 4,
        }
    }
}

/// What was gathered; in its place comes room for as much again.
fn anew<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(values.len());
    std::mem::replace(values, room)
}

#[inline]
fn integer(token: Token, text: &[u8]) -> Option<i64> {
    match token.kind {
        Json::Integer => str::from_utf8(token.raw(text)).ok()?.parse().ok(),
        _ => None,
    }
}

/// The microsecond that a time lies in.
#[inline]
fn timestamp(token: Token, text: &[u8]) -> Option<i64> {
    let time = match token.kind {
        Json::Integer => Timestamp::from_millisecond(integer(token, text)?).ok()?,
        _ if token.is_text() => str::from_utf8(&token.content(text)).ok()?.parse().ok()?,
        _ => return None,
    };
    // What is before 1970 is cut off downwards too, so that order stays.
    let micros = time.as_microsecond();
    Some(if time.subsec_nanosecond() % 1000 < 0 { micros - 1 } else { micros })
}

#[cfg(test)]
mod tests;
