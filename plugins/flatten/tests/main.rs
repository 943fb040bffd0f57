//! `flatten` as the host sees it, natively: settings in, a batch through, output and rejections out.

mod against_reference;
mod conversions;
mod rejections;
mod times;

use apogee_sdk::wire::{Batch, Column, Header};
use apogee_sdk::{Kind, Transform};
use flatten::Flatten;

pub const ISS: &str = r#"{"iss_position": {"longitude": "-85.6433", "latitude": "-15.3433"}, "timestamp": 1690000000, "message": "success"}"#;

/// What became of one message: its value and timestamp, or the reason why it was rejected.
pub type Outcome = Result<(String, i64), String>;

pub fn open(settings: &str) -> Flatten {
    apogee_sdk::open(settings).expect("settings")
}

pub fn refused(settings: &str) -> String {
    apogee_sdk::open::<Flatten>(settings).err().expect("refused settings")
}

/// Puts texts through as one batch; each has its index as its timestamp.
pub fn flatten<T: AsRef<[u8]>>(plugin: &mut Flatten, texts: &[T]) -> Vec<Outcome> {
    let bytes = texts.iter().flat_map(|text| text.as_ref().to_vec()).collect();
    let lengths = texts.iter().map(|text| text.as_ref().len() as i32).collect();
    let batch = Batch {
        keys: Column { bytes: Vec::new(), lengths: vec![-1; texts.len()] },
        values: Column { bytes, lengths },
        timestamps: (0..texts.len() as i64).collect(),
        headers: Vec::new(),
    };
    let output = apogee_sdk::process(plugin, batch);
    let mut outcomes = vec![None; texts.len()];
    let mut values = &output.messages.values.bytes[..];
    let lengths = output.messages.values.lengths.iter().zip(&output.messages.timestamps);
    for (origin, (length, timestamp)) in output.origins.iter().zip(lengths) {
        let (value, rest) = values.split_at(*length as usize);
        values = rest;
        let value = String::from_utf8(value.to_vec()).expect("UTF-8");
        assert!(outcomes[*origin as usize].replace(Ok((value, *timestamp))).is_none(), "once");
    }
    for rejection in output.rejected {
        assert!(outcomes[rejection.message as usize].replace(Err(rejection.reason)).is_none(), "once");
    }
    outcomes.into_iter().map(|outcome| outcome.expect("an outcome for each")).collect()
}

/// The outgoing value of a single text.
pub fn value(plugin: &mut Flatten, text: &str) -> Result<String, String> {
    flatten(plugin, &[text]).remove(0).map(|(value, _)| value)
}

#[test]
fn everything_is_kept_as_it_stands() {
    let plugin = &mut open("");
    assert_eq!(
        value(plugin, ISS).as_deref(),
        Ok(
            r#"{"iss_position_longitude":"-85.6433","iss_position_latitude":"-15.3433","timestamp":1690000000,"message":"success"}"#
        )
    );
    let text = r#" { "a" : [1, {"b":2}], "c":{"d":{"e":1.50e+3,"f":{}},"g":"\u00e9\n"}, "\u0068\"":null } "#;
    let expected = r#"{"a":[1, {"b":2}],"c_d_e":1.50e+3,"c_d_f":{},"c_g":"\u00e9\n","h\"":null}"#;
    assert_eq!(value(plugin, text).as_deref(), Ok(expected));
    assert_eq!(value(plugin, "{}").as_deref(), Ok("{}"));
    assert!(plugin.fields().is_empty());
    assert_eq!(value(&mut open(r#"{"separator":"."}"#), r#"{"a":{"b":1}}"#).as_deref(), Ok(r#"{"a.b":1}"#));
}

#[test]
fn fields_are_picked_in_order_and_missing_ones_are_null() {
    let plugin = &mut open(
        r#"{"fields": [
            {"from": "timestamp", "name": "local_time", "type": "timestamp", "unit": "s"},
            {"from": "iss_position_longitude", "name": "longitude"},
            {"from": "iss_position_latitude", "name": "latitude", "type": "float"},
            {"from": "altitude"}
        ]}"#,
    );
    let fields: Vec<_> = plugin.fields().into_iter().map(|field| (field.name, field.kind, field.nullable)).collect();
    let expected = [
        ("local_time", Kind::Timestamp),
        ("longitude", Kind::Text),
        ("latitude", Kind::Float),
        ("altitude", Kind::Text),
    ];
    assert_eq!(fields.len(), expected.len());
    for ((name, kind, nullable), expected) in fields.iter().zip(expected) {
        assert_eq!((name.as_str(), *kind as u8, nullable), (expected.0, expected.1 as u8, &true));
    }
    let expected =
        r#"{"local_time":"2023-07-22T04:26:40Z","longitude":"-85.6433","latitude":-15.3433,"altitude":null}"#;
    // The second time along the remembered shape, then another shape, then the first one again.
    let other = r#"{"altitude": 1e2, "timestamp": "1690000000"}"#;
    let outcomes = flatten(plugin, &[ISS, ISS, other, ISS]);
    for (index, outcome) in outcomes.iter().enumerate() {
        let expected = match index {
            2 => r#"{"local_time":"2023-07-22T04:26:40Z","longitude":null,"latitude":null,"altitude":1e2}"#,
            _ => expected,
        };
        assert_eq!(outcome, &Ok((expected.to_owned(), index as i64)));
    }
}

#[test]
fn key_and_headers_are_kept() {
    let batch = Batch {
        keys: Column { bytes: b"key".to_vec(), lengths: vec![3, -1] },
        values: Column { bytes: b"{}nonsense".to_vec(), lengths: vec![2, 8] },
        timestamps: vec![7, 8],
        headers: vec![
            Header { message: 0, name: "trace".to_owned(), value: vec![1, 2] },
            Header { message: 1, name: "lost".to_owned(), value: vec![3] },
        ],
    };
    let output = apogee_sdk::process(&mut open(""), batch);
    assert_eq!((&output.messages.keys.bytes[..], &output.messages.keys.lengths[..]), (&b"key"[..], &[3][..]));
    assert_eq!(output.messages.timestamps, [7]);
    let headers: Vec<_> = output.messages.headers.iter().map(|header| (header.message, header.name.as_str())).collect();
    assert_eq!(headers, [(0, "trace")]);
    assert_eq!(output.rejected.len(), 1);
}

#[test]
fn a_key_is_made_of_outgoing_fields() {
    let keys = |settings: &str, texts: &[&str]| {
        let values = Column {
            bytes: texts.concat().into_bytes(),
            lengths: texts.iter().map(|text| text.len() as i32).collect(),
        };
        let keys = Column { bytes: b"k".repeat(texts.len()), lengths: vec![1; texts.len()] };
        let batch = Batch { keys, values, timestamps: vec![0; texts.len()], headers: Vec::new() };
        let Column { bytes, lengths } = apogee_sdk::process(&mut open(settings), batch).messages.keys;
        let mut bytes = &bytes[..];
        let key = |length: &i32| {
            let (key, rest) = bytes.split_at(usize::try_from(*length).ok()?);
            bytes = rest;
            Some(String::from_utf8(key.to_vec()).expect("UTF-8"))
        };
        lengths.iter().map(key).collect::<Vec<_>>()
    };
    let some = |key: &str| Some(key.to_owned());
    // Another shape, an escape, a missing field, a number: each time the field's text.
    let texts = [r#"{"a":{"b":"x"},"c":1}"#, r#"{"c":1,"a":{"b":"\u0078\n"}}"#, r#"{"c":1}"#, r#"{"a":{"b":1.50}}"#];
    let one = keys(r#"{"key":["a_b"]}"#, &texts);
    assert_eq!(one, [some("x"), some("x\n"), None, some("1.50")]);
    let two = keys(r#"{"key":["c","a_b"]}"#, &texts);
    assert_eq!(two, [some(r#"[1,"x"]"#), some(r#"[1,"x\n"]"#), some("[1,null]"), some("[null,1.50]")]);
    let picked = r#"{"fields":[{"from":"c","name":"t","type":"timestamp"},{"from":"a_b","name":"n"}],"key":["t"]}"#;
    assert_eq!(keys(picked, &texts[..1]), [some("1970-01-01T00:00:01Z")]);
    assert_eq!(open(picked).key(), ["t"]);
    assert_eq!(
        refused(r#"{"fields":[{"from":"c","name":"t"}],"key":["c"]}"#),
        "settings: `key` has `c`, which is none of the `fields` that are put out"
    );
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    assert_eq!(
        refused(r#"{"seperator":"."}"#),
        "settings: unknown field `seperator`, expected one of `separator`, `fields`, `event_time`, `key` at line 1 column 12"
    );
    assert_eq!(refused(r#"{"fields":[]}"#), "settings: `fields` is empty; leave it out to keep everything");
    assert_eq!(
        refused(r#"{"fields":[{"from":"a"},{"from":"b","name":"a"}]}"#),
        "settings: field `a`: the name is there twice; set `name` of one"
    );
    assert_eq!(
        refused(r#"{"fields":[{"from":"a","unit":"s"}]}"#),
        "settings: field `a`: `unit` needs `type` \"timestamp\""
    );
    for offset in ["+2", "02:00", "+02:00:30", "Europe/Berlin", "+25:00", "[+02]", ""] {
        assert_eq!(
            refused(&format!(r#"{{"fields":[{{"from":"a","type":"timestamp","offset":"{offset}"}}]}}"#)),
            "settings: field `a`: `offset` is no UTC offset such as \"+02:00\"",
            "{offset}"
        );
    }
    assert!(refused(r#"{"fields":[{"from":"a","type":"date"}]}"#).contains("unknown variant `date`"));
    assert!(refused(r#"{"event_time":{"field":"t"}}"#).contains("missing field `unit`"));
}
