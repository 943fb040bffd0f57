//! What is answered, and how it is written: JSON in an envelope, or CSV.
//!
//! The envelope is the same whatever happens: `{"data": […], "error": false, "message": NAME, "statusCode": 200}`; with an
//! error `data` is empty and `message` says what is wrong and what to do. An answer that would have to be cut is an error.

use std::collections::BTreeSet;

use apogee_json::quote;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde_json::value::{RawValue, Value};

use crate::config::text::excerpt;
use crate::control::guard::Manner;
use crate::control::questions::Unanswered;
use crate::control::routes::Failure;
use crate::query::form::Form;

/// Most bytes of values in an answer.
const MOST_BYTES: usize = 64 << 20;

/// How queries speak of themselves.
pub(super) const MANNER: Manner =
    Manner { name: "queries", names: "`hosts` in [queries]", token: "[queries]", refuse: |failure| refusal(&failure) };

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        let status = match &unanswered {
            Unanswered::Nobody(_) => StatusCode::SERVICE_UNAVAILABLE,
            Unanswered::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Unanswered::Late(_) => StatusCode::GATEWAY_TIMEOUT,
        };
        Self(status, unanswered.to_string())
    }
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
}

/// What a question has found.
#[derive(Debug)]
pub(super) enum Answer {
    Table {
        columns: Vec<String>,
        rows: Vec<Vec<Cell>>,
    },
    /// JSON as a plugin wrote it.
    Values(Vec<Box<RawValue>>),
}

/// How much an answer may still grow.
pub(super) struct Room {
    rows: usize,
    bytes: usize,
    most: usize,
}

impl Room {
    /// For so many rows.
    pub fn new(most: usize) -> Self {
        Self { rows: 0, bytes: 0, most }
    }

    /// Takes up a row.
    pub fn row(&mut self) -> Result<(), Failure> {
        self.rows += 1;
        let Self { rows, most, .. } = *self;
        if rows > most {
            let what =
                format!("there are more than {most} rows; ask for less (LIMIT), or raise `rows` of this [[query]]");
            return Err(Failure(StatusCode::INTERNAL_SERVER_ERROR, what));
        }
        Ok(())
    }

    /// Takes up so many bytes of the row.
    pub fn bytes(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes += bytes;
        if self.bytes > MOST_BYTES {
            let what = format!("the answer has more than {MOST_BYTES} bytes; ask for fewer rows or columns");
            return Err(Failure(StatusCode::INTERNAL_SERVER_ERROR, what));
        }
        Ok(())
    }
}

impl Cell {
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            _ => size_of::<i64>(),
        }
    }

    fn json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Self::Real(number) if number.is_finite() => out.extend_from_slice(format!("{number:?}").as_bytes()),
            Self::Null | Self::Real(_) => out.extend_from_slice(b"null"),
            Self::Text(text) => quote(text.as_bytes(), out),
        }
    }

    fn csv(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Integer(number) => number.to_string(),
            Self::Real(number) => format!("{number:?}"),
            Self::Text(text) => text.clone(),
        }
    }
}

impl Answer {
    /// The answers of several partitions as one: lists are laid end to end, all else is collected.
    pub fn of_plugin(plugin: &str, answers: &[String], most: usize) -> Result<Self, Failure> {
        let (mut values, mut room) = (Vec::new(), Room::new(most));
        for answer in answers {
            let no_json = |error: serde_json::Error| {
                let what = format!("plugin {plugin} did not answer with JSON: {error}; this is the plugin's fault");
                Failure(StatusCode::BAD_GATEWAY, what)
            };
            let found: Vec<Box<RawValue>> = match answer.trim_start().starts_with('[') {
                true => serde_json::from_str(answer).map_err(no_json)?,
                false => vec![serde_json::from_str(answer).map_err(no_json)?],
            };
            found.iter().try_for_each(|value| room.row().and_then(|()| room.bytes(value.get().len())))?;
            values.extend(found);
        }
        Ok(Self::Values(values))
    }

    /// Values that were made here.
    pub fn all(values: impl Iterator<Item = Value>) -> Self {
        Self::Values(values.filter_map(|value| serde_json::value::to_raw_value(&value).ok()).collect())
    }

    pub fn respond(&self, name: &str, form: Form, status: StatusCode) -> Response {
        match form {
            Form::Json => (status, [JSON], self.envelope(name, status)).into_response(),
            Form::Csv => (status, [CSV], self.csv()).into_response(),
        }
    }

    fn envelope(&self, name: &str, status: StatusCode) -> Vec<u8> {
        let mut out = br#"{"data":["#.to_vec();
        match self {
            Self::Table { columns, rows } => {
                let names: Vec<Vec<u8>> = columns.iter().map(|column| quoted(column)).collect();
                for (number, row) in rows.iter().enumerate() {
                    out.extend_from_slice(if number == 0 { b"{" } else { b",{" });
                    for (place, (name, cell)) in names.iter().zip(row).enumerate() {
                        out.extend_from_slice(if place == 0 { b"" } else { b"," });
                        out.extend_from_slice(name);
                        out.push(b':');
                        cell.json(&mut out);
                    }
                    out.push(b'}');
                }
            }
            Self::Values(values) => {
                let texts: Vec<&str> = values.iter().map(|value| value.get()).collect();
                out.extend_from_slice(texts.join(",").as_bytes());
            }
        }
        close(out, false, name, status)
    }

    /// A header and a row each. Values that are no objects are one column.
    pub fn csv(&self) -> Vec<u8> {
        let mut out = csv::Writer::from_writer(Vec::new());
        // Into memory it does not fail, and every row has as many cells as the header.
        let _ = match self {
            Self::Table { columns, rows } => {
                let header = out.write_record(columns);
                header.and_then(|()| rows.iter().try_for_each(|row| out.write_record(row.iter().map(Cell::csv))))
            }
            Self::Values(values) => {
                let values: Vec<Value> = values.iter().flat_map(|value| serde_json::from_str(value.get())).collect();
                let names: BTreeSet<&String> =
                    values.iter().filter_map(Value::as_object).flat_map(|object| object.keys()).collect();
                let row = |value: &Value| match value {
                    Value::Object(object) => {
                        names.iter().map(|name| object.get(*name).map_or_else(String::new, text)).collect()
                    }
                    value if names.is_empty() => vec![text(value)],
                    _ => vec![String::new(); names.len()],
                };
                let header = match names.is_empty() {
                    true => out.write_record(["value"]),
                    false => out.write_record(&names),
                };
                header.and_then(|()| values.iter().try_for_each(|value| out.write_record(row(value))))
            }
        };
        out.into_inner().unwrap_or_default()
    }
}

pub(super) const JSON: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
const CSV: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));

/// An error, in the envelope.
pub(super) fn refusal(Failure(status, what): &Failure) -> Response {
    let body = close(br#"{"data":["#.to_vec(), true, &excerpt(what, 2_000), *status);
    let mut response = (*status, [JSON], body).into_response();
    if *status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn close(mut out: Vec<u8>, error: bool, message: &str, status: StatusCode) -> Vec<u8> {
    out.extend_from_slice(format!("],\"error\":{error},\"message\":").as_bytes());
    quote(message.as_bytes(), &mut out);
    out.extend_from_slice(format!(",\"statusCode\":{}}}", status.as_u16()).as_bytes());
    out
}

fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    quote(text.as_bytes(), &mut out);
    out
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_several_partitions_are_one_and_what_is_no_json_is_told() {
        let answers = ["[1, {\"a\": 2}]".to_owned(), "{\"b\": null}".to_owned(), " []".to_owned()];
        let answer = Answer::of_plugin("p", &answers, 3).unwrap();
        let text = String::from_utf8(answer.envelope("n", StatusCode::OK)).unwrap();
        assert_eq!(text, r#"{"data":[1,{"a": 2},{"b": null}],"error":false,"message":"n","statusCode":200}"#);
        assert_eq!(answer.csv(), b"a,b\n,\n2,\n,\n");
        assert!(Answer::of_plugin("p", &answers, 2).unwrap_err().1.contains("more than 2 rows"));
        let error = Answer::of_plugin("p", &["nan".to_owned()], 2).unwrap_err();
        assert!(error.1.starts_with("plugin p did not answer with JSON") && error.0 == StatusCode::BAD_GATEWAY);
    }
}
