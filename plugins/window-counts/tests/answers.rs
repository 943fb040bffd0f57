//! Questions about windows that are open.

use apogee_sdk::wire::{Batch, Column};
use window_counts::WindowCounts;

fn column(strings: &[&str]) -> Column {
    Column { bytes: strings.concat().into_bytes(), lengths: strings.iter().map(|text| text.len() as i32).collect() }
}

#[test]
fn the_open_windows_are_answered_as_they_would_close_now() {
    let settings = r#"{"window": "1m", "by": ["g"], "aggregates": ["count", "sum(n)"]}"#;
    let plugin: &mut WindowCounts = &mut apogee_sdk::open(settings).expect("settings");
    assert_eq!(apogee_sdk::ask(plugin, ""), Ok("[]".to_owned()));
    let values = [r#"{"g":"b","n":1}"#, r#"{"g":"a","n":2}"#, r#"{"g":"b","n":3}"#];
    let timestamps = vec![0, 1_000, 2_000];
    let batch = Batch { keys: column(&["", "", ""]), values: column(&values), timestamps, headers: Vec::new() };
    assert_eq!(apogee_sdk::process(plugin, batch).origins.len(), 0);
    let answer = apogee_sdk::ask(plugin, "").unwrap();
    let edges = r#""start":"1970-01-01T00:00:00Z","end":"1970-01-01T00:01:00Z""#;
    let expected = format!(r#"[{{"g":"a","count":1,"sum_n":2,{edges}}},{{"g":"b","count":2,"sum_n":4,{edges}}}]"#);
    assert_eq!(answer, expected);
    assert!(apogee_sdk::ask(plugin, "b").unwrap_err().contains("leave the question empty"));
    // They are put out as they were answered.
    let closed = apogee_sdk::advance(plugin, i64::MAX).messages.values.bytes;
    assert_eq!(format!("[{}]", String::from_utf8(closed).unwrap().replace("}{", "},{")), expected);
}
