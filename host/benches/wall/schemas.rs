//! What a schema costs: a route as JSON checked and written as Avro on its way to a sink, and read from Avro on its way
//! from a source.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use host::checkpoint::{Checkpoint, Position};
use host::message::{Batch, Fetch};
use host::schema::{Language, Options, Schema, SchemaSink, SchemaSource, Wire};
use host::sink::{Kept, Positions, Refused, Sink, SinkError, Step};
use host::source::{Poll, Source, SourceError};
use serde_json::Value;

use super::time;

const SIZE: usize = 1_000;
const ROUTE: &str = r#"{"id": "0b7c8f6e-4a57-4b1f-9d0e-0a4e5f6b7c8d", "datetime": "2024-05-01T12:00:00Z", "airline": "2B", "airline_id": 410, "source_airport": "AER", "source_airport_id": 2965, "destination_airport": "KZN", "destination_airport_id": 2990, "codeshare": false, "stops": 0, "equipment": "CR2"}"#;

pub fn measure() {
    println!("\n(k) an Avro schema on a topic, batches of {SIZE} routes, ns a message");
    println!("{:>16} {:>16} {:>22}", "to Avro", "from Avro", "serde_json to Value");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines/schemas/airline-route-event.avsc");
    let options = Options { language: Language::Avro, path, wire: Wire::Avro, registry: None };
    let schema = Schema::load(&options).expect("a schema");
    let mut json = Batch::new();
    for index in 0..SIZE {
        let message = ROUTE.replace("410", &index.to_string());
        json.push(None, Some(message.as_bytes()), 0);
    }
    let wire = Wired::default();
    let mut sink = SchemaSink::new(Box::new(wire.clone()), &schema, None);
    let to = time(SIZE, || assert!(sink.write(0, &json, 0).expect("a sink").is_empty()));
    let mut source = SchemaSource::new(Box::new(wire), &schema, None);
    let from = time(SIZE, || {
        let Ok(Poll::Messages(fetch)) = source.poll(Duration::ZERO) else { panic!("no messages") };
        assert_eq!(fetch.batch.len(), SIZE);
    });
    let value = time(SIZE, || {
        for route in json.values.iter().flatten() {
            std::hint::black_box(serde_json::from_slice::<Value>(route).expect("JSON"));
        }
    });
    println!("{to:>16.0} {from:>16.0} {value:>22.0}");
}

/// The wire: what was last written is read again and again.
#[derive(Clone, Default)]
struct Wired(Arc<Mutex<Batch>>);

impl Sink for Wired {
    fn place(&self) -> String {
        String::new()
    }

    fn exactly_once(&self) -> bool {
        false
    }

    fn open(&mut self, _: i32) -> Result<Option<Checkpoint>, SinkError> {
        Ok(None)
    }

    fn kept(&self, _: &Checkpoint) -> Result<Kept, SinkError> {
        Ok(Box::new(|_| Ok(())))
    }

    fn write(&mut self, _: i32, batch: &Batch, _: i64) -> Result<Vec<Refused>, SinkError> {
        *self.0.lock().expect("the wire") = batch.clone();
        Ok(Vec::new())
    }

    fn due(&self, since: Instant) -> Instant {
        since
    }

    fn full(&self) -> bool {
        false
    }

    fn abort(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn commit(&mut self, _: Step<'_>) -> Result<Positions, SinkError> {
        Ok(Positions::Open)
    }

    fn close(&mut self, _: i32) -> Result<(), SinkError> {
        Ok(())
    }
}

impl Source for Wired {
    fn poll(&mut self, _: Duration) -> Result<Poll, SourceError> {
        let batch = self.0.lock().expect("the wire").clone();
        let next = batch.len() as i64;
        Ok(Poll::Messages(Fetch { batch, offsets: (0..next).collect(), ..Fetch::new(0, next) }))
    }

    fn start(&mut self, _: i32, _: Option<i64>) -> Result<(), SourceError> {
        Ok(())
    }

    fn commit(&mut self, _: i32, _: &Position) -> Result<(), SourceError> {
        Ok(())
    }

    fn hold(&mut self, _: bool) {}

    fn drain(&mut self) -> Result<(), SourceError> {
        Ok(())
    }
}
