//! The settings, as written and as used.

use apogee_json::{Kind, Token, excerpt};
use apogee_sdk::Rejection;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::convert::Convert;
use crate::time::{Instant, Timestamps, Unit};

/// The settings of a pipeline file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What joins the keys of nested objects.
    pub separator: String,
    /// The fields to put out, in this order. Without it everything is put out.
    pub fields: Option<Vec<FieldSettings>>,
    /// Which field is the event time. Without it the message keeps its timestamp.
    pub event_time: Option<EventTime>,
    /// The outgoing fields that make up the key: of one its text, of several a JSON array. Without any the message
    /// keeps its key.
    pub key: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { separator: "_".to_owned(), fields: None, event_time: None, key: Vec::new() }
    }
}

/// One field to put out.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldSettings {
    /// Its flattened name in what comes in, such as `iss_position_longitude`.
    pub from: String,
    /// Its name in what goes out; by default the same.
    pub name: Option<String>,
    /// What it becomes. Without it the value is kept as it is, and sinks with a schema take it as text.
    #[serde(rename = "type")]
    pub kind: Option<Type>,
    /// Of a `timestamp`: what its number counts since the Unix epoch; by default seconds.
    pub unit: Option<Unit>,
    /// Of a `timestamp`: the UTC offset that it is written with, such as `+02:00`; by default `Z`.
    pub offset: Option<String>,
}

/// What a field can become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    Boolean,
    Integer,
    Float,
    Text,
    /// A number since the Unix epoch, written as RFC 3339 text.
    Timestamp,
}

/// The field that is the event time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventTime {
    /// Its flattened name in what comes in.
    pub field: String,
    /// What its number counts since the Unix epoch.
    pub unit: Unit,
}

impl EventTime {
    /// The event time in milliseconds since the Unix epoch. A number or a numeric string.
    #[inline]
    pub fn of(&self, token: Option<Token>, text: &[u8]) -> Result<i64, Rejection> {
        let instant = token.filter(|token| token.kind != Kind::Null).map(|token| Instant::read(token, text, self.unit));
        match instant {
            Some(Some(instant)) if let Some(milliseconds) = instant.milliseconds() => Ok(milliseconds),
            Some(_) => {
                let found = token.map(|token| excerpt(token.raw(text))).unwrap_or_default();
                Err(format!("event time `{}`: {found} is not a time", self.field).into())
            }
            None => Err(format!("event time `{}`: missing or null", self.field).into()),
        }
    }
}

/// A field to put out, its settings checked.
#[derive(Debug)]
pub struct Pick {
    pub from: String,
    pub name: String,
    pub convert: Convert,
}

impl Pick {
    /// What sinks are told. JSON text is what every value is that is kept as it is.
    pub fn kind(&self) -> apogee_sdk::Kind {
        match self.convert {
            Convert::Boolean => apogee_sdk::Kind::Boolean,
            Convert::Integer => apogee_sdk::Kind::Integer,
            Convert::Float => apogee_sdk::Kind::Float,
            Convert::Timestamp(_) => apogee_sdk::Kind::Timestamp,
            Convert::Keep | Convert::Text => apogee_sdk::Kind::Text,
        }
    }
}

/// Checks that what makes up the key is put out, where that is known.
pub fn check_key(key: &[String], picks: Option<&[Pick]>) -> Result<(), String> {
    let Some(picks) = picks else { return Ok(()) };
    match key.iter().find(|name| picks.iter().all(|pick| pick.name != **name)) {
        Some(name) => Err(format!("settings: `key` has `{name}`, which is none of the `fields` that are put out")),
        None => Ok(()),
    }
}

/// Checks the fields: names differ, and unit and offset are those of a timestamp.
pub fn picks(fields: Vec<FieldSettings>) -> Result<Vec<Pick>, String> {
    if fields.is_empty() {
        return Err("settings: `fields` is empty; leave it out to keep everything".to_owned());
    }
    let mut picks: Vec<Pick> = Vec::with_capacity(fields.len());
    for field in fields {
        let name = field.name.unwrap_or_else(|| field.from.clone());
        let refuse = |problem: &str| Err(format!("settings: field `{name}`: {problem}"));
        if picks.iter().any(|pick| pick.name == name) {
            return refuse("the name is there twice; set `name` of one");
        }
        let convert = match field.kind {
            Some(Type::Timestamp) => {
                let unit = field.unit.unwrap_or(Unit::S);
                match Timestamps::new(unit, field.offset.as_deref()) {
                    Some(timestamps) => Convert::Timestamp(Box::new(timestamps)),
                    None => return refuse("`offset` is no UTC offset such as \"+02:00\""),
                }
            }
            _ if field.unit.is_some() => return refuse("`unit` needs `type` \"timestamp\""),
            _ if field.offset.is_some() => return refuse("`offset` needs `type` \"timestamp\""),
            None => Convert::Keep,
            Some(Type::Boolean) => Convert::Boolean,
            Some(Type::Integer) => Convert::Integer,
            Some(Type::Float) => Convert::Float,
            Some(Type::Text) => Convert::Text,
        };
        picks.push(Pick { from: field.from, name, convert });
    }
    Ok(picks)
}
