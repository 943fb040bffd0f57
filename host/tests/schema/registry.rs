//! With a schema registry and Kafka.

mod door;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use host::log::Log;
use host::log::kafka::Kafka;
use host::message::Batch;
use serde_json::{Value, json};
use xtask::registry::Registry;

use crate::program::{Running, host, wait_for};

use self::door::Door;
use super::{Place, avro, jsonl, record, route, route_schema, values};

/// The URL of a registry that answers. It has other tests' subjects, too: name yours so that they do not meet.
pub fn registry() -> String {
    static STARTED: OnceLock<Registry> = OnceLock::new();
    match std::env::var("SCHEMA_REGISTRY") {
        Ok(url) if !url.is_empty() => url,
        // Never dropped: it ends with the process.
        _ => {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("registry-{}", std::process::id()));
            STARTED.get_or_init(|| Registry::start(&folder).expect("a schema registry to test on")).url()
        }
    }
}

/// What the registry itself answers.
fn ask(method: &str, path: &str, body: Option<Value>) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.request(method.parse().unwrap(), format!("{}/{path}", registry()));
    let request = match body {
        Some(body) => request.header("content-type", "application/json").body(body.to_string()),
        None => request,
    };
    let text = runtime.block_on(async { request.send().await.unwrap().error_for_status().unwrap().text().await });
    serde_json::from_str(&text.unwrap()).unwrap()
}

/// A topic of one partition that is not there yet.
fn topic(of: &str) -> (Kafka, String, String) {
    let brokers = crate::kafka::brokers();
    let topic = format!("schema-{of}-{:016x}", fastrand::u64(..));
    let kafka = Kafka::connect(&brokers, &BTreeMap::new()).unwrap();
    assert!(kafka.create_topic(&topic, 1).unwrap());
    (kafka, format!("kafka://{brokers}/{topic}"), topic)
}

fn put(kafka: &Kafka, topic: &str, messages: &[Option<Vec<u8>>]) {
    let mut batch = Batch::new();
    messages.iter().for_each(|message| batch.push(Some(b"key"), message.as_deref(), 1));
    let mut writer = kafka.writer(topic).unwrap();
    writer.append(&batch).unwrap();
    writer.flush().unwrap();
}

/// The number and the rest of a message.
fn framed(message: &Option<Vec<u8>>) -> (u32, &[u8]) {
    let message = message.as_deref().unwrap();
    assert_eq!(message[0], 0);
    (u32::from_be_bytes(message[1..5].try_into().unwrap()), &message[5..])
}

fn frame(number: u32, rest: &[u8]) -> Option<Vec<u8>> {
    Some([&[0], &number.to_be_bytes()[..], rest].concat())
}

#[test]
fn routes_are_avro_after_the_number_that_the_registry_gave() {
    let (kafka, uri, topic) = topic("routes");
    let mut wide = route(0);
    wide["gate"] = json!("B7");
    let input = [route(0), wide, route(7)];
    let place = Place::new(&[("route.avsc", &route_schema()), ("in.jsonl", &jsonl(&input))]);
    let keys = format!("avro = \"route.avsc\"\nregistry = \"{}\"", registry());
    let counters = place
        .run(&format!("{topic}.write"), "\"file:in.jsonl\"", &format!("\"{uri}\"\n[sink.schema]\n{keys}"))
        .counters();
    assert_eq!(counters["rejected by sink: invalid schema"], 1, "{counters}");
    // As anybody else reads it: by the number, from the registry.
    let wire = values(&kafka, &topic);
    let read = |message| {
        let (number, rest) = framed(message);
        let found = ask("GET", &format!("schemas/ids/{number}"), None);
        avro(found["schema"].as_str().unwrap(), rest)
    };
    assert_eq!(wire.iter().map(read).collect::<Vec<_>>(), [route(0), route(7)]);
    let versions = ask("GET", &format!("subjects/{topic}-value/versions"), None);
    assert_eq!(versions, json!([1]));

    let back = place.run(&format!("{topic}.read"), &format!("\"{uri}\"\n[source.schema]\n{keys}"), "\"stdout:\"");
    assert_eq!(back.shown(), [route(0), route(7)]);
}

#[test]
fn a_reader_goes_on_as_the_schema_of_the_writers_changes() {
    let (kafka, uri, topic) = topic("evolution");
    let old = record(&json!([{"name": "n", "type": "int"}]));
    let new = record(&json!([{"name": "n", "type": "long"}, {"name": "unit", "type": "string", "default": "km"}]));
    let place = Place::new(&[("old.avsc", &old), ("new.avsc", &new), ("in.jsonl", "{\"n\":1}\n")]);
    let keys = |file: &str| format!("avro = \"{file}\"\nregistry = \"{}\"", registry());
    place
        .run(&format!("{topic}.old"), "\"file:in.jsonl\"", &format!("\"{uri}\"\n[sink.schema]\n{}", keys("old.avsc")))
        .counters();
    std::fs::write(place.path().join("in.jsonl"), "{\"n\":3000000000,\"unit\":\"m\"}\n").unwrap();
    place
        .run(&format!("{topic}.new"), "\"file:in.jsonl\"", &format!("\"{uri}\"\n[sink.schema]\n{}", keys("new.avsc")))
        .counters();
    assert_ne!(framed(&values(&kafka, &topic)[0]).0, framed(&values(&kafka, &topic)[1]).0);

    let read = |name: &str, file: &str| {
        place.run(&format!("{topic}.{name}"), &format!("\"{uri}\"\n[source.schema]\n{}", keys(file)), "\"stdout:\"")
    };
    let expected = [json!({"n": 1, "unit": "km"}), json!({"n": 3_000_000_000_i64, "unit": "m"})];
    assert_eq!(read("by-new", "new.avsc").shown(), expected);
    // The old schema has no place for so large a number.
    let by_old = read("by-old", "old.avsc");
    assert_eq!(by_old.shown(), [json!({"n": 1})]);
    assert_eq!(by_old.counters()["rejected by source: invalid schema"], 1);
}

#[test]
fn what_has_no_number_or_one_that_nobody_gave_is_rejected() {
    let (kafka, uri, topic) = topic("garbage");
    let schema = record(&json!([{"name": "n", "type": "int"}]));
    let other = json!({"schema": json!({"type": "string"}).to_string()});
    let number =
        ask("POST", &format!("subjects/{topic}-value/versions"), Some(json!({"schema": schema})))["id"].clone();
    let text = ask("POST", &format!("subjects/{topic}-other/versions"), Some(other))["id"].clone();
    let [number, text] = [number, text].map(|number| number.as_u64().unwrap() as u32);
    let messages = [
        frame(number, &[14]),
        None,
        Some(b"{\"n\":7}".to_vec()),
        Some(Vec::new()),
        Some(vec![0, 0, 0]),
        frame(u32::MAX, &[14]),
        frame(text, &[2, b'x']),
        frame(number, &[14, 14]),
        frame(number, &[]),
        frame(number, &[16]),
    ];
    put(&kafka, &topic, &messages);
    let place = Place::new(&[("r.avsc", &schema)]);
    let source = format!("\"{uri}\"\n[source.schema]\navro = \"r.avsc\"\nregistry = \"{}\"", registry());
    let run = place.run(&format!("{topic}.p"), &source, "\"kafka:///out\"");
    let counters = run.counters();
    let count = |cause: &str| counters[format!("rejected by source: {cause}")].as_u64().unwrap_or(0);
    let counts = ["no schema number", "unknown schema", "invalid schema"].map(count);
    // The null is one for the plugin too, which rejects it.
    assert_eq!((counts, &counters["rejected by flatten"]), ([3, 2, 2], &json!(1)), "{counters}");
    let out: Vec<_> = place.values("out").into_iter().map(|value| String::from_utf8(value.unwrap()).unwrap()).collect();
    assert_eq!(out, [r#"{"n":7}"#, r#"{"n":8}"#]);
}

#[test]
fn json_has_a_number_too() {
    let (kafka, uri, topic) = topic("json");
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {"n": {"type": "integer"}}
    });
    let place = Place::new(&[("n.json", &schema.to_string()), ("in.jsonl", "{\"n\":1}\n{\"n\":\"1\"}\n")]);
    let keys = format!("json = \"n.json\"\nregistry = \"{}\"\nsubject = \"{topic}-named\"", registry());
    let counters = place
        .run(&format!("{topic}.write"), "\"file:in.jsonl\"", &format!("\"{uri}\"\n[sink.schema]\n{keys}"))
        .counters();
    assert_eq!(counters["rejected by sink: invalid schema"], 1, "{counters}");
    let wire = values(&kafka, &topic);
    let (number, rest) = framed(&wire[0]);
    assert_eq!((wire.len(), rest), (1, br#"{"n":1}"#.as_slice()));
    let latest = ask("GET", &format!("subjects/{topic}-named/versions/latest"), None);
    assert_eq!((&latest["id"], &latest["schemaType"]), (&json!(number), &json!("JSON")));
    let back = place.run(&format!("{topic}.read"), &format!("\"{uri}\"\n[source.schema]\n{keys}"), "\"stdout:\"");
    assert_eq!(back.shown(), [json!({"n": 1})]);
}

#[test]
fn a_schema_that_the_registry_does_not_take_is_told_with_its_reason() {
    let (_, uri, topic) = topic("refused");
    let schema = record(&json!([{"name": "n", "type": "int"}]));
    ask("POST", &format!("subjects/{topic}-value/versions"), Some(json!({"schema": schema})));
    ask("PUT", &format!("config/{topic}-value"), Some(json!({"compatibility": "BACKWARD"})));
    let changed = record(&json!([{"name": "n", "type": "string"}]));
    let place = Place::new(&[("r.avsc", &changed), ("n.json", "{}"), ("in.jsonl", "{\"n\":\"1\"}\n")]);
    let write = |keys: &str, url: &str| {
        let sink = format!("\"{uri}\"\n[sink.schema]\n{keys}\nregistry = \"{url}\"");
        place.run(&format!("{topic}.p"), "\"file:in.jsonl\"", &sink)
    };
    let subject = format!("the next version of {topic}-value");
    write("avro = \"r.avsc\"", &registry()).failed(2, &["r.avsc", &subject, "STRING", "as by defaults of new fields"]);
    write("json = \"n.json\"\nsubject = \"x\"", &registry()).failed(2, &["n.json", "a JSON Schema with a"]);
    let elsewhere = registry().replace("/apis/ccompat/v7", "/apis");
    write("avro = \"r.avsc\"", &elsewhere).failed(2, &["404", "as no registry does", "/apis/ccompat/v7 of Apicurio"]);
    let source = format!("\"{uri}\"\n[source.schema]\navro = \"r.avsc\"\nregistry = \"{elsewhere}\"");
    place.run(&format!("{topic}.r"), &source, "\"stdout:\"").failed(2, &["404", "as no registry does"]);
}

#[test]
fn while_the_registry_is_away_what_it_must_be_asked_for_waits() {
    let name = format!("away-{:016x}", fastrand::u64(..));
    let register = |schema: &str| {
        ask("POST", &format!("subjects/{name}/versions"), Some(json!({"schema": schema})))["id"].as_u64().unwrap()
            as u32
    };
    let schema = record(&json!([{"name": "n", "type": "int"}]));
    let wider = record(&json!([{"name": "n", "type": "int"}, {"name": name.replace('-', "_"), "type": "string"}]));
    let (known, later) = (register(&schema), register(&wider));
    let door = Door::to(&registry());
    let place = Place::new(&[("r.avsc", &schema)]);
    let source = format!("\"kafka:///in\"\n[source.schema]\navro = \"r.avsc\"\nregistry = \"{}\"", door.url());
    let file = place.pipeline("p", &source, "\"kafka:///out\"");
    let put = |message: Option<Vec<u8>>| place.put("in", &[("key", message.as_deref())]);
    let out = |count: usize| wait_for("output", || Some(place.values("out")).filter(|values| values.len() == count));
    put(frame(known, &[2]));
    let log = place.path().join("host.log");
    let mut command = host(place.path(), &["run", &file]);
    command.stderr(std::fs::File::create(&log).unwrap());
    let running = Running::start(command);
    wait_for("the topic", || place.log().describe("out").ok());
    out(1);
    door.close();
    // What was asked before is known.
    put(frame(known, &[4]));
    out(2);
    put(frame(later, &[6, 2, b'x']));
    put(frame(known, &[8]));
    let said = format!("the schema of number {later} is not known yet");
    wait_for("the interruption", || std::fs::read_to_string(&log).unwrap().contains(&said).then_some(()));
    assert_eq!(place.values("out").len(), 2);
    door.open();
    let values: Vec<_> = out(4).into_iter().map(|value| String::from_utf8(value.unwrap()).unwrap()).collect();
    assert_eq!(values, [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#, r#"{"n":4}"#]);
    assert!(running.stop("TERM").success());
    assert!(place.letters("p").is_empty());
}
