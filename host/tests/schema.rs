//! Schemas of messages on topics, through the program, with a real registry and read by apache-avro.

mod mistakes;
mod once;
pub mod registry;
mod wire;

use std::path::Path;
use std::process::Output;

use host::log::Log;
use host::log::embedded::Embedded;
use host::message::Batch;
use serde_json::{Value, json};

use crate::program::{plugin, run, top};

/// `AirlineRouteEvent`, as it comes along.
fn route_schema() -> String {
    std::fs::read_to_string(top().join("pipelines/schemas/airline-route-event.avsc")).unwrap()
}

/// A route with this number of stops, as it is written in a file of JSON lines.
fn route(stops: impl Into<Value>) -> Value {
    json!({
        "id": "0b7c8f6e-4a57-4b1f-9d0e-0a4e5f6b7c8d", "datetime": "2024-05-01T12:00:00Z", "airline": "2B",
        "airline_id": 410, "source_airport": "AER", "source_airport_id": 2965, "destination_airport": "KZN",
        "destination_airport_id": 2990, "codeshare": true, "stops": stops.into(), "equipment": "CR2 \"é\""
    })
}

/// A record `R` with these fields.
fn record(fields: &Value) -> String {
    json!({"type": "record", "name": "R", "fields": fields}).to_string()
}

/// A directory with files, where pipelines run.
struct Place(tempfile::TempDir);

impl Place {
    fn new(files: &[(&str, &str)]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        files.iter().for_each(|(name, text)| std::fs::write(place.path().join(name), text).unwrap());
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes the file of a pipeline of one plugin that leaves messages as they are; `source` and `sink` are the tables
    /// from their URIs on.
    fn pipeline(&self, name: &str, source: &str, sink: &str) -> String {
        let plugin = plugin("flatten");
        let text = format!("[source]\nuri = {source}\n\n[[plugin]]\nfile = {plugin:?}\n\n[sink]\nuri = {sink}\n");
        let file = format!("{name}.toml");
        std::fs::write(self.path().join(&file), text).unwrap();
        file
    }

    /// Runs a pipeline to the end of its input.
    fn run(&self, name: &str, source: &str, sink: &str) -> Run {
        let file = self.pipeline(name, source, sink);
        Run(run(self.path(), &["run", &file, "--until", "end", "--json"]))
    }

    /// The dead letters of a pipeline of the embedded log.
    fn letters(&self, name: &str) -> Vec<Value> {
        let topic = format!("kafka:///{name}.dead");
        let output = run(self.path(), &["topics", "read", &topic, "--raw"]);
        lines(&output.stdout)
    }

    fn log(&self) -> Embedded {
        Embedded::open(&self.path().join("apogee.db")).unwrap()
    }

    /// Appends messages to a topic of the embedded log.
    fn put(&self, topic: &str, messages: &[(&str, Option<&[u8]>)]) {
        let log = self.log();
        log.create_topic(topic, 1).unwrap();
        let mut batch = Batch::new();
        messages.iter().for_each(|(key, value)| batch.push(Some(key.as_bytes()), *value, 1));
        let mut writer = log.writer(topic).unwrap();
        writer.append(&batch).unwrap();
        writer.flush().unwrap();
    }

    /// The values of a topic of the embedded log.
    fn values(&self, topic: &str) -> Vec<Option<Vec<u8>>> {
        values(&self.log(), topic)
    }
}

fn values(log: &dyn Log, topic: &str) -> Vec<Option<Vec<u8>>> {
    let (mut values, mut next) = (Vec::new(), 0);
    loop {
        let found = log.read(topic, 0, next, usize::MAX).unwrap();
        if found.batch.is_empty() {
            return values;
        }
        values.extend(found.batch.values.iter().map(|value| value.map(<[u8]>::to_vec)));
        next = found.next;
    }
}

/// How a run ended.
struct Run(Output);

impl Run {
    fn error(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// It ended well; gives what it counted.
    fn counters(&self) -> Value {
        assert!(self.0.status.success(), "{}", self.error());
        let error = self.error();
        let summary = lines(error.as_bytes()).into_iter().find(|line| line.get("summary").is_some());
        summary.unwrap_or_else(|| panic!("{error}"))["summary"]["counters"].clone()
    }

    /// What it showed on standard output.
    fn shown(&self) -> Vec<Value> {
        assert!(self.0.status.success(), "{}", self.error());
        lines(&self.0.stdout)
    }

    /// It ended with this code and an error that says all of these.
    fn failed(&self, code: i32, said: &[&str]) {
        let error = self.error();
        assert_eq!(self.0.status.code(), Some(code), "{error}");
        said.iter().for_each(|said| assert!(error.contains(said), "{said:?} is not in {error}"));
    }
}

/// Lines of JSON; others are passed over.
fn lines(text: &[u8]) -> Vec<Value> {
    text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// What Avro's bytes say, by apache-avro.
fn avro(schema: &str, bytes: &[u8]) -> Value {
    let schema = apache_avro::Schema::parse_str(schema).unwrap();
    let reader = apache_avro::reader::datum::GenericDatumReader::builder(&schema).build().unwrap();
    let mut rest = bytes;
    let value = reader.read_value(&mut rest).unwrap();
    assert_eq!(rest, b"", "all of it is read");
    value.try_into().unwrap()
}

fn jsonl(values: &[Value]) -> String {
    values.iter().map(|value| format!("{value}\n")).collect()
}
