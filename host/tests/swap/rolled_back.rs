//! A version that fails within its trial goes, and nothing of it was ever seen: the one before does its messages.

use std::collections::BTreeMap;
use std::path::Path;

use host::swap::Outcome;
use serde_json::Value;

use super::{Live, assert_stamped, key, values, with};
use crate::program::{csv_rows, plugin, run_ok};

/// That a swap under a load of messages is rolled back for this reason.
fn assert_rolled_back(live: &Live, component: &Path, more: &[&str], why: &str) {
    let before = live.status().plugins;
    let swapped = live.swap_under_load(component, more);
    match &swapped.outcome {
        Some(Outcome::RolledBack { reason }) => assert!(reason.contains(why), "{why}: {reason}"),
        _ => panic!("{why}: {swapped:?}"),
    }
    assert_eq!(swapped.code, 1, "{swapped:?}");
    let after = live.status();
    assert_eq!((after.plugins, after.changing), (before, None));
}

#[test]
fn a_version_that_traps_or_rejects_everything_leaves_no_trace() {
    let live = Live::of("stamp-1", "");
    live.send(100);
    live.out();
    assert_rolled_back(&live, &plugin("stamp-trap"), &[], "failed in process");
    live.out();
    assert_rolled_back(&live, &plugin("stamp-2"), &["--set", "id=nothing", "--trial", "100"], "it rejected");
    live.send(100);
    assert_stamped(&live.out(), &[(u64::MAX, "1.0.0")]);
    assert!(values(&live.log, "p.dead").is_empty(), "nothing of what was undone is a dead letter");
}

/// Each way to fail, by the settings alone: the component is the same, and so is its state.
#[test]
fn every_way_to_misbehave_is_rolled_back_or_refused() {
    let settings = "settings = { how = \"echo\", keep = true }\nlimits = { call = \"200ms\", memory = \"32MiB\" }\n";
    let live = Live::of("hostile", settings);
    live.send(10);
    live.out();
    let ways = [
        "trap",
        "abort",
        "loop-in-process",
        "allocate",
        "recurse",
        "lengths-too-long",
        "million-messages",
        "trap-in-changes",
        "changes-without-key",
        "changes-without-end",
    ];
    for how in ways {
        let set = format!("how={how}");
        assert_rolled_back(&live, &plugin("hostile"), &["--set", &set, "--trial", "10"], "hostile");
        live.out();
    }
    for how in ["loop-in-open", "trap-in-open", "bad-fields", "loop-in-restore", "trap-in-restore", "refuse-state"] {
        let swapped = live.swap(&plugin("hostile"), &["--set", &format!("how={how}")]);
        assert_eq!(swapped.code, 2, "{how}: {swapped:?}");
    }
    live.send(10);
    let mut counts = BTreeMap::new();
    for (n, value) in (0..).zip(live.out()) {
        let count = counts.entry(key(n)).or_insert(0);
        *count += 1;
        assert_eq!(value, serde_json::json!({ "count": *count, "message": { "id": n } }));
    }
    assert!(values(&live.log, "p.dead").is_empty(), "nothing of what was undone is a dead letter");
}

/// It may put that out, but the topic does not take it.
#[test]
fn a_version_whose_message_is_too_large_for_the_sink_is_taken_back() {
    let live = Live::of("hostile", "settings = { how = \"echo\", keep = true }\n");
    live.send(10);
    live.out();
    let set = ["--set", "how=giant-output", "--set", "count=20000000"];
    assert_rolled_back(&live, &plugin("hostile"), &set, "20000000 bytes");
    live.out();
}

#[test]
fn files_of_a_version_that_is_taken_back_are_never_seen() {
    let mut live = Live::start(&with(&plugin("stamp-1")), "csv:out");
    live.send(100);
    assert_rolled_back(&live, &plugin("stamp-trap"), &[], "failed in process");
    live.end();
    run_ok(live.path(), &["--quiet", "run", "p.toml", "--until", "end"]);
    let rows = csv_rows(&live.path().join("out"), &["id", "version", "count"]);
    let values: Vec<Value> = rows
        .iter()
        .map(|row| {
            let number = |text: &str| text.parse::<u64>().unwrap();
            serde_json::json!({ "id": number(&row[0]), "version": row[1], "count": number(&row[2]) })
        })
        .collect();
    assert_eq!(values.len() as u64, live.sent.get());
    assert_stamped(&values, &[(u64::MAX, "1.0.0")]);
}
