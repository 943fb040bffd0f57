//! Reads what is on the wire of a topic by a schema, on its way from a source.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::misfit::Misfit;
use super::registry::Client;
use super::types::Types;
use super::{Checker, Rules, Schema, Wire, decode, picked};
use crate::checkpoint::Position;
use crate::config::text::excerpt;
use crate::log::LogError;
use crate::message::{Column, Fetch, Rejected};
use crate::source::{Group, MAX_REJECTED, Poll, Source, SourceError};

/// Most schemas of writers that are kept.
const KEPT: usize = 1_000;

/// A source of which each message fits a schema, as JSON. What does not is rejected, with its key and offset.
pub struct SchemaSource {
    inner: Box<dyn Source>,
    reading: Reading,
}

impl SchemaSource {
    /// `client` is the registry that has the numbers of the messages' schemas.
    pub fn new(inner: Box<dyn Source>, schema: &Schema, client: Option<Arc<Client>>) -> Self {
        let reading = Reading {
            rules: schema.rules.clone(),
            checker: schema.checker(),
            wire: schema.wire,
            client,
            writers: HashMap::new(),
            scratch: Vec::new(),
        };
        Self { inner, reading }
    }
}

struct Reading {
    rules: Rules,
    checker: Checker,
    wire: Wire,
    client: Option<Arc<Client>>,
    /// By their numbers, what messages were written by; or why that cannot be known. A number never means another schema.
    writers: HashMap<u32, Result<Option<Arc<Types>>, Unread>>,
    scratch: Vec<u8>,
}

/// Why a message is not read.
#[derive(Clone)]
struct Unread {
    cause: &'static str,
    reason: String,
}

impl From<Misfit> for Unread {
    fn from(misfit: Misfit) -> Self {
        Self { cause: "invalid schema", reason: misfit.to_string() }
    }
}

impl Reading {
    fn fetch(&mut self, fetch: Fetch) -> Result<Fetch, LogError> {
        let Fetch { partition, batch, offsets, mut rejected, next } = fetch;
        let (mut places, mut values, mut read) = (Vec::new(), Column::new(), Vec::new());
        let messages = batch.keys.iter().zip(&batch.values).zip(&offsets);
        for (place, ((key, wire), &offset)) in (0..).zip(messages) {
            let value = match wire {
                Some(wire) => self.value(wire)?.map(Some),
                None => Ok(None),
            };
            match value {
                Ok(value) => {
                    places.push(place);
                    read.push(offset);
                    values.push(value);
                }
                Err(Unread { cause, reason }) => {
                    let wire = wire.unwrap_or_default();
                    let value = wire[..wire.len().min(MAX_REJECTED)].to_vec();
                    rejected.push(Rejected { offset, key: key.map(<[u8]>::to_vec), value, cause, reason });
                }
            }
        }
        let batch = picked(&batch, &places, values);
        Ok(Fetch { partition, batch, offsets: read, rejected, next })
    }

    /// What a message says, as JSON.
    fn value<'a>(&'a mut self, wire: &'a [u8]) -> Result<Result<&'a [u8], Unread>, LogError> {
        let (writer, value) = match &self.client {
            None => (None, wire),
            Some(client) => {
                let Some((number, value)) = framed(wire) else {
                    let start = &wire[..wire.len().min(5)];
                    let reason = format!("it begins with {start:02x?} instead of a zero and the number of its schema");
                    return Ok(Err(Unread { cause: "no schema number", reason }));
                };
                if !self.writers.contains_key(&number) {
                    if self.writers.len() >= KEPT {
                        self.writers.clear();
                    }
                    let found = look_up(client, number, self.wire)?;
                    self.writers.insert(number, found);
                }
                match &self.writers[&number] {
                    Ok(writer) => (writer.clone(), value),
                    Err(unread) => return Ok(Err(unread.clone())),
                }
            }
        };
        self.scratch.clear();
        let read = match (&self.rules, self.wire) {
            (Rules::Avro(types), Wire::Avro) => {
                let writer = writer.as_ref().unwrap_or(types);
                decode::decode(writer, types, value, &mut self.scratch).map(|()| self.scratch.as_slice())
            }
            _ => self.checker.check(value, &mut self.scratch).map(|()| value),
        };
        Ok(read.map_err(Unread::from))
    }
}

/// The number of its schema, and the rest of a message.
fn framed(wire: &[u8]) -> Option<(u32, &[u8])> {
    let (number, value) = wire.strip_prefix(&[0])?.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), value))
}

/// The schema of this number, where messages are Avro; for others, that there is one.
fn look_up(client: &Client, number: u32, wire: Wire) -> Result<Result<Option<Arc<Types>>, Unread>, LogError> {
    let unknown = |reason: String| Ok(Err(Unread { cause: "unknown schema", reason }));
    let found = client.schema(number).map_err(|error| {
        let error = format!("the schema of number {number} is not known yet: {error}");
        LogError::Interrupted { log: client.name().to_owned(), error }
    })?;
    match found {
        None => unknown(format!("{} has no schema of number {number}", client.name())),
        Some(_) if wire == Wire::Json => Ok(Ok(None)),
        Some(text) => match Types::parse(&text) {
            Ok(types) => Ok(Ok(Some(Arc::new(types)))),
            Err(error) => unknown(format!("schema {number} of {}: {}", client.name(), excerpt(&error, 200))),
        },
    }
}

impl Source for SchemaSource {
    fn poll(&mut self, wait: Duration) -> Result<Poll, SourceError> {
        match self.inner.poll(wait)? {
            Poll::Messages(fetch) => Ok(Poll::Messages(self.reading.fetch(fetch)?)),
            other => Ok(other),
        }
    }

    fn start(&mut self, partition: i32, next: Option<i64>) -> Result<(), SourceError> {
        self.inner.start(partition, next)
    }

    fn release(&mut self, partitions: &[i32]) -> Result<(), SourceError> {
        self.inner.release(partitions)
    }

    fn commit(&mut self, partition: i32, position: &Position) -> Result<(), SourceError> {
        self.inner.commit(partition, position)
    }

    fn group(&self) -> Option<Group> {
        self.inner.group()
    }

    fn hold(&mut self, held: bool) {
        self.inner.hold(held);
    }

    fn drain(&mut self) -> Result<(), SourceError> {
        self.inner.drain()
    }
}
