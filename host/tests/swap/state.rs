//! A version goes on with the state of the one before.

use host::log::Log;
use host::log::embedded::Embedded;
use host::message::Batch;
use serde_json::json;

use super::lasting::other_bytes;
use super::{Live, SOON, assert_stamped, values};
use crate::operator;
use crate::program::{plugin, wait_for};

#[test]
fn a_new_version_goes_on_with_the_state_and_each_message_says_who_made_it() {
    let live = Live::of("stamp-1", "");
    live.send(100);
    live.out();
    operator::adopts(live.path(), "p", "stamp-2", &SOON);
    live.send(150);
    live.out();
    operator::adopts(live.path(), "p", "stamp-1", &SOON);
    live.send(50);
    assert_stamped(&live.out(), &[(100, "1.0.0"), (250, "1.0.1"), (300, "1.0.0")]);

    let status = live.status();
    assert_eq!((&*status.plugins[0].version, status.tasks[0].entries), ("1.0.0", 2));
    assert_eq!(status.tasks[0].next, Some(300));
    assert!(status.plugins[0].swapped.is_some(), "{status:?}");
}

/// Windows that are open at the swap have what version 1 knew of them, and one aggregate more.
#[test]
fn window_counts_goes_on_with_one_more_aggregate() {
    let settings = "settings = { window = \"10s\", by = [\"g\"], aggregates = [\"count\", \"sum(v)\"] }";
    let live = Live::of("window-counts-1", settings);
    append(&live.log, &[("a", 1, 0), ("b", 5, 1_000), ("a", 2, 2_000)]);
    wait_for("the first messages", || (live.status().tasks[0].next == Some(3)).then_some(()));
    let set = ["--set", r#"aggregates=["count","sum(v)","max(v)"]"#];
    let pause = operator::adopts(live.path(), "p", "window-counts", &[&SOON[..], &set].concat());
    assert!(pause > 0);
    append(&live.log, &[("a", 3, 3_000), ("c", 9, 20_000), ("c", 8, 21_000), ("c", 1, 40_000)]);
    let values = wait_for("three windows", || Some(values(&live.log, "out")).filter(|values| values.len() == 3));
    let (start, end) = ("1970-01-01T00:00:00Z", "1970-01-01T00:00:10Z");
    // Of a window that was open, the new aggregate has not seen everything.
    assert_eq!(
        values,
        [
            json!({ "g": "a", "count": 3, "sum_v": 6, "max_v": null, "start": start, "end": end }),
            json!({ "g": "b", "count": 1, "sum_v": 5, "max_v": null, "start": start, "end": end }),
            json!({ "g": "c", "count": 2, "sum_v": 17, "max_v": 9, "start": "1970-01-01T00:00:20Z", "end": "1970-01-01T00:00:30Z" }),
        ]
    );
}

fn append(log: &Embedded, messages: &[(&str, i64, i64)]) {
    let mut batch = Batch::new();
    for (group, value, time) in messages {
        batch.push(None, Some(json!({ "g": group, "v": value }).to_string().as_bytes()), *time);
    }
    let mut writer = log.writer("in").unwrap();
    writer.append(&batch).unwrap();
    writer.flush().unwrap();
}

/// What is kept has the form of the version that its checkpoint names, also where another one took it back since.
#[test]
fn state_that_was_taken_back_and_not_yet_kept_anew_is_still_that_of_the_version_before() {
    let settings = "settings = { window = \"10s\", by = [\"g\"], aggregates = [\"count\", \"sum(v)\"] }\n";
    let mut live = Live::of("window-counts-1", settings);
    append(&live.log, &[("a", 1, 0), ("b", 5, 1_000)]);
    wait_for("the first messages", || (live.status().tasks[0].next == Some(2)).then_some(()));
    live.end();
    // A deployment of version 2, which processes nothing before it is swapped.
    let file = live.path().join("p.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("window-counts-1.wasm", "window-counts.wasm");
    std::fs::write(&file, text).unwrap();
    live.begin();
    assert_eq!(live.status().tasks[0].next, Some(2));
    let next = live.path().join("next.wasm");
    std::fs::write(&next, other_bytes(&plugin("window-counts"))).unwrap();
    let swapped = live.swap(&next, &SOON);
    assert_eq!(swapped.code, 0, "{swapped:?}");
    append(&live.log, &[("a", 2, 2_000), ("c", 9, 20_000)]);
    let values = wait_for("two windows", || Some(values(&live.log, "out")).filter(|values| values.len() == 2));
    let sums: Vec<_> = values.iter().map(|value| (value["count"].as_u64(), value["sum_v"].as_u64())).collect();
    assert_eq!(sums, [(Some(2), Some(3)), (Some(1), Some(5))]);
}
