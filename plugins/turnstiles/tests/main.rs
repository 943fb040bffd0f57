//! `turnstiles` as the host sees it, natively: rows of CSV in, objects and rejections out.

use apogee_sdk::wire::{Batch, Column};
use apogee_sdk::{Kind, Transform};
use serde_json::json;
use turnstiles::Turnstiles;

const MESSAGE: &str = "A001,R001,02-00-00,Test-Station1,456NQR,BMT,08-15-23,14:05:10,REGULAR,7,9,\
                       6f1c5b9e-0000-4000-8000-000000000001,2023-08-15 14:05:10";

fn open(settings: &str) -> Turnstiles {
    apogee_sdk::open(settings).expect("settings")
}

/// Key, value and timestamp of what became of a message, or why it was rejected.
fn process(plugin: &mut Turnstiles, message: &[u8]) -> Result<(Option<String>, String, i64), String> {
    let keys = Column { bytes: b"id".to_vec(), lengths: vec![2] };
    let values = Column { bytes: message.to_vec(), lengths: vec![message.len() as i32] };
    let batch = Batch { keys, values, timestamps: vec![7], headers: Vec::new() };
    let output = apogee_sdk::process(plugin, batch);
    if let Some(rejected) = output.rejected.into_iter().next() {
        return Err(rejected.reason);
    }
    let text = |column: Column| (column.lengths[0] >= 0).then(|| String::from_utf8(column.bytes).expect("UTF-8"));
    let messages = output.messages;
    Ok((text(messages.keys), text(messages.values).expect("a value"), messages.timestamps[0]))
}

#[test]
fn a_message_is_parsed_by_the_schema_of_the_turnstiles() {
    let value = r#"{"CA":"A001","UNIT":"R001","SCP":"02-00-00","STATION":"Test-Station1","LINENAME":"456NQR","DIVISION":"BMT","DATE":"08/15/2023","TIME":"14:05:10","DESC":"REGULAR","ENTRIES":7,"EXITS":9,"ID":"6f1c5b9e-0000-4000-8000-000000000001","TIMESTAMP":"2023-08-15T14:05:10Z"}"#;
    let expected = Ok((Some("Test-Station1".to_owned()), value.to_owned(), 1_692_108_310_000));
    for end in ["", "\n", "\r\n"] {
        assert_eq!(process(&mut open(""), format!("{MESSAGE}{end}").as_bytes()), expected);
    }
    let declared: Vec<_> = open("").fields().into_iter().map(|it| (it.name, it.kind as u8, it.nullable)).collect();
    let object: serde_json::Value = serde_json::from_str(value).expect("JSON");
    assert_eq!(declared.len(), object.as_object().expect("an object").len());
    for (name, kind, nullable) in declared {
        let expected = match name.as_str() {
            "ENTRIES" | "EXITS" => Kind::Integer,
            "TIMESTAMP" => Kind::Timestamp,
            _ => Kind::Text,
        };
        assert_eq!((kind, nullable, object.get(&name).is_some()), (expected as u8, false, true), "{name}");
    }
}

#[test]
fn cells_may_be_quoted() {
    let plugin = &mut open(r#"{"columns":[{"name":"a"},{"name":"b"},{"name":"c"}],"event_time":"","key":["c","a"]}"#);
    let (key, value, timestamp) = process(plugin, b"\"x, \"\"y\"\"\n\",,\"\"\r\n").expect("a row");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&value).expect("JSON"),
        json!({"a": "x, \"y\"\n", "b": "", "c": ""})
    );
    assert_eq!((key.as_deref(), timestamp), (Some(r#"["","x, \"y\"\n"]"#), 7));
}

#[test]
fn each_type_is_read_and_put_out_as_the_settings_say() {
    let plugin = &mut open(
        r#"{"columns":[{"name":"f","type":"float"},{"name":"d","type":"date"},
            {"name":"t","type":"time","format":"%I:%M %p","to":"%H:%M"},
            {"name":"at","type":"timestamp","format":"%d.%m.%Y %H:%M"}],"event_time":"at","key":[]}"#,
    );
    let (key, value, timestamp) = process(plugin, b"-1.50,2024-02-29,02:05 PM,15.08.2023 14:05").expect("a row");
    assert_eq!(value, r#"{"f":-1.5,"d":"2024-02-29","t":"14:05","at":"2023-08-15T14:05:00Z"}"#);
    assert_eq!((key.as_deref(), timestamp), (Some("id"), 1_692_108_300_000));
}

#[test]
fn what_does_not_fit_is_rejected_with_the_reason() {
    let with = |from: &str, to: &str| MESSAGE.replace(from, to).into_bytes();
    let long = "9".repeat(50);
    let cases = [
        (Vec::new(), "not a row of CSV: it is empty".to_owned()),
        (b"\r\n".to_vec(), "not a row of CSV: it is empty".to_owned()),
        (format!("{MESSAGE}\n{MESSAGE}").into_bytes(), "not a row of CSV: it has more than one row".to_owned()),
        (with("A001", "\"A001"), "not a row of CSV: it opens a quote that is never closed".to_owned()),
        (with(",9,", ","), "it has 12 cells, and the schema has 13 columns".to_owned()),
        (with(",9,", ",9,9,"), "it has 14 cells, and the schema has 13 columns".to_owned()),
        (with(",7,", ",,"), "ENTRIES: \"\" is no whole number of 64 bits".to_owned()),
        (with(",9,", ",9.5,"), "EXITS: \"9.5\" is no whole number of 64 bits".to_owned()),
        (with(",9,", &format!(",{long},")), format!("EXITS: \"{}\" is no whole number of 64 bits", &long[..40])),
        (with("08-15-23,", "15-08-23,"), "DATE: \"15-08-23\" is no date as \"%m-%d-%y\" says".to_owned()),
        (with("14:05:10,", "24:05:10,"), "TIME: \"24:05:10\" is no time as \"%H:%M:%S\" says".to_owned()),
        (
            with("2023-08-15 14:05:10", "2023-02-29 14:05:10"),
            "TIMESTAMP: \"2023-02-29 14:05:10\" is no timestamp as \"%Y-%m-%d %H:%M:%S\" says".to_owned(),
        ),
        (
            MESSAGE.bytes().map(|byte| if byte == b'B' { 0xff } else { byte }).collect(),
            "DIVISION: not UTF-8".to_owned(),
        ),
    ];
    let plugin = &mut open("");
    for (message, reason) in cases {
        assert_eq!(process(plugin, &message), Err(reason), "{}", String::from_utf8_lossy(&message));
    }
    assert!(process(plugin, MESSAGE.as_bytes()).is_ok());
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    for (settings, text) in [
        (r#"{"columns":[]}"#, "`columns` is empty; leave it out for those of the turnstiles"),
        (r#"{"columns":[{"name":"a"},{"name":"a"}]}"#, "two columns are called `a`"),
        (r#"{"columns":[{"name":"a"}]}"#, "`event_time` names `TIMESTAMP`, which is no column"),
        (r#"{"event_time":"DATE"}"#, "`event_time` is `DATE`, which is no timestamp"),
        (r#"{"key":["station"]}"#, "`key` names `station`, which is no column"),
        (
            r#"{"columns":[{"name":"a","format":"%Y"}]}"#,
            "column `a` is no date, time or timestamp, and has no `format`",
        ),
        (
            r#"{"columns":[{"name":"a","type":"timestamp","to":"%Y"}]}"#,
            "column `a` is no date or time, and has no `to`",
        ),
        (r#"{"columns":[{"name":"a","type":"date","to":"%!"}]}"#, "column `a`: "),
        (r#"{"columns":[{"name":"a","type":"date","format":"%Y %H"}]}"#, "column `a`: "),
        (r#"{"columns":[{"name":"a","type":"time","to":"%Y"}]}"#, "column `a`: "),
        (r#"{"columns":[{"name":"a","type":"int"}]}"#, "unknown variant `int`, expected one of"),
    ] {
        let error = apogee_sdk::open::<Turnstiles>(settings).err().expect("refused settings");
        assert!(error.starts_with(&format!("settings: {text}")), "{error}");
    }
}
