//! What `open` answers, and which settings it refuses; which state is taken back.

use apogee_sdk::wire::Entries;
use apogee_sdk::{Kind, Transform};
use window_counts::WindowCounts;

use crate::{column, open};

fn refused(settings: &str) -> String {
    apogee_sdk::open::<WindowCounts>(settings).err().expect("refused settings")
}

#[test]
fn it_says_what_comes_out() {
    let plugin = open(
        r#"{"window":"1h 30m","by":["g"],"aggregates":["count","sum(a_b)","avg(x)","duplicates"],"distinct":["id"]}"#,
    );
    let fields: Vec<_> = plugin.fields().into_iter().map(|it| (it.name, it.kind as u8, it.nullable)).collect();
    let expected = [
        ("g", Kind::Text, false),
        ("count", Kind::Integer, false),
        ("sum_a_b", Kind::Float, true),
        ("avg_x", Kind::Float, true),
        ("duplicates", Kind::Integer, false),
        ("start", Kind::Timestamp, false),
        ("end", Kind::Timestamp, false),
    ];
    assert_eq!(fields, expected.map(|(name, kind, nullable)| (name.to_owned(), kind as u8, nullable)));
    assert_eq!((plugin.key(), plugin.groups()), (vec!["g".to_owned()], vec!["g".to_owned()]));
    // A key must do for groups and for duplicates.
    let both = open(r#"{"window":"1s","by":["a","b","c"],"distinct":["id","c","a"]}"#);
    assert_eq!(both.groups(), ["a", "c"]);
    let by_key = open(r#"{"session":"1s"}"#);
    assert!(by_key.key().is_empty() && by_key.groups().is_empty());
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    for (settings, text) in [
        ("{}", "settings: give `window`, maybe with `slide`, or `session`"),
        (r#"{"window":"1s","session":"1s"}"#, "settings: give `window`, maybe with `slide`, or `session`"),
        (r#"{"slide":"1s"}"#, "settings: give `window`, maybe with `slide`, or `session`"),
        (r#"{"window":"0s"}"#, "settings: a window has 1 ms to 100 years"),
        (r#"{"window":"1000000h"}"#, "settings: a window has 1 ms to 100 years"),
        (r#"{"window":"1s","slide":"2s"}"#, "settings: windows slide by 1 ms or more, and by no more than their size"),
        (
            r#"{"window":"1s","aggregates":["duplicates"]}"#,
            "settings: `duplicates` needs `distinct`, the fields that name a message",
        ),
        (
            r#"{"session":"1s","distinct":["id"]}"#,
            "settings: `distinct` needs `window`; of two sessions that join, both have counted",
        ),
        (r#"{"window":"1s","aggregates":[]}"#, "settings: `aggregates` is empty; leave it out to count"),
        (r#"{"window":"1s","by":["count"]}"#, "settings: two outgoing fields are called `count`"),
        (
            r#"{"window":"1s","by":["g"],"fields":[{"from":"v"}]}"#,
            "settings: `fields` takes `v`, and there are g, count, start, end",
        ),
        (
            r#"{"window":"1s","fields":[{"from":"count","format":"%H"}]}"#,
            "settings: `count` is no time and has no `format`; `start` and `end` have",
        ),
        (
            r#"{"window":"1s","fields":[{"from":"start","name":"end"},{"from":"end"}]}"#,
            "settings: two outgoing fields are called `end`",
        ),
        (r#"{"window":"1s","fields":[]}"#, "settings: `fields` is empty; leave it out to put out all there is"),
    ] {
        assert_eq!(refused(settings), text, "{settings}");
    }
    for (settings, text) in [
        (r#"{"window":"30"}"#, "\"30\" is no length of time such as \"30s\" or \"500ms\""),
        (r#"{"window":"-1s"}"#, "\"-1s\" is no length of time such as \"30s\" or \"500ms\""),
        (r#"{"window":"1us"}"#, "\"1us\" is no length of time such as \"30s\" or \"500ms\""),
        (r#"{"window":"1s","aggregates":["median(x)"]}"#, "\"median(x)\" is no aggregate; there are count, "),
        (r#"{"window":"1s","aggregates":["sum()"]}"#, "\"sum()\" is no aggregate; there are count, "),
        (r#"{"window":"1s","emit":"never"}"#, "unknown variant `never`, expected `close` or `change`"),
        (r#"{"window":"1s","fields":[{"from":"end","format":"%!"}]}"#, "`format` of `end`: "),
        (r#"{"windows":"1s"}"#, "unknown field `windows`"),
    ] {
        assert!(refused(settings).starts_with(&format!("settings: {text}")), "{}", refused(settings));
    }
}

#[test]
fn state_of_another_version_or_plugin_is_refused() {
    let entries = |key: &str, value: Option<&str>| Entries { keys: column([Some(key)]), values: column([value]) };
    let restore = |version: &str, entries| apogee_sdk::restore(&mut open(r#"{"window":"1s"}"#), version, entries);
    let none = || Entries { keys: column([]), values: column([]) };
    assert_eq!(restore("0.1.0", none()), Ok(()));
    assert_eq!(restore("0.1.99", none()), Ok(()));
    assert_eq!(restore("0.2.99", none()), Ok(()));
    assert_eq!(restore("0.3.99", none()), Ok(()));
    for other in ["0.4.0", "1.1.0", "0.10.0", "", "0.1", "0.2"] {
        let text = format!("it was kept by version {other}, and 0.3.0 does not read that");
        assert_eq!(restore(other, none()), Err(text));
    }
    let text = |key: &str| Err(format!("the entry with the key {key} is not of this plugin"));
    assert_eq!(restore("0.1.0", entries("x\u{1b}", Some(""))), text("x\\x1b"));
    assert_eq!(restore("0.1.0", entries("w1234567", Some("short"))), text("w1234567"));
    assert_eq!(restore("0.1.0", entries("wshort", None)), text("wshort"));
    assert_eq!(restore("0.1.0", entries("nmore bytes than this", None)), text("nmore bytes than this"));
    assert_eq!(restore("0.1.0", entries("t", Some("no time"))), text("t"));
}
