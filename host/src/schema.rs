//! Schemas of messages on a topic: what does not fit is rejected, and what is on the wire can be Avro.
//!
//! Two decorators do it, so that sources and sinks know nothing of schemas: [`SchemaSink`] checks and writes what plugins
//! put out, [`SchemaSource`] reads what is on the wire into the JSON that plugins take. Both are functions of a message
//! (and of what a registry says of its number, which never changes); all else they hand on, so what was read and written
//! exactly once still is. Null values, which delete, are null on the wire too.
//!
//! With a registry, each message begins with a zero byte and the number of its schema, four bytes, the highest first, as
//! Confluent's clients have it; without one it is nothing but itself. Schemas that refer to others elsewhere are refused.

mod decode;
mod encode;
mod misfit;
pub mod options;
mod registry;
mod sink;
mod source;
mod types;

pub use sink::SchemaSink;
pub use source::SchemaSource;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::text::excerpt;
use crate::config::{self, Pipeline};
use crate::message::{Batch, Column};
use crate::sink::Sink;
use crate::source::Source;
use encode::Encoder;
use misfit::Misfit;
pub use options::{Language, Options, Registry, Wire};
use registry::Client;
use types::Types;

/// The longest file of a schema, and the longest answer of a registry.
const LONGEST: u64 = 1 << 20;

/// How often a pattern of a JSON Schema may go back in one text.
const BACKTRACKS: usize = 100_000;

/// Why messages cannot be checked by a schema at all.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("schema {}: {what}", path.display())]
    File { path: PathBuf, what: String },
    /// The registry does not do what is asked, for a reason that it gives.
    #[error("{0}")]
    Refused(String),
    /// Nobody answers, or not as a registry does.
    #[error("{0}")]
    Unreachable(String),
}

/// A schema that was read from its file.
pub struct Schema {
    language: Language,
    wire: Wire,
    path: PathBuf,
    text: String,
    rules: Rules,
}

#[derive(Clone)]
enum Rules {
    Avro(Arc<Types>),
    Json(Arc<jsonschema::Validator>),
}

impl Schema {
    pub fn load(options: &Options) -> Result<Self, SchemaError> {
        let Options { language, path, wire, .. } = options;
        let wrong = |what: String| SchemaError::File { path: path.clone(), what };
        let text = read(path).map_err(|error| wrong(error.to_string()))?;
        let rules = match language {
            Language::Avro => Types::parse(&text)
                .map(|types| Rules::Avro(Arc::new(types)))
                .map_err(|error| wrong(format!("it is no Avro schema of a message: {}", excerpt(&error, 400))))?,
            Language::Json => {
                let value = serde_json::from_str(&text).map_err(|error| wrong(format!("it is not JSON: {error}")))?;
                let validator = validator(&value).map_err(|error| {
                    wrong(format!("it is no JSON Schema that stands by itself: {}", excerpt(&error.to_string(), 400)))
                })?;
                Rules::Json(Arc::new(validator))
            }
        };
        Ok(Self { language: *language, wire: *wire, path: path.clone(), text, rules })
    }

    /// What it is, for a person.
    pub fn title(&self) -> String {
        match &self.rules {
            Rules::Avro(types) => {
                let record = types.root();
                format!("Avro {} of {} field(s), {}", record.name, record.fields.len(), self.path.display())
            }
            Rules::Json(_) => format!("JSON Schema {}", self.path.display()),
        }
    }

    fn checker(&self) -> Checker {
        match &self.rules {
            Rules::Avro(types) => Checker::Avro(Encoder::new(types.clone())),
            Rules::Json(validator) => Checker::Json(validator.clone()),
        }
    }
}

/// A pattern may look around and back, but not for ever: where it would, the message does not fit.
fn validator(schema: &serde_json::Value) -> Result<jsonschema::Validator, jsonschema::ValidationError<'static>> {
    let patterns = jsonschema::PatternOptions::fancy_regex().backtrack_limit(BACKTRACKS);
    jsonschema::options().with_pattern_options(patterns).build(schema)
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(std::io::Error::other(format!("it is longer than {LONGEST} bytes")));
    }
    Ok(text)
}

/// Checks messages that are JSON.
enum Checker {
    Avro(Encoder),
    Json(Arc<jsonschema::Validator>),
}

impl Checker {
    /// Checks `json`; with an Avro schema, `avro` has it in Avro then.
    fn check(&mut self, json: &[u8], avro: &mut Vec<u8>) -> Result<(), Misfit> {
        match self {
            Self::Avro(encoder) => {
                avro.clear();
                encoder.encode(json, avro)
            }
            Self::Json(validator) => {
                let value = serde_json::from_slice(json).map_err(|error| Misfit::new(format!("not JSON: {error}")))?;
                validator.validate(&value).map_err(|error| {
                    let misfit = Misfit::new(excerpt(&error.to_string(), 200));
                    match error.instance_path().as_str() {
                        "" => misfit,
                        path => misfit.within(path),
                    }
                })
            }
        }
    }
}

/// The schemas of what one pipeline reads and writes, loaded and known to their registries.
#[derive(Default)]
pub struct Schemas {
    /// With its number in the registry.
    sink: Option<(Arc<Schema>, Option<u32>)>,
    source: Option<(Arc<Schema>, Option<Arc<Client>>)>,
}

impl Schemas {
    /// Registers what is written, and sees that the registry of what is read answers.
    pub fn open(pipeline: &Pipeline) -> Result<Self, SchemaError> {
        let mut schemas = Self::default();
        if let (Some(options), config::Sink::Topic(topic)) = (&pipeline.sink_schema, &pipeline.sink) {
            let schema = Schema::load(options)?;
            let number = match &options.registry {
                Some(registry) => Some(Client::new(&registry.url)?.register(&registry.subject(&topic.topic), &schema)?),
                None => None,
            };
            schemas.sink = Some((Arc::new(schema), number));
        }
        if let (Some(options), Some(_)) = (&pipeline.source_schema, pipeline.reads()) {
            let schema = Schema::load(options)?;
            let client = options.registry.as_ref().map(|registry| Client::new(&registry.url)).transpose()?;
            if let Some(client) = &client {
                client.answers()?;
            }
            schemas.source = Some((Arc::new(schema), client.map(Arc::new)));
        }
        Ok(schemas)
    }

    pub fn over_sink(&self, sink: Box<dyn Sink>) -> Box<dyn Sink> {
        match &self.sink {
            Some((schema, number)) => Box::new(SchemaSink::new(sink, schema, *number)),
            None => sink,
        }
    }

    pub fn over_source(&self, source: Box<dyn Source>) -> Box<dyn Source> {
        match &self.source {
            Some((schema, client)) => Box::new(SchemaSource::new(source, schema, client.clone())),
            None => source,
        }
    }
}

/// The messages of a batch at these places, which are in order, with other values.
fn picked(batch: &Batch, places: &[u32], values: Column) -> Batch {
    let mut picked = Batch { values, ..Batch::new() };
    let mut wanted = places.iter().copied().peekable();
    for (place, (key, &timestamp)) in (0..).zip(batch.keys.iter().zip(&batch.timestamps)) {
        if wanted.next_if_eq(&place).is_some() {
            picked.keys.push(key);
            picked.timestamps.push(timestamp);
        }
    }
    for header in &batch.headers {
        if let Ok(message) = places.binary_search(&header.message) {
            // There are no more messages in a batch than that.
            picked.headers.push(crate::message::Header { message: message as u32, ..header.clone() });
        }
    }
    picked
}

#[cfg(test)]
mod tests;
