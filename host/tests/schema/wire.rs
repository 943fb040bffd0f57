//! What is on the wire without a registry, and what becomes of what does not fit.

use serde_json::json;

use super::{Place, avro, jsonl, record, route, route_schema};

#[test]
fn routes_are_avro_that_others_read_and_so_do_we() {
    let mut wide = route(0);
    wide["gate"] = json!("B7");
    let good = [route(0), route(1), route(i32::MAX)];
    let input = [good[0].clone(), wide, good[1].clone(), route("none"), good[2].clone(), route(2_147_483_648_i64)];
    let place = Place::new(&[("route.avsc", &route_schema()), ("in.jsonl", &jsonl(&input))]);
    let out = "\"kafka:///out\"\n[sink.schema]\navro = \"route.avsc\"";
    let counters = place.run("write", "\"file:in.jsonl\"", out).counters();
    assert_eq!((&counters["messages in"], &counters["messages out"]), (&json!(6), &json!(3)), "{counters}");
    assert_eq!(counters["rejected by sink: invalid schema"], 3, "{counters}");
    let reasons: Vec<_> = place.letters("write").iter().map(|letter| letter["reason"].clone()).collect();
    let expected =
        ["gate: the schema has no such field", "stops: \"none\" is not an int", "stops: 2147483648 is beyond an int"];
    assert_eq!(reasons, expected.map(|reason| json!(format!("field {reason}"))));

    let wire = place.values("out");
    let read: Vec<_> = wire.iter().map(|value| avro(&route_schema(), value.as_ref().unwrap())).collect();
    assert_eq!(read, good);
    let back = place.run("read", "\"kafka:///out\"\n[source.schema]\navro = \"route.avsc\"", "\"stdout:\"");
    assert_eq!(back.shown(), good);
    // What is no text does not reach the terminal.
    let shown = crate::program::run_ok(place.path(), &["topics", "read", "kafka:///out"]);
    assert!(shown.contains("hex") && !shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
}

#[test]
fn what_is_not_of_the_schema_on_the_topic_is_rejected_with_its_offset() {
    let schema = record(&json!([{"name": "n", "type": "int"}, {"name": "s", "type": ["null", "string"]}]));
    let place = Place::new(&[("r.avsc", &schema)]);
    let messages: [(&str, Option<&[u8]>); 7] = [
        ("good", Some(&[14, 0])),
        ("cut", Some(&[14])),
        ("cut string", Some(&[14, 2, 8, b'a', b'b'])),
        ("none", Some(&[])),
        ("huge", Some(&[14, 2, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01])),
        ("more", Some(&[14, 0, 0])),
        ("text", Some(br#"{"n":7}"#)),
    ];
    place.put("in", &messages);
    place.put("in", &[("good", Some(&[1, 2, 2, b'x']))]);
    let run = place.run("p", "\"kafka:///in\"\n[source.schema]\navro = \"r.avsc\"", "\"kafka:///out\"");
    let counters = run.counters();
    assert_eq!(counters["rejected by source: invalid schema"], 6, "{counters}");
    let out: Vec<_> = place.values("out").into_iter().map(|value| String::from_utf8(value.unwrap()).unwrap()).collect();
    assert_eq!(out, [r#"{"n":7,"s":null}"#, r#"{"n":-1,"s":"x"}"#]);
    let letters = place.letters("p");
    let found: Vec<_> = letters.iter().map(|letter| (letter["offset"].as_i64().unwrap(), &letter["key"])).collect();
    let expected: Vec<_> = (1..7).map(|offset| (offset, json!(messages[offset as usize].0))).collect();
    assert_eq!(found, expected.iter().map(|(offset, key)| (*offset, key)).collect::<Vec<_>>(), "{letters:?}");
    assert!(
        letters.iter().all(|letter| letter["by"] == "source" && letter["cause"] == "invalid schema"),
        "{letters:?}"
    );
}

#[test]
fn json_stays_as_it_is_and_is_checked_both_ways() {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": ["n"],
        "properties": {"n": {"type": "integer", "minimum": 0}}, "additionalProperties": false
    });
    let avsc = record(&json!([{"name": "n", "type": "int"}]));
    let place = Place::new(&[("n.json", &schema.to_string()), ("n.avsc", &avsc)]);
    place.put("in", &[("a", Some(br#"{ "n" : 1 }"#)), ("b", Some(br#"{"n":-1.5}"#)), ("c", Some(br#"{"n":1,"m":2}"#))]);
    for (name, keys) in [("json", "json = \"n.json\""), ("avro", "avro = \"n.avsc\"\nwire = \"json\"")] {
        let (read, written) = (format!("{name}.read"), format!("{name}.written"));
        let source = format!("\"kafka:///in\"\n[source.schema]\n{keys}");
        let counters = place.run(&read, &source, &format!("\"kafka:///{name}.1\"")).counters();
        assert_eq!(counters["rejected by source: invalid schema"], 2, "{counters}");
        let sink = format!("\"kafka:///{name}.2\"\n[sink.schema]\n{keys}");
        let counters = place.run(&written, "\"kafka:///in\"", &sink).counters();
        assert_eq!(counters["rejected by sink: invalid schema"], 2, "{counters}");
        for topic in [format!("{name}.1"), format!("{name}.2")] {
            assert_eq!(place.values(&topic), [Some(br#"{"n":1}"#.to_vec())], "{topic}");
        }
        let letter = &place.letters(&written)[0];
        assert!(letter["reason"].as_str().unwrap().contains("-1.5"), "{letter}");
    }
}
