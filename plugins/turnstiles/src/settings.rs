//! The settings: the schema, and what of it is event time and key.

use apogee_sdk::Kind;
use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::strtime;
use schemars::JsonSchema;
use serde::Deserialize;

/// The settings of a pipeline file. All by default those of the subway's turnstiles.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The columns of a message, in order.
    pub columns: Vec<Column>,
    /// The column, a timestamp, that says when it happened; empty keeps the time of the message.
    pub event_time: String,
    /// The columns that make up the key of what is put out; empty keeps the key.
    pub key: Vec<String>,
}

/// One column, and how it is read.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    pub name: String,
    #[serde(default, rename = "type")]
    pub of: Type,
    /// How a date, a time or a timestamp is written, as `strftime` says it.
    pub format: Option<String>,
    /// How a date or a time is put out; by default as it is read.
    pub to: Option<String>,
}

/// What a cell holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// Whatever it says, also nothing.
    #[default]
    Text,
    /// A whole number of 64 bits.
    Integer,
    Float,
    /// A day; put out as text.
    Date,
    /// A time of day; put out as text.
    Time,
    /// A day and a time in UTC; put out as RFC 3339 has it.
    Timestamp,
}

impl Default for Settings {
    fn default() -> Self {
        let text = ["CA", "UNIT", "SCP", "STATION", "LINENAME", "DIVISION"].map(|name| Column::new(name, Type::Text));
        let date = Column {
            format: Some("%m-%d-%y".to_owned()),
            to: Some("%m/%d/%Y".to_owned()),
            ..Column::new("DATE", Type::Date)
        };
        let rest = [
            ("TIME", Type::Time),
            ("DESC", Type::Text),
            ("ENTRIES", Type::Integer),
            ("EXITS", Type::Integer),
            ("ID", Type::Text),
            ("TIMESTAMP", Type::Timestamp),
        ];
        let rest = rest.map(|(name, of)| Column::new(name, of));
        Self {
            columns: text.into_iter().chain([date]).chain(rest).collect(),
            event_time: "TIMESTAMP".to_owned(),
            key: vec!["STATION".to_owned()],
        }
    }
}

impl Column {
    fn new(name: &str, of: Type) -> Self {
        Self { name: name.to_owned(), of, format: None, to: None }
    }

    /// How it is written.
    pub fn format(&self) -> &str {
        self.format.as_deref().unwrap_or(match self.of {
            Type::Date => "%Y-%m-%d",
            Type::Time => "%H:%M:%S",
            _ => "%Y-%m-%d %H:%M:%S",
        })
    }

    /// What it is for sinks.
    pub fn kind(&self) -> Kind {
        match self.of {
            Type::Text | Type::Date | Type::Time => Kind::Text,
            Type::Integer => Kind::Integer,
            Type::Float => Kind::Float,
            Type::Timestamp => Kind::Timestamp,
        }
    }

    fn check(&self) -> Result<(), String> {
        let Self { name, of, format, to } = self;
        let in_time = matches!(of, Type::Date | Type::Time | Type::Timestamp);
        if format.is_some() && !in_time {
            return Err(format!("settings: column `{name}` is no date, time or timestamp, and has no `format`"));
        }
        if to.is_some() && (!in_time || *of == Type::Timestamp) {
            return Err(format!("settings: column `{name}` is no date or time, and has no `to`"));
        }
        for format in format.iter().chain(to) {
            // A date has no hours: what is not in a value of this type is found out here, too.
            let tried = match of {
                Type::Date => strtime::format(format, Date::default()),
                Type::Time => strtime::format(format, Time::default()),
                _ => strtime::format(format, DateTime::default()),
            };
            tried.map_err(|error| format!("settings: column `{name}`: {error}"))?;
        }
        Ok(())
    }
}

impl Settings {
    /// Refuses what does not fit together; gives the places of the event time and of the key's columns.
    pub fn check(&self) -> Result<(Option<usize>, Vec<usize>), String> {
        if self.columns.is_empty() {
            return Err("settings: `columns` is empty; leave it out for those of the turnstiles".to_owned());
        }
        for (number, column) in self.columns.iter().enumerate() {
            column.check()?;
            if self.columns[..number].iter().any(|other| other.name == column.name) {
                return Err(format!("settings: two columns are called `{}`", column.name));
            }
        }
        let place = |what: &str, name: &String| {
            let place = self.columns.iter().position(|column| column.name == *name);
            place.ok_or_else(|| format!("settings: `{what}` names `{name}`, which is no column"))
        };
        let event_time = match self.event_time.as_str() {
            "" => None,
            _ => Some(place("event_time", &self.event_time)?),
        };
        if event_time.is_some_and(|place| self.columns[place].of != Type::Timestamp) {
            return Err(format!("settings: `event_time` is `{}`, which is no timestamp", self.event_time));
        }
        let key = self.key.iter().map(|name| place("key", name)).collect::<Result<_, _>>()?;
        Ok((event_time, key))
    }
}
