//! `routes` as the host sees it, natively: rows in, events and rejections out.

use std::collections::BTreeSet;

use apogee_sdk::Transform;
use apogee_sdk::wire::{Batch, Column, Output};
use routes::Routes;
use serde_json::{Value, json};

const ROW: &str = r#"["2B","410","AER","2965","KZN","2990","","0","CR2"]"#;

/// 2023-07-22T04:26:40Z
const TIME: i64 = 1_690_000_000_000;

fn open(settings: &str) -> Routes {
    apogee_sdk::open(settings).expect("settings")
}

/// Puts rows through that come from these offsets.
fn process(plugin: &mut Routes, partition: u32, rows: &[(i64, &str)]) -> Output {
    let column = |lengths| Column { bytes: Vec::new(), lengths };
    let mut values = column(Vec::new());
    for (_, row) in rows {
        values.bytes.extend_from_slice(row.as_bytes());
        values.lengths.push(row.len() as i32);
    }
    let keys = column(vec![-1; rows.len()]);
    let batch = Batch { keys, values, timestamps: vec![TIME; rows.len()], headers: Vec::new() };
    let offsets: Vec<i64> = rows.iter().map(|(offset, _)| *offset).collect();
    apogee_sdk::process_at(plugin, partition, &offsets, batch)
}

fn events(output: &Output) -> Vec<Value> {
    let mut bytes = &output.messages.values.bytes[..];
    let event = |length: &i32| {
        let (event, rest) = bytes.split_at(*length as usize);
        bytes = rest;
        serde_json::from_slice(event).expect("JSON")
    };
    output.messages.values.lengths.iter().map(event).collect()
}

fn ids(settings: &str, partition: u32, offsets: &[i64]) -> Vec<String> {
    let rows: Vec<_> = offsets.iter().map(|offset| (*offset, ROW)).collect();
    let events = events(&process(&mut open(settings), partition, &rows));
    events.iter().map(|event| event["id"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn a_row_becomes_an_event() {
    let plugin = &mut open("");
    let shared = r#"["W9","\\N","\"É\"","1","B\u00e9","2","Y","1","319 320"]"#.replace("\"\\\\N\"", "\"7\"");
    let found = events(&process(plugin, 0, &[(0, ROW), (32, &shared)]));
    let id = |event: &Value| event["id"].clone();
    let expected = json!({
        "id": id(&found[0]), "datetime": "2023-07-22T04:26:40Z", "airline": "2B", "airline_id": 410,
        "source_airport": "AER", "source_airport_id": 2965, "destination_airport": "KZN",
        "destination_airport_id": 2990, "codeshare": false, "stops": 0, "equipment": "CR2",
    });
    assert_eq!(found[0], expected);
    let expected = json!({
        "id": id(&found[1]), "datetime": "2023-07-22T04:26:40Z", "airline": "W9", "airline_id": 7,
        "source_airport": "\"É\"", "source_airport_id": 1, "destination_airport": "Bé", "destination_airport_id": 2,
        "codeshare": true, "stops": 1, "equipment": "319 320",
    });
    assert_eq!(found[1], expected);
    let declared: Vec<_> = plugin.fields().into_iter().map(|field| field.name).collect();
    assert!(found[0].as_object().expect("an object").keys().eq(&BTreeSet::from_iter(declared)));
}

#[test]
fn an_id_follows_from_the_position_and_differs_from_all_others() {
    let offsets: Vec<i64> = (0..1_000).collect();
    let first = ids("", 0, &offsets);
    assert_eq!(ids("", 0, &offsets), first, "the same again");
    assert_eq!(ids("", 0, &offsets[500..]), first[500..], "whatever the batch");
    let mut all: BTreeSet<String> = first.iter().cloned().collect();
    all.extend(ids("", 1, &offsets));
    all.extend(ids(r#"{"namespace":"routes"}"#, 0, &offsets));
    // Three that a plugin before made of one message.
    all.extend(ids("", 2, &[7, 7, 7]));
    assert_eq!(all.len(), 3_003);
    for id in all {
        let id: uuid::Uuid = id.parse().expect("a UUID");
        assert_eq!((id.get_version_num(), id.get_variant()), (8, uuid::Variant::RFC4122));
    }
}

#[test]
fn what_is_no_row_or_has_no_id_is_rejected_with_the_reason() {
    let row = |number: usize, text: &str| {
        let mut row: Vec<String> = serde_json::from_str(ROW).expect("a row");
        row[number] = text.to_owned();
        serde_json::to_string(&row).expect("JSON")
    };
    let large = "9".repeat(60);
    let cases = [
        (row(1, "\\N"), "airline_id is null".to_owned()),
        (row(3, "\\N"), "source_airport_id is null".to_owned()),
        (row(5, "\\N"), "destination_airport_id is null".to_owned()),
        (row(7, "\\N"), "stops is null".to_owned()),
        (row(1, ""), "airline_id: \"\" is no integer of 32 bits".to_owned()),
        (row(3, "2147483648"), "source_airport_id: \"2147483648\" is no integer of 32 bits".to_owned()),
        (row(7, &large), format!("stops: \"{}\" is no integer of 32 bits", &large[..40])),
        (row(6, "N"), "codeshare: \"N\" is neither \"Y\" nor empty".to_owned()),
        (r#"["2B"]"#.to_owned(), "not a row of nine texts: ".to_owned()),
        (r#"{"airline":"2B"}"#.to_owned(), "not a row of nine texts: ".to_owned()),
        (row(0, "2B").replace("\"410\"", "410"), "not a row of nine texts: ".to_owned()),
    ];
    let rows: Vec<_> = (0..).zip(cases.iter().map(|(row, _)| row.as_str())).collect();
    let output = process(&mut open(""), 0, &rows);
    assert!(output.messages.timestamps.is_empty());
    for ((number, rejected), (row, reason)) in (0..).zip(&output.rejected).zip(&cases) {
        assert_eq!(rejected.message, number);
        let said = &rejected.reason;
        assert!(if reason.ends_with(": ") { said.starts_with(reason) } else { said == reason }, "{row}: {said}");
    }
    assert_eq!(output.rejected.len(), cases.len());
    // A null in another column is one.
    let event = &events(&process(&mut open(""), 0, &[(0, &row(8, "\\N"))]))[0];
    assert_eq!(event["equipment"], Value::Null);
}
