//! Windows that were written out by hand.

use apogee_sdk::{Kind, Transform};
use serde_json::Value;

use crate::{Outcome, advance, open, process};

/// Puts messages `{"g":…,"v":…,"id":…}` through, given by group, number, id and second, then ends time; says what became
/// of them as `group count max start end` in seconds, and why which was rejected.
fn windows(settings: &str, messages: &[(&str, i64, &str, f64)]) -> (Vec<String>, Vec<(u32, String)>) {
    let plugin = &mut open(settings);
    let texts: Vec<_> = messages
        .iter()
        .map(|(group, number, id, second)| {
            (None, format!(r#"{{"g":"{group}","v":{number},"id":"{id}"}}"#), (second * 1000.0) as i64)
        })
        .collect();
    let Outcome { windows, rejected } = process(plugin, &texts);
    let last = advance(plugin, i64::MAX).windows;
    let said = windows.into_iter().chain(last).map(|(key, value, time)| {
        let value: Value = serde_json::from_str(&value).expect("JSON");
        assert_eq!(value["g"].as_str(), key.as_deref(), "the key is the group");
        let second = |edge: &str| {
            let time: jiff::Timestamp = value[edge].as_str().expect("a text").parse().expect("a time");
            time.as_millisecond() as f64 / 1000.0
        };
        if !settings.contains("change") {
            assert_eq!(time as f64, second("end") * 1000.0 - 1.0, "the timestamp is the last millisecond");
        }
        let numbers = |name: &str| value.get(name).map(|number| format!(" {number}")).unwrap_or_default();
        let edges = (second("start"), second("end"));
        format!(
            "{}{}{}{} {}..{}",
            value["g"].as_str().unwrap_or("?"),
            numbers("count"),
            numbers("max_v"),
            numbers("duplicates"),
            edges.0,
            edges.1
        )
    });
    (said.collect(), rejected)
}

fn late(message: u32, time: i64, timestamp: i64) -> (u32, String) {
    (message, format!("late: at stream time {time} each window of timestamp {timestamp} is over"))
}

const TUMBLING: &str = r#"{"window":"10s","by":["g"],"aggregates":["count","max(v)"]}"#;

#[test]
fn tumbling_windows_close_by_stream_time_in_the_order_of_end_and_key() {
    let messages = [("b", 1, "", 0.0), ("a", 2, "", 9.999), ("b", 3, "", 5.0), ("a", 4, "", 10.0), ("c", 5, "", 35.0)];
    let (said, rejected) = windows(TUMBLING, &messages);
    assert_eq!(said, ["a 1 2 0..10", "b 2 3 0..10", "a 1 4 10..20", "c 1 5 30..40"]);
    assert_eq!(rejected, []);
}

#[test]
fn a_late_message_is_rejected_and_one_out_of_order_is_not() {
    let messages = [("a", 1, "", 5.0), ("a", 2, "", 12.0), ("a", 9, "", 9.0), ("a", 3, "", 11.0), ("b", 4, "", 10.0)];
    let (said, rejected) = windows(TUMBLING, &messages);
    assert_eq!(said, ["a 1 1 0..10", "a 2 3 10..20", "b 1 4 10..20"]);
    assert_eq!(rejected, [late(2, 12_000, 9_000)]);
}

#[test]
fn grace_keeps_windows_open() {
    let settings = r#"{"window":"10s","grace":"5s","by":["g"],"aggregates":["count","max(v)"]}"#;
    let messages = [("a", 1, "", 5.0), ("a", 2, "", 14.999), ("a", 9, "", 9.0), ("a", 3, "", 15.0), ("a", 8, "", 9.0)];
    let (said, rejected) = windows(settings, &messages);
    assert_eq!(said, ["a 2 9 0..10", "a 2 3 10..20"]);
    assert_eq!(rejected, [late(4, 15_000, 9_000)]);
}

#[test]
fn negative_timestamps_are_aligned_like_all_others() {
    let messages = [("a", 1, "", -0.001), ("a", 2, "", -10.0), ("a", 3, "", -10.001), ("a", 4, "", 0.0)];
    let (said, rejected) = windows(TUMBLING, &messages);
    assert_eq!(said, ["a 2 2 -10..0", "a 1 4 0..10"]);
    assert_eq!(rejected, [late(2, -1, -10_001)]);
}

#[test]
fn a_future_message_ends_windows_unless_it_is_too_far_ahead() {
    let messages = [("a", 1, "", 1.0), ("a", 2, "", 4_000.0), ("a", 3, "", 2.0), ("b", 4, "", 31.0)];
    let (said, rejected) = windows(TUMBLING, &messages);
    assert_eq!(said, ["a 1 1 0..10", "a 1 2 4000..4010"]);
    assert_eq!(rejected, [late(2, 4_000_000, 2_000), late(3, 4_000_000, 31_000)]);

    let settings = r#"{"window":"10s","ahead":"30s","by":["g"],"aggregates":["count","max(v)"]}"#;
    let (said, rejected) = windows(settings, &messages);
    assert_eq!(said, ["a 2 3 0..10", "b 1 4 30..40"]);
    let ahead = "ahead: timestamp 4000000 is 3999000 ms ahead of stream time, and may be 30000";
    assert_eq!(rejected, [(1, ahead.to_owned())]);
}

#[test]
fn a_duplicate_counts_in_no_group_and_is_counted_in_its_own() {
    let settings = r#"{"window":"10s","by":["g"],"aggregates":["count","max(v)","duplicates"],"distinct":["id"]}"#;
    let messages = [
        ("a", 1, "x", 0.0),
        ("a", 7, "x", 1.0),
        ("a", 2, "y", 2.0),
        ("b", 3, "x", 3.0),
        ("a", 4, "x", 10.0),
        ("a", 9, "x", 11.0),
        ("a", 9, "x", 12.0),
    ];
    let (said, rejected) = windows(settings, &messages);
    assert_eq!(said, ["a 2 2 1 0..10", "b 0 null 1 0..10", "a 1 4 2 10..20"]);
    assert_eq!(rejected, []);
    // What nobody asks for is not put out.
    let settings = settings.replace(",\"duplicates\"", "");
    assert_eq!(windows(&settings, &messages).0, ["a 2 2 0..10", "a 1 4 10..20"]);
    let hopping = settings.replace("\"10s\"", "\"10s\",\"slide\":\"5s\"");
    let messages = [("a", 1, "x", 4.0), ("b", 2, "x", 6.0), ("b", 3, "x", 12.0)];
    assert_eq!(windows(&hopping, &messages).0, ["a 1 1 -5..5", "a 1 1 0..10", "b 1 2 5..15", "b 1 3 10..20"]);
}

#[test]
fn fields_are_picked_named_and_put_in_order() {
    let plugin = &mut open(
        r#"{"window":"5m","by":["s","d"],"aggregates":["count","sum(n)"],"fields":[{"from":"d"},
            {"from":"end","name":"TIME","format":"%H:%M:%S"},{"from":"s","name":"station"},{"from":"sum_n","name":"N"},
            {"from":"start"}]}"#,
    );
    let fields: Vec<_> = plugin.fields().into_iter().map(|it| (it.name, it.kind as u8, it.nullable)).collect();
    let expected = [
        ("d", Kind::Text, false),
        ("TIME", Kind::Text, false),
        ("station", Kind::Text, false),
        ("N", Kind::Float, true),
        ("start", Kind::Timestamp, false),
    ];
    assert_eq!(fields, expected.map(|(name, kind, nullable)| (name.to_owned(), kind as u8, nullable)));
    assert_eq!((plugin.key(), plugin.groups()), (vec!["station".into(), "d".into()], vec!["s".into(), "d".into()]));
    let messages = [(None, r#"{"s":"x","d":1,"n":2}"#, 86_000_000), (None, r#"{"s":"x","d":1,"n":3}"#, 86_000_001)];
    process(plugin, &messages);
    let value = r#"{"d":1,"TIME":"23:55:00","station":"x","N":5,"start":"1970-01-01T23:50:00Z"}"#;
    assert_eq!(advance(plugin, i64::MAX).windows, [(Some(r#"["x",1]"#.to_owned()), value.to_owned(), 86_099_999)]);
}

#[test]
fn hopping_windows_overlap() {
    let settings = r#"{"window":"10s","slide":"4s","by":["g"],"aggregates":["count","max(v)"]}"#;
    // -8..2 and -4..6 and 0..10 have 1; at 7 those that end at 2 and 6 are over.
    let messages = [("a", 1, "", 1.0), ("a", 2, "", 7.0), ("a", 3, "", 5.0), ("a", 9, "", -3.0)];
    let (said, rejected) = windows(settings, &messages);
    // 5 is in -4..6, which is over, and in 0..10 and 4..14, which are not: it is not late.
    assert_eq!(said, ["a 1 1 -8..2", "a 1 1 -4..6", "a 3 3 0..10", "a 2 3 4..14"]);
    assert_eq!(rejected, [late(3, 7_000, -3_000)]);
}

#[test]
fn sessions_grow_and_join() {
    let settings = r#"{"session":"10s","grace":"20s","by":["g"],"aggregates":["count","max(v)"]}"#;
    let messages = [
        ("a", 1, "", 0.0),
        ("a", 2, "", 15.0),
        ("b", 3, "", 16.0),
        // Reaches back to the first and on to the second.
        ("a", 4, "", 8.0),
        // Ends where the first begins, and so joins nothing; it would be over at 20.
        ("a", 5, "", -10.0),
        ("b", 6, "", 26.0),
        // 0..25 is over at 45.
        ("b", 7, "", 45.0),
        ("a", 8, "", 14.0),
    ];
    let (said, rejected) = windows(settings, &messages);
    assert_eq!(said, ["a 1 5 -10..0", "a 3 4 0..25", "b 1 3 16..26", "b 1 6 26..36", "b 1 7 45..55"]);
    assert_eq!(rejected, [late(7, 45_000, 14_000)]);
}

#[test]
fn on_change_each_message_puts_out_its_windows() {
    let settings = r#"{"window":"10s","by":["g"],"aggregates":["count","max(v)"],"emit":"change"}"#;
    let messages = [("a", 1, "", 1.0), ("b", 5, "", 2.0), ("a", 3, "", 3.0), ("a", 2, "", 10.0), ("a", 2, "", 9.0)];
    let (said, rejected) = windows(settings, &messages);
    assert_eq!(said, ["a 1 1 0..10", "b 1 5 0..10", "a 2 3 0..10", "a 1 2 10..20"]);
    assert_eq!(rejected, [late(4, 10_000, 9_000)]);
}

#[test]
fn an_idle_partition_closes_its_windows_and_goes_on() {
    let plugin = &mut open(TUMBLING);
    let message = |second: i64| [(None, r#"{"g":"a","v":1}"#, second * 1000)];
    assert_eq!(advance(plugin, 50_000), Outcome::default(), "before any message nothing waits");
    assert_eq!(process(plugin, &message(1)), Outcome::default());
    assert_eq!(advance(plugin, 9_999), Outcome::default());
    assert_eq!(advance(plugin, 10_000).windows.len(), 1);
    assert_eq!(process(plugin, &message(9)).rejected, [late(0, 10_000, 9_000)]);
    // The end of time is no further than what it closes: a file that has grown goes on.
    assert_eq!(process(plugin, &message(25)), Outcome::default());
    assert_eq!(advance(plugin, i64::MAX).windows.len(), 1);
    assert_eq!(advance(plugin, i64::MAX), Outcome::default());
    assert_eq!(process(plugin, &message(29)).rejected, [late(0, 30_000, 29_000)]);
    assert_eq!(process(plugin, &message(30)), Outcome::default());
}

#[test]
fn numbers_are_summed_up_exactly_and_keep_their_digits() {
    let plugin =
        &mut open(r#"{"window":"1s","aggregates":["count","sum(i)","sum(d)","min(d)","max(p_q)","avg(i)","avg(d)"]}"#);
    let messages = [
        (Some("k"), r#"{"i":9007199254740993,"d":0.1,"p":{"q":"-85.6433"}}"#, 0),
        (Some("k"), r#"{"i":9007199254740993,"d":1.50,"p":{"q":-85.64330}}"#, 1),
        (None, r#"{"i":1,"d":-2e-7,"p":{"q":170141183460469231731687303715884105727}}"#, 2),
        (Some(""), r#"{"i":-1,"d":0,"p":{"q":0}}"#, 999),
    ];
    assert_eq!(process(plugin, &messages), Outcome::default());
    let edges = r#""start":"1970-01-01T00:00:00Z","end":"1970-01-01T00:00:01Z"}"#;
    let window = |values: &str| format!("{{{values},{edges}");
    let expected = [
        (
            None,
            r#""count":1,"sum_i":1,"sum_d":-2e-7,"min_d":-2e-7,"max_p_q":170141183460469231731687303715884105727,"avg_i":1.0,"avg_d":-2e-7"#,
        ),
        (Some(""), r#""count":1,"sum_i":-1,"sum_d":0,"min_d":0,"max_p_q":0,"avg_i":-1.0,"avg_d":0.0"#),
        (
            Some("k"),
            r#""count":2,"sum_i":18014398509481986,"sum_d":1.6,"min_d":0.1,"max_p_q":-85.6433,"avg_i":9007199254740992.0,"avg_d":0.8"#,
        ),
    ];
    let expected = expected.map(|(key, values)| (key.map(str::to_owned), window(values), 999));
    assert_eq!(advance(plugin, 1_000).windows, expected);
}

#[test]
fn what_cannot_be_used_is_rejected_by_name_and_moves_nothing() {
    let plugin = &mut open(r#"{"window":"10s","by":["g"],"aggregates":["max(v)"],"distinct":["id"]}"#);
    assert_eq!(process(plugin, &[(None, r#"{"g":1,"v":1,"id":1}"#, 0)]), Outcome::default());
    let cases = [
        ("nonsense", "not a JSON object: something that is no value at byte 0"),
        (r#"{"v":1,"id":1}"#, "field `g`: missing or null"),
        (r#"{"g":null,"v":1,"id":1}"#, "field `g`: missing or null"),
        (r#"{"g":1,"id":1}"#, "field `v`: missing or null"),
        (r#"{"g":1,"v":"high","id":1}"#, "field `v`: \"high\" is not a number"),
        (r#"{"g":1,"v":1e999,"id":1}"#, "field `v`: 1e999 is not a number"),
        (r#"{"g":1,"v":1}"#, "field `id`: missing or null"),
    ];
    // Far ahead: none of them may end a window.
    for (text, reason) in cases {
        assert_eq!(process(plugin, &[(None, text, 1_000_000)]).rejected, [(0, reason.to_owned())], "{text}");
    }
    for time in [i64::MIN, i64::MAX, -59_011_459_200_001, 250_215_091_200_000] {
        let outcome = process(plugin, &[(None, r#"{"g":1,"v":1,"id":1}"#, time)]);
        assert_eq!(outcome.rejected, [(0, format!("timestamp {time} is not in the years 100 to 9898"))]);
    }
    let window = r#"{"g":1,"max_v":1,"start":"1970-01-01T00:00:00Z","end":"1970-01-01T00:00:10Z"}"#;
    assert_eq!(advance(plugin, 10_000).windows, [(Some("1".to_owned()), window.to_owned(), 9_999)]);
}

#[test]
fn groups_of_several_fields_are_one_key_however_they_are_written() {
    let plugin = &mut open(r#"{"window":"1s","by":["a","b"]}"#);
    let messages = [
        (None, r#"{"a":"x","b":1}"#, 0),
        (None, r#"{"b":1,"a":"\u0078"}"#, 0),
        (None, r#"{"a":"x\"","b":{}}"#, 0),
        (None, r#"{"a":"1","b":1}"#, 0),
        (None, r#"{"a":1,"b":"1"}"#, 0),
    ];
    assert_eq!(process(plugin, &messages), Outcome::default());
    let said: Vec<_> = advance(plugin, i64::MAX)
        .windows
        .into_iter()
        .map(|(key, value, _)| (key.unwrap_or_default(), value.split_once(",\"start\"").map(|it| it.0.to_owned())))
        .collect();
    let expected = [
        ("[1,\"1\"]", r#"{"a":1,"b":"1","count":1"#),
        ("[\"1\",1]", r#"{"a":"1","b":1,"count":1"#),
        ("[\"x\",1]", r#"{"a":"x","b":1,"count":2"#),
        (r#"["x\"",{}]"#, r#"{"a":"x\"","b":{},"count":1"#),
    ];
    assert_eq!(said, expected.map(|(key, value)| (key.to_owned(), Some(value.to_owned()))));
}
