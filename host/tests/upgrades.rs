//! The plugins in several versions, through the wall: what of one's state the next one takes back, and what they put out.

use host::message::Batch;
use host::plugin::{Engine, Entries, Instance, Limits, Output};
use serde_json::{Value, json};

use crate::program::plugin;

fn open(engine: &Engine, name: &str, settings: &Value) -> Instance {
    engine.load(&plugin(name)).unwrap().open(settings, &Limits::default()).unwrap()
}

fn batch(values: &[&str]) -> Batch {
    let mut batch = Batch::new();
    for (time, value) in (0..).zip(values) {
        batch.push(Some(b"key"), Some(value.as_bytes()), time);
    }
    batch
}

fn json_values(batch: &Batch) -> Vec<Value> {
    batch.values.iter().flatten().map(|value| serde_json::from_slice(value).unwrap()).collect()
}

fn process(instance: &mut Instance, values: &[&str]) -> Vec<Value> {
    let Output { messages, rejected, .. } = instance.process(&batch(values)).unwrap();
    assert_eq!(rejected.len(), 0);
    json_values(&messages)
}

fn changes(instance: &mut Instance) -> Entries {
    let entries = instance.changes().unwrap().unwrap_or_default();
    assert!(instance.changes().unwrap().is_none(), "one part is enough");
    entries
}

#[test]
fn a_stamp_goes_on_from_the_one_before_and_a_new_one_refuses() {
    let engine = Engine::new().unwrap();
    let settings = json!({});
    let mut first = open(&engine, "stamp-1", &settings);
    let fields: Vec<_> = first.opened.fields.iter().map(|field| field.name.clone()).collect();
    assert_eq!(fields, ["id", "version", "count"]);
    let said = process(&mut first, &[r#"{"id":1}"#, r#"{"id":2}"#]);
    assert_eq!(said[1], json!({"id": 2, "version": "1.0.0", "count": 2}));
    let kept = changes(&mut first);
    let mut second = open(&engine, "stamp-2", &settings);
    second.restore("1.0.0", &kept).unwrap();
    assert!(changes(&mut second).keys.is_empty(), "what has the same form is not written again");
    assert_eq!(process(&mut second, &[r#"{"id":3}"#]), [json!({"id": 3, "version": "1.0.1", "count": 3})]);
    let error = open(&engine, "stamp-3", &settings).restore("1.0.0", &kept).unwrap_err().to_string();
    assert!(error.contains("it was kept by version 1.0.0, and 2.0.0 does not read that"), "{error}");
}

#[test]
fn exactly_one_field_of_the_changed_flatten_differs() {
    let engine = Engine::new().unwrap();
    let feed = [r#"{"id":25544,"altitude":420.73,"a":{"latitude":-1.5}}"#, r#"{"altitude": -3,"x":1.5}"#];
    let [own, changed] =
        ["flatten", "flatten-changed"].map(|name| process(&mut open(&engine, name, &json!({})), &feed));
    assert_eq!(own[0], json!({"id": 25544, "altitude": 420.73, "a_latitude": -1.5}));
    assert_eq!(changed[0], json!({"id": 25544, "altitude": 420, "a_latitude": -1.5}));
    assert_eq!(own[1], changed[1]);
}

#[test]
fn windows_of_version_1_go_on_with_one_more_aggregate() {
    let engine = Engine::new().unwrap();
    let settings = |aggregates: Value| json!({"window": "1s", "by": ["g"], "aggregates": aggregates});
    let mut first = open(&engine, "window-counts-1", &settings(json!(["count", "sum(v)"])));
    assert_eq!(process(&mut first, &[r#"{"g":"a","v":1}"#, r#"{"g":"a","v":2}"#]).len(), 0);
    let kept = changes(&mut first);
    assert_eq!(kept.keys.len(), 2, "a window and stream time");

    let mut second = open(&engine, "window-counts", &settings(json!(["count", "sum(v)", "max(v)"])));
    second.restore("0.1.0", &kept).unwrap();
    process(&mut second, &[r#"{"g":"a","v":5}"#, r#"{"g":"b","v":7}"#]);
    let kept = changes(&mut second);
    assert_eq!(kept.keys.len(), 3, "both windows and the settings; stream time is as it was");
    let closed = json_values(&second.advance(i64::MAX).unwrap());
    let window = |group: &str, count: u32, sum: u32, max: Option<u32>| {
        let (start, end) = ("1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z");
        json!({"g": group, "count": count, "sum_v": sum, "max_v": max, "start": start, "end": end})
    };
    assert_eq!(closed, [window("a", 3, 8, None), window("b", 1, 7, Some(7))]);

    // The way back is refused, and so are other windows.
    let error = first.restore("0.2.0", &kept).unwrap_err().to_string();
    assert!(error.contains("it was kept by version 0.2.0, and 0.1.0 does not read that"), "{error}");
    let mut other = open(&engine, "window-counts", &json!({"window": "2s", "by": ["g"]}));
    let error = other.restore("0.2.0", &kept).unwrap_err().to_string();
    assert!(error.contains("its windows were cut by another `window`, `slide` or `session`"), "{error}");
}
