//! What a pipeline file says of a schema, resolved.

use std::path::PathBuf;

/// Which schema, and how messages are on the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub language: Language,
    /// The file of the schema.
    pub path: PathBuf,
    pub wire: Wire,
    /// Where schemas have numbers, which stand before each message; `None` for messages that are nothing but themselves.
    pub registry: Option<Registry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Avro,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Avro,
    Json,
}

/// A schema registry that speaks like Confluent's.
#[derive(Debug, Clone, PartialEq)]
pub struct Registry {
    pub url: url::Url,
    /// Under which name the schema is there; by default `TOPIC-value`.
    pub subject: Option<String>,
}

impl Registry {
    pub fn subject(&self, topic: &str) -> String {
        self.subject.clone().unwrap_or_else(|| format!("{topic}-value"))
    }
}
