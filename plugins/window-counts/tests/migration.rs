//! State that was kept under other settings, or by version 0.1: random messages, batches of 1, 7 and 1,000, and a change at
//! a random point. `SEED=n` repeats a run.

use std::collections::BTreeSet;

use apogee_sdk::wire::{Column, Entries};
use serde_json::Value;
use window_counts::WindowCounts;

use crate::random::{Event, Kept, Random, events, keep, message, take_back};
use crate::{Outcome, advance, open, process};

fn settings(frame: &str, aggregates: &str) -> String {
    format!(r#"{{{frame},"grace":"5ms","by":["g"],"aggregates":[{aggregates}]}}"#)
}

/// Puts events through in batches of at most `size`; gives the windows.
fn run(plugin: &mut WindowCounts, events: &[Event], size: usize) -> Vec<Value> {
    let (mut at, mut windows) = (0, Vec::new());
    while at < events.len() {
        let batch: Vec<_> = events[at..].iter().take(size).map_while(message).collect();
        let Outcome { windows: mut more, .. } = match events[at] {
            Event::Advance(time) => advance(plugin, time),
            Event::Message { .. } => process(plugin, &batch),
        };
        windows.append(&mut more);
        at += batch.len().max(1);
    }
    windows.iter().map(|(_, json, _)| serde_json::from_str(json).expect("JSON")).collect()
}

/// Group and start of each window that is kept, as they are put out.
fn kept_windows(kept: &Kept) -> BTreeSet<String> {
    let windows = kept.keys().filter(|key| key[0] == b'w');
    let name = |key: &Vec<u8>| {
        let start = i64::from_be_bytes(key[1..9].try_into().expect("a start")) ^ i64::MIN;
        let start = jiff::Timestamp::from_millisecond(start).expect("a time");
        format!("{} \"{start}\"", String::from_utf8_lossy(&key[9..]))
    };
    windows.map(name).collect()
}

/// As [`kept_windows`] has it.
fn name(window: &Value) -> String {
    format!("{} {}", window["g"], window["start"])
}

/// The first settings until a random point, then the others, from what the first kept; against the others from the start.
/// What a window that was open at that point was not asked for is null in it.
fn changed(case: u32, version: &str, random: &mut Random, aggregates: [&str; 2], unknown: &[&str]) -> usize {
    let slide = 1 + random.below(9);
    let frame = format!(r#""window":"{}ms","slide":"{slide}ms""#, slide + random.below(9));
    let [first, second] = aggregates.map(|aggregates| settings(&frame, aggregates));
    let events = events(random, 300);
    let at = random.below(300) as usize;
    let mut open_then = 0;
    for size in [1, 7, 1000] {
        let mut whole = open(&second);
        run(&mut whole, &events[..at], size);
        let mut expected = run(&mut whole, &events[at..], size);

        let mut kept = Kept::new();
        let mut before = open(&first);
        run(&mut before, &events[..at], size);
        keep(&mut before, &mut kept);
        if version == "0.1.0" {
            kept.remove(&b"f"[..]).expect("the settings, which 0.1 did not keep");
        }
        let were_open = kept_windows(&kept);
        open_then += were_open.len();
        for window in expected.iter_mut().filter(|window| were_open.contains(&name(window))) {
            unknown.iter().for_each(|field| window[field] = Value::Null);
        }

        let mut after = take_back(&second, version, &kept, random);
        let old = kept.clone();
        keep(&mut after, &mut kept);
        let is_new = |(key, value): &(&Vec<u8>, &Vec<u8>)| old.get(*key) != Some(*value);
        let told: BTreeSet<_> = kept.iter().filter(is_new).map(|(key, _)| key[0]).collect();
        assert!(told.is_subset(&BTreeSet::from([b'f', b'w'])), "stream time has no other form");
        assert_eq!(kept_windows(&kept), were_open);
        // What it kept is its own: it says nothing more, and another instance has nothing to change.
        after = take_back(&second, env!("CARGO_PKG_VERSION"), &kept, random);
        assert!(apogee_sdk::changes(&mut after).keys.lengths.is_empty());
        assert_eq!(run(&mut after, &events[at..], size), expected, "case {case}, batches of {size}");
    }
    open_then
}

#[test]
fn open_windows_go_on_under_other_aggregates() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64);
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(now);
    println!("SEED={seed}");
    let mut random = Random(seed | 1);
    let mut open_then = 0;
    for case in 0..15 {
        for (version, before, after, unknown) in [
            // One more, after those that were.
            ("0.1.0", r#""count","sum(v)""#, r#""count","sum(v)","max(v)""#, &["max_v"][..]),
            ("0.1.0", r#""count""#, r#""min(v)","count""#, &["min_v"]),
            // What is of another kind is of another field.
            ("0.1.0", r#""min(v)""#, r#""max(v)","min(v)""#, &["max_v", "min_v"]),
            // The same, which is no change.
            ("0.1.0", r#""sum(v)","max(id)""#, r#""sum(v)","max(id)""#, &[]),
            // Since 0.2 they are known by name, whatever their order; an average goes on from a sum.
            ("0.2.0", r#""sum(v)","max(v)""#, r#""max(v)","max(id)","avg(v)","count""#, &["max_id"]),
            ("0.2.0", r#""max(v)","count""#, r#""count""#, &[]),
        ] {
            open_then += changed(case, version, &mut random, [before, after], unknown);
        }
    }
    assert!(open_then > 300, "windows were open: {open_then}");
}

/// Until 0.2 each group kept the names that it had seen, behind its own key.
#[test]
fn what_one_group_had_seen_all_have_seen_since_0_3() {
    let settings = r#"{"window":"10ms","by":["g"],"distinct":["id"],"aggregates":["count","duplicates"]}"#;
    let mut random = Random(7);
    let mut plugin = open(settings);
    let message = |group: &str, id: i64, time: i64| [(None, format!(r#"{{"g":"{group}","id":{id}}}"#), time)];
    for (group, id, time) in [("a", 1, 1), ("b", 2, 2), ("a", 3, 11), ("b", 4, 12)] {
        assert_eq!(process(&mut plugin, &message(group, id, time)).rejected, []);
    }
    let mut kept = Kept::new();
    keep(&mut plugin, &mut kept);
    let names = |kept: &Kept| kept.keys().filter(|key| key[0] == b'n').cloned().collect::<Vec<_>>();
    let own = names(&kept);
    assert_eq!(own.len(), 2, "the first window is over");
    for name in &own {
        kept.remove(name);
        for group in ["\"a\"", "\"b\""] {
            kept.insert([&name[..9], group.as_bytes(), &name[9..]].concat(), Vec::new());
        }
    }
    let mut plugin = take_back(settings, "0.2.0", &kept, &mut random);
    keep(&mut plugin, &mut kept);
    assert_eq!(names(&kept), own, "in the form of now");
    let mut plugin = take_back(settings, env!("CARGO_PKG_VERSION"), &kept, &mut random);
    for (group, id) in [("b", 3), ("c", 4), ("a", 5)] {
        process(&mut plugin, &message(group, id, 13));
    }
    let windows = advance(&mut plugin, i64::MAX).windows;
    let said: Vec<_> = windows.iter().map(|(_, json, _)| json.split(",\"start\"").next().unwrap_or_default()).collect();
    assert_eq!(
        said,
        [
            r#"{"g":"a","count":2,"duplicates":0"#,
            r#"{"g":"b","count":1,"duplicates":1"#,
            r#"{"g":"c","count":0,"duplicates":1"#
        ]
    );
    keep(&mut plugin, &mut kept);
    assert_eq!(names(&kept), Vec::<Vec<u8>>::new(), "names go with their windows");
}

#[test]
fn what_cuts_the_windows_cannot_change() {
    let first = r#"{"window":"10ms","by":["g"],"distinct":["id"]}"#;
    let mut plugin = open(first);
    process(&mut plugin, &[(None, r#"{"g":"a","id":1}"#, 1)]);
    let mut kept = Kept::new();
    keep(&mut plugin, &mut kept);
    let restore = |settings: &str| {
        let column = |bytes: &[u8]| Column { bytes: bytes.to_vec(), lengths: vec![bytes.len() as i32] };
        let entries = Entries { keys: column(b"f"), values: column(&kept[&b"f"[..]]) };
        apogee_sdk::restore(&mut open(settings), env!("CARGO_PKG_VERSION"), entries)
    };
    assert_eq!(restore(first), Ok(()));
    assert_eq!(restore(r#"{"window":"10ms","by":["g"],"distinct":["id"],"grace":"1s","emit":"change"}"#), Ok(()));
    let refused = |what: &str| Err(format!("its windows were cut by another {what}"));
    let frame = refused("`window`, `slide` or `session`");
    assert_eq!(restore(r#"{"window":"20ms","by":["g"],"distinct":["id"]}"#), frame);
    assert_eq!(restore(r#"{"window":"10ms","slide":"5ms","by":["g"],"distinct":["id"]}"#), frame);
    assert_eq!(restore(r#"{"session":"10ms","by":["g"]}"#), frame);
    assert_eq!(restore(r#"{"window":"10ms","by":["h"],"distinct":["id"]}"#), refused("`by`"));
    assert_eq!(restore(r#"{"window":"10ms","by":["g"]}"#), refused("`distinct`"));
}
