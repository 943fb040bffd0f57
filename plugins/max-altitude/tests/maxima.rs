//! `max-altitude` as the host sees it, natively.

use apogee_sdk::wire::{Batch, Column};
use max_altitude::MaxAltitude;

fn open(settings: &str) -> MaxAltitude {
    apogee_sdk::open(settings).expect("settings")
}

fn column(strings: &[Option<&str>]) -> Column {
    Column {
        bytes: strings.iter().flatten().flat_map(|string| string.bytes()).collect(),
        lengths: strings.iter().map(|string| string.map_or(-1, |string| string.len() as i32)).collect(),
    }
}

/// Which of the messages, key and value, come out, and why which are rejected.
fn process(plugin: &mut MaxAltitude, messages: &[(Option<&str>, &str)]) -> (Vec<u32>, Vec<(u32, String)>) {
    let keys: Vec<_> = messages.iter().map(|(key, _)| *key).collect();
    let values: Vec<_> = messages.iter().map(|(_, value)| Some(*value)).collect();
    let timestamps = (0..messages.len() as i64).collect();
    let batch = Batch { keys: column(&keys), values: column(&values), timestamps, headers: Vec::new() };
    let output = apogee_sdk::process(plugin, batch);
    let unchanged: Vec<_> = output.origins.iter().map(|origin| values[*origin as usize]).collect();
    assert_eq!(output.messages.values.bytes, column(&unchanged).bytes, "what comes out is what came in");
    (output.origins, output.rejected.into_iter().map(|it| (it.message, it.reason)).collect())
}

#[test]
fn each_new_maximum_of_a_key_comes_out() {
    let plugin = &mut open("");
    let messages = [
        (Some("a"), r#"{"altitude": 420.5}"#),
        (Some("a"), r#"{"altitude": 420.50}"#),
        (Some("b"), r#"{"altitude": -3}"#),
        (Some("a"), r#"{"altitude": "420.6", "x": 1}"#),
        (None, r#"{"altitude": 1}"#),
        (Some(""), r#"{"altitude": 0}"#),
        (Some("b"), r#"{"altitude": -4}"#),
        (Some("a"), r#"{"altitude": 420}"#),
    ];
    assert_eq!(process(plugin, &messages), (vec![0, 2, 3, 4, 5], vec![]));
    // What was kept makes a new instance go on.
    let entries = apogee_sdk::changes(plugin);
    assert_eq!(entries.keys.lengths.len(), 4);
    assert!(apogee_sdk::changes(plugin).keys.lengths.is_empty());
    let other = &mut open("");
    apogee_sdk::restore(other, env!("CARGO_PKG_VERSION"), entries).expect("its own state");
    let messages = [(Some("a"), r#"{"altitude": 420.6}"#), (Some("a"), r#"{"altitude": 420.7}"#)];
    assert_eq!(process(other, &messages), (vec![1], vec![]));
}

#[test]
fn field_and_group_are_settings_and_integers_are_exact() {
    let plugin = &mut open(r#"{"field":"p_n","by":["g"]}"#);
    let messages = [
        (None, r#"{"g":1,"p":{"n":9007199254740992}}"#),
        (None, r#"{"g":1,"p":{"n":9007199254740993}}"#),
        (None, r#"{"g":2,"p":{"n":0}}"#),
        (None, r#"{"p":{"n":1e300},"g":2}"#),
    ];
    assert_eq!(process(plugin, &messages), (vec![0, 1, 2, 3], vec![]));
}

#[test]
fn what_has_no_number_is_rejected() {
    let plugin = &mut open(r#"{"by":["g"]}"#);
    let messages = [
        (None, "nonsense"),
        (None, r#"{"altitude":1}"#),
        (None, r#"{"g":1}"#),
        (None, r#"{"g":1,"altitude":"high\n"}"#),
        (None, r#"{"g":1,"altitude":null}"#),
    ];
    let reasons = [
        "not a JSON object: something that is no value at byte 0",
        "field `g`: missing or null",
        "field `altitude`: missing or null",
        r#"field `altitude`: "high\n" is not a number"#,
        "field `altitude`: missing or null",
    ];
    let expected = (0..).zip(reasons.map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(process(plugin, &messages), (vec![], expected));
    assert!(apogee_sdk::changes(plugin).keys.lengths.is_empty(), "what is rejected changes nothing");
}

#[test]
fn it_answers_with_the_highest_of_each_key_or_of_one() {
    let plugin = &mut open("");
    assert_eq!(apogee_sdk::ask(plugin, ""), Ok("[]".to_owned()));
    let messages = [
        (Some("b\"c"), r#"{"altitude": "420.50"}"#),
        (Some("a"), r#"{"altitude": -3}"#),
        (None, r#"{"altitude": 1e3}"#),
        (Some("a"), r#"{"altitude": -2}"#),
    ];
    process(plugin, &messages);
    let all = r#"[{"key":null,"altitude":1e3},{"key":"a","altitude":-2},{"key":"b\"c","altitude":420.50}]"#;
    assert_eq!(apogee_sdk::ask(plugin, "").unwrap(), all);
    assert_eq!(apogee_sdk::ask(plugin, "a").unwrap(), r#"[{"key":"a","altitude":-2}]"#);
    assert_eq!(apogee_sdk::ask(plugin, "d").unwrap(), "[]");
    assert!(apogee_sdk::changes(plugin).keys.lengths.len() == 3, "an answer changes nothing");
}
