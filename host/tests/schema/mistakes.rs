//! Schemas and registries that are not as they must be.

use serde_json::json;

use super::{Place, record};
use crate::program::run;

#[test]
fn a_schema_that_is_none_is_told_before_anything_runs() {
    let far = json!({"$ref": "https://example.org/schema.json"}).to_string();
    let files = [
        ("cut.avsc", r#"{"type":"record","#, "it is no Avro schema of a message: Failed to parse schema from JSON"),
        ("text.avsc", r#""string""#, "it is not a record, and messages are"),
        ("unknown.avsc", &record(&json!([{"name": "a", "type": "stops"}])), "stops"),
        ("cut.json", "{", "it is not JSON: EOF"),
        ("wrong.json", r#"{"type": "text"}"#, "it is no JSON Schema that stands by itself"),
        ("far.json", &far, "https://example.org/schema.json"),
        ("beside.json", r#"{"$ref": "other.json"}"#, "other.json"),
    ];
    let written: Vec<_> = files.iter().map(|(name, text, _)| (*name, *text)).collect();
    let place = Place::new(&written);
    std::fs::write(place.path().join("in.jsonl"), "{\"a\":1}\n").unwrap();
    let missing = ("missing.avsc", "", "No such file or directory");
    for (file, _, said) in files.into_iter().chain([missing]) {
        let language = if file.ends_with("avsc") { "avro" } else { "json" };
        let sink = format!("\"kafka:///out\"\n[sink.schema]\n{language} = \"{file}\"");
        place.run("p", "\"file:in.jsonl\"", &sink).failed(2, &[file, said]);
        let checked = run(place.path(), &["check", "p.toml"]);
        assert_eq!(checked.status.code(), Some(2), "{file}");
        assert!(String::from_utf8_lossy(&checked.stderr).contains(said), "{file}");
    }
}

#[test]
fn check_shows_what_is_on_the_wire_and_asks_nobody() {
    let place = Place::new(&[("r.avsc", &record(&json!([{"name": "n", "type": "int"}])))]);
    let sink = "\"kafka:///out\"\n[sink.schema]\navro = \"r.avsc\"\nregistry = \"http://127.0.0.1:1/apis/ccompat/v7\"";
    place.pipeline("p", "\"kafka:///in\"\n[source.schema]\navro = \"r.avsc\"\nwire = \"json\"", sink);
    let shown = crate::program::run_ok(place.path(), &["check", "p.toml"]);
    for line in [
        "read by       Avro R of 1 field(s), r.avsc; on the wire JSON and nothing else",
        "written by    Avro R of 1 field(s), r.avsc; on the wire Avro after its number in \
         http://127.0.0.1:1/apis/ccompat/v7 (subject out-value)",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn a_registry_that_is_not_there_is_told_before_anything_is_read() {
    let place = Place::new(&[("r.avsc", &record(&json!([{"name": "n", "type": "int"}])))]);
    place.put("in", &[("a", Some(br#"{"n":1}"#))]);
    let keys = "avro = \"r.avsc\"\nregistry = \"http://127.0.0.1:1/x\"";
    let says = ["schema registry http://127.0.0.1:1/x does not answer", "start it, or mend `registry`"];
    let sink = format!("\"kafka:///out\"\n[sink.schema]\n{keys}");
    place.run("w", "\"kafka:///in\"", &sink).failed(3, &says);
    let source = format!("\"kafka:///in\"\n[source.schema]\n{keys}");
    place.run("r", &source, "\"kafka:///out\"").failed(3, &says);
    let topics = crate::program::run_ok(place.path(), &["topics", "list"]);
    assert!(!topics.contains("dead") && !topics.contains("out"), "{topics}");
}
