//! Event times, and timestamps as text.

use crate::{flatten, open, value};

fn written(unit: &str, offset: &str, number: &str) -> Result<String, String> {
    let settings = format!(r#"{{"fields":[{{"from":"t","type":"timestamp","unit":"{unit}","offset":"{offset}"}}]}}"#);
    let out = value(&mut open(&settings), &format!("{{\"t\":{number}}}"))?;
    Ok(out.trim_start_matches("{\"t\":\"").trim_end_matches("\"}").to_owned())
}

#[test]
fn timestamps_are_written_exactly() {
    for (unit, offset, number, expected) in [
        ("s", "Z", "0", "1970-01-01T00:00:00Z"),
        ("s", "Z", "-1", "1969-12-31T23:59:59Z"),
        ("s", "Z", "-1.5", "1969-12-31T23:59:58.5Z"),
        ("s", "+02:00", "1690000000", "2023-07-22T06:26:40+02:00"),
        ("s", "-09:30", "1690000000", "2023-07-21T18:56:40-09:30"),
        ("s", "Z", "1690000000.25", "2023-07-22T04:26:40.25Z"),
        ("s", "Z", "1.69E9", "2023-07-22T04:26:40Z"),
        ("s", "Z", "\"1690000000\"", "2023-07-22T04:26:40Z"),
        ("s", "Z", "1690000000.123456789999", "2023-07-22T04:26:40.123456789Z"),
        ("ms", "Z", "1690000000123", "2023-07-22T04:26:40.123Z"),
        ("us", "Z", "1690000000123456", "2023-07-22T04:26:40.123456Z"),
        ("ns", "Z", "1690000000123456789", "2023-07-22T04:26:40.123456789Z"),
        ("s", "Z", "951827696", "2000-02-29T12:34:56Z"),
        ("s", "Z", "253402300799", "9999-12-31T23:59:59Z"),
        ("s", "Z", "-62167219200", "0000-01-01T00:00:00Z"),
        ("s", "Z", "1e-400", "1970-01-01T00:00:00Z"),
        ("s", "Z", "1e-2147483648", "1970-01-01T00:00:00Z"),
        ("ns", "Z", "-1e-2147483648", "1969-12-31T23:59:59.999999999Z"),
    ] {
        assert_eq!(written(unit, offset, number).as_deref(), Ok(expected), "{number} {unit}");
    }
    for number in [
        "253402300800",
        "-62167219201",
        "1e30",
        "1e999",
        "123456789012345678901234567890",
        "1e2147483638",
        "1e2147483639",
        "1e2147483647",
        "-1e2147483647",
        "1.5e-2147483648",
    ] {
        let reason = format!("field `t`: {number} is not a timestamp within the years 0000 to 9999");
        assert_eq!(written("s", "Z", number), Err(reason));
    }
    // In local time the year has five digits.
    assert!(written("s", "+02:00", "253402300799").is_err());
}

#[test]
fn every_day_and_second_is_written_as_jiff_writes_it() {
    let plugin = &mut open(r#"{"fields":[{"from":"t","type":"timestamp"}]}"#);
    // A prime step goes through all times of day, and leaps from day to day and back.
    let seconds: Vec<i64> = (-2_000..2_000).map(|i| i * 7_654_321 * if i % 3 == 0 { -1 } else { 1 }).collect();
    let texts: Vec<String> = seconds.iter().map(|second| format!("{{\"t\":{second}}}")).collect();
    for (second, outcome) in seconds.iter().zip(flatten(plugin, &texts)) {
        let expected = jiff::Timestamp::from_second(*second).expect("in range");
        assert_eq!(outcome.expect("a time").0, format!("{{\"t\":\"{expected}\"}}"));
    }
}

#[test]
fn event_time_sets_the_timestamp() {
    let event_time = |unit: &str, number: &str| {
        let settings = format!(r#"{{"event_time":{{"field":"a.t","unit":"{unit}"}},"separator":"."}}"#);
        let text = format!(r#"{{"a":{{"t":{number}}}}}"#);
        flatten(&mut open(&settings), &[text]).remove(0).map(|(_, timestamp)| timestamp)
    };
    for (unit, number, expected) in [
        ("s", "1690000000", 1_690_000_000_000),
        ("s", "\"1690000000\"", 1_690_000_000_000),
        ("s", "1690000000.5", 1_690_000_000_500),
        ("s", "-0.0001", -1),
        ("ms", "1690000000123", 1_690_000_000_123),
        ("us", "1690000000123999", 1_690_000_000_123),
        ("ns", "-1", -1),
        ("s", "9223372036854775", 9_223_372_036_854_775_000),
    ] {
        assert_eq!(event_time(unit, number), Ok(expected), "{number} {unit}");
    }
    for number in ["9223372036854776", "1e18", "\"soon\"", "true", "[]"] {
        assert_eq!(event_time("s", number), Err(format!("event time `a.t`: {number} is not a time")));
    }
    assert_eq!(event_time("s", "null"), Err("event time `a.t`: missing or null".to_owned()));
    let missing = flatten(&mut open(r#"{"event_time":{"field":"t","unit":"s"}}"#), &["{}"]);
    assert_eq!(missing, [Err("event time `t`: missing or null".to_owned())]);
}
