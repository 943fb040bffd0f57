//! Swaps wherever a plugin may stand: before files, second in a row, in each stage of a line.

use super::{Live, SOON, assert_stamped, with};
use crate::operator;
use crate::program::{csv_rows, plugin, wait_for};

#[test]
fn into_files_each_row_is_by_the_version_of_its_time() {
    let mut live = Live::start(&with(&plugin("stamp-1")), "csv:out");
    live.send(50);
    wait_for("the first messages", || (live.status().counters.get("messages in") == Some(&50)).then_some(()));
    operator::adopts(live.path(), "p", "stamp-2", &SOON);
    live.send(50);
    wait_for("the others", || (live.status().counters.get("messages in") == Some(&100)).then_some(()));
    live.end();
    let rows = csv_rows(&live.path().join("out"), &["id", "version", "count"]);
    let versions: Vec<&str> = rows.iter().map(|row| &*row[1]).collect();
    assert!(versions[..50].iter().all(|version| *version == "1.0.0"), "{versions:?}");
    assert!(versions[50..].iter().all(|version| *version == "1.0.1"), "{versions:?}");
    let last: Vec<&str> = rows[98..].iter().map(|row| &*row[2]).collect();
    assert_eq!((rows.len(), &*last), (100, &["50", "50"][..]), "the state went on");
}

#[test]
fn the_second_of_two_plugins_is_swapped_with_its_state_and_the_first_is_not() {
    let plugins = format!("{}{}", with(&plugin("flatten")), with(&plugin("stamp-1")));
    let live = Live::start(&plugins, "kafka:///out");
    live.send(20);
    live.out();
    let before = live.status().plugins;
    operator::adopts(live.path(), "p", "stamp-2", &SOON);
    live.send(20);
    live.out();
    // The first one by its place, with another setting.
    let set = ["--plugin", "1", "--set", "separator=."];
    assert_eq!(live.swap(&plugin("flatten"), &[&SOON[..], &set].concat()).code, 0);
    live.send(20);
    assert_stamped(&live.out(), &[(20, "1.0.0"), (60, "1.0.1")]);
    let after = live.status().plugins;
    assert_eq!((&after[0].hash, &*after[1].version), (&before[0].hash, "1.0.1"));
    assert_eq!(after[0].settings["separator"], ".");
}

#[test]
fn each_stage_of_a_line_is_swapped_by_itself() {
    let plugins = format!("{}{}through = \"kafka:///between\"\n", with(&plugin("flatten")), with(&plugin("stamp-1")));
    let live = Live::start(&plugins, "kafka:///out");
    live.send(20);
    live.out();
    operator::adopts(live.path(), "p", "stamp-2", &SOON);
    live.send(20);
    live.out();
    let set = ["--plugin", "flatten", "--set", "separator=."];
    assert_eq!(live.swap(&plugin("flatten"), &[&SOON[..], &set].concat()).code, 0);
    live.send(20);
    assert_stamped(&live.out(), &[(20, "1.0.0"), (60, "1.0.1")]);
    let line = operator::line(live.path(), "p");
    let plugins = line.iter().flat_map(|stage| &stage.plugins);
    let at_work: Vec<(usize, &str, bool)> =
        plugins.map(|plugin| (plugin.place, &*plugin.name, plugin.swapped.is_some())).collect();
    assert_eq!(at_work, [(1, "flatten", true), (2, "stamp", true)]);
    for stage in &line {
        assert_eq!(stage.counters.get("messages in"), Some(&60), "each tells its own counts: {:?}", stage.counters);
        assert!(!stage.counters.keys().any(|name| name.starts_with("p.1: ")), "{:?}", stage.counters);
    }
}
