//! Checks what plugins put out by a schema, on its way to a sink, and writes it as the wire has it.

use std::ops::ControlFlow;
use std::time::Instant;

use super::{Checker, Schema, Wire, picked};
use crate::checkpoint::Checkpoint;
use crate::message::{Batch, Column};
use crate::plugin::Entries;
use crate::sink::{Kept, Positions, Refused, Sink, SinkError, Step};

/// By which messages that do not fit are counted.
const CAUSE: &str = "invalid schema";

/// A sink of which each message fits a schema. What does not is refused, and all else is one batch for the inner sink.
pub struct SchemaSink {
    inner: Box<dyn Sink>,
    checker: Checker,
    wire: Wire,
    /// What stands before each message; nothing without a registry.
    frame: Vec<u8>,
    avro: Vec<u8>,
}

impl SchemaSink {
    /// `number` is that of the schema in a registry.
    pub fn new(inner: Box<dyn Sink>, schema: &Schema, number: Option<u32>) -> Self {
        let frame = number.map(|number| [&[0], &number.to_be_bytes()[..]].concat()).unwrap_or_default();
        Self { inner, checker: schema.checker(), wire: schema.wire, frame, avro: Vec::new() }
    }

    /// The places of the messages that fit, their values as they are on the wire, and the others.
    fn check(&mut self, batch: &Batch) -> (Vec<u32>, Column, Vec<Refused>) {
        let (mut places, mut values, mut refused) = (Vec::new(), Column::new(), Vec::new());
        for (message, json) in (0..).zip(&batch.values) {
            let Some(json) = json else {
                places.push(message);
                values.push(None);
                continue;
            };
            match self.checker.check(json, &mut self.avro) {
                Ok(()) => {
                    let value = if self.wire == Wire::Avro { &self.avro } else { json };
                    places.push(message);
                    values.push_joined(&self.frame, value);
                }
                Err(misfit) => refused.push(Refused { message, cause: CAUSE, reason: misfit.to_string() }),
            }
        }
        (places, values, refused)
    }
}

impl Sink for SchemaSink {
    fn write(&mut self, partition: i32, batch: &Batch, first: i64) -> Result<Vec<Refused>, SinkError> {
        let (places, values, mut refused) = self.check(batch);
        if places.is_empty() {
            return Ok(refused);
        }
        let fitting = picked(batch, &places, values);
        for inner in self.inner.write(partition, &fitting, first)? {
            refused.push(Refused { message: places[inner.message as usize], ..inner });
        }
        refused.sort_by_key(|refused| refused.message);
        Ok(refused)
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn exactly_once(&self) -> bool {
        self.inner.exactly_once()
    }

    fn open(&mut self, partition: i32) -> Result<Option<Checkpoint>, SinkError> {
        self.inner.open(partition)
    }

    fn kept(&self, last: &Checkpoint) -> Result<Kept, SinkError> {
        self.inner.kept(last)
    }

    fn state(&mut self, last: &Checkpoint, each: &mut dyn FnMut(&Entries) -> ControlFlow<()>) -> Result<(), SinkError> {
        self.inner.state(last, each)
    }

    fn due(&self, since: Instant) -> Instant {
        self.inner.due(since)
    }

    fn full(&self) -> bool {
        self.inner.full()
    }

    fn abort(&mut self) -> Result<(), SinkError> {
        self.inner.abort()
    }

    fn commit(&mut self, step: Step<'_>) -> Result<Positions, SinkError> {
        self.inner.commit(step)
    }

    fn close(&mut self, partition: i32) -> Result<(), SinkError> {
        self.inner.close(partition)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::log::embedded::Embedded;
    use crate::log::{Log, Reading, Start};
    use crate::message::Header;
    use crate::schema::{Language, Options};
    use crate::sink::embedded::EmbeddedSink;

    /// Each of two sinks, one in the other, refuses its own; what remains is one batch with its keys and headers.
    #[test]
    fn refusals_of_the_inner_sink_are_told_by_their_places() {
        let folder = tempfile::tempdir().unwrap();
        let schema = |name: &str, field: &str, wire| {
            let path = folder.path().join(name);
            let text = format!(r#"{{"type":"record","name":"R","fields":[{{"name":"n","type":{field}}}]}}"#);
            std::fs::write(&path, text).unwrap();
            Schema::load(&Options { language: Language::Avro, path, wire, registry: None }).unwrap()
        };
        let outer = schema("outer.avsc", r#"["int","string"]"#, Wire::Json);
        let inner = schema("inner.avsc", r#""int""#, Wire::Avro);
        let log = Embedded::open(&folder.path().join("log.db")).unwrap();
        ["in", "out"].iter().for_each(|topic| assert!(log.create_topic(topic, 1).unwrap()));
        let sink = EmbeddedSink::new(log.clone(), "group", Some("out"), None, Duration::ZERO).unwrap();
        let sink = SchemaSink::new(Box::new(sink), &inner, Some(0x01020304));
        let mut sink = SchemaSink::new(Box::new(sink), &outer, None);

        let mut batch = Batch::new();
        let values = [r#"{"n":true}"#, r#"{"n":0}"#, r#"{"n":"x"}"#, r#"{"n":1}"#, r#"{"n":"y"}"#, "", r#"{"n":2}"#];
        for (message, value) in (0..).zip(values) {
            batch.push(Some(value.as_bytes()), Some(value.as_bytes()), message.into());
            batch.headers.push(Header { message, name: "h".into(), value: vec![message as u8] });
        }
        batch.push(Some(b"tombstone"), None, 7);
        sink.open(0).unwrap();
        let refused = sink.write(0, &batch, 0).unwrap();
        let found: Vec<_> = refused.iter().map(|refused| (refused.message, refused.reason.as_str())).collect();
        let expected = [
            (0, "field n: true is none of an int, a string"),
            (2, "field n: \"x\" is not an int"),
            (4, "field n: \"y\" is not an int"),
            (5, "the end of the text where an object should be at byte 0"),
        ];
        assert_eq!(found, expected);

        let source = log.reader("in", &Reading::new("group", Start::Earliest)).unwrap();
        sink.commit(Step { parts: &[], letters: &Batch::new(), source: source.as_ref() }).unwrap();
        let read = log.read("out", 0, 0, 100).unwrap().batch;
        let written: Vec<_> = read.values.iter().collect();
        let framed = |n| [0, 1, 2, 3, 4, n];
        assert_eq!(written, [Some(&framed(0)[..]), Some(&framed(2)), Some(&framed(4)), None]);
        let keys: Vec<_> = read.keys.iter().flatten().collect();
        assert_eq!(keys, [values[1], values[3], values[6], "tombstone"].map(str::as_bytes));
        let headers: Vec<_> = read.headers.iter().map(|header| (header.message, header.value[0])).collect();
        assert_eq!(headers, [(0, 1), (1, 3), (2, 6)]);
    }
}
