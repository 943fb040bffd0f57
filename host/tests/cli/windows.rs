//! Pipelines with state: what the one that comes along counts, and what `host check` says of such.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::program::{csv_rows, plugin, run, run_ok, top};

const HEADER: [&str; 5] = ["visibility", "count", "max_altitude", "start", "end"];
/// Seconds.
const WINDOW: i64 = 30;

#[test]
fn the_windows_are_those_of_what_was_polled() {
    let directory = tempfile::tempdir().unwrap();
    let pipeline = top().join("pipelines/iss-windows.toml");
    let fast = ["--from", "sim:iss?shape=wheretheiss&step=1s", "--every", "5ms", "--for", "3s"];
    run_ok(directory.path(), &[&["run", pipeline.to_str().unwrap()], &fast[..]].concat());

    let topic = "kafka:///iss-windows.iss-wheretheiss";
    let polled = run_ok(directory.path(), &["topics", "read", topic, "--raw", "--limit", "100000"]);
    let polled: Vec<Value> = polled.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = expected(&polled);
    assert!(expected.len() >= 3, "{} polls closed {} windows", polled.len(), expected.len());
    let mut rows = csv_rows(&directory.path().join("out/iss-windows"), &HEADER);
    // The row has the digits that came, the reference has Rust's.
    rows.iter_mut().for_each(|row| row[2] = row[2].parse::<f64>().unwrap().to_string());
    rows.sort();
    assert_eq!(rows, expected);
}

/// The rows of all windows that the last message has closed, worked out from the replies alone.
fn expected(polled: &[Value]) -> Vec<Vec<String>> {
    let seconds = |reply: &Value| reply["timestamp"].as_i64().unwrap();
    let now = polled.iter().map(seconds).max().unwrap();
    let mut windows: BTreeMap<(String, i64), (u64, f64)> = BTreeMap::new();
    for reply in polled {
        let start = seconds(reply).div_euclid(WINDOW) * WINDOW;
        let (count, highest) =
            windows.entry((reply["visibility"].as_str().unwrap().to_owned(), start)).or_insert((0, f64::NEG_INFINITY));
        *count += 1;
        *highest = highest.max(reply["altitude"].as_f64().unwrap());
    }
    let time = |second| jiff::Timestamp::from_second(second).unwrap().to_string();
    let mut rows: Vec<Vec<String>> = windows
        .into_iter()
        .filter(|((_, start), _)| start + WINDOW <= now)
        .map(|((visibility, start), (count, highest))| {
            vec![visibility, count.to_string(), highest.to_string(), time(start), time(start + WINDOW)]
        })
        .collect();
    rows.sort();
    rows
}

/// State is kept by the plugins' numbers, of which there are not endlessly many.
#[test]
fn more_plugins_in_a_row_than_have_numbers_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let plugins = format!("[[plugin]]\nfile = {:?}\n", plugin("max-altitude")).repeat(101);
    let text = format!("[source]\nuri = \"kafka:///in\"\n{plugins}[sink]\nuri = \"kafka:///out\"\n");
    std::fs::write(directory.path().join("long.toml"), text).unwrap();
    let output = run(directory.path(), &["check", "long.toml"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("\"long\" has 101 plugins in a row, where 100 are the most"), "{stderr}");
}

#[test]
fn four_workers_count_what_one_stage_partitioned_by_key() {
    let directory = tempfile::tempdir().unwrap();
    let brokers = crate::kafka::brokers();
    let keyed = format!("kafka://{brokers}/keyed-{}", std::process::id());
    let text = format!(
        "name = \"groups-{}\"\nworkers = 4\n[source]\nuri = \"file:in.jsonl\"\npartitions = 4\n[[plugin]]\nfile = {:?}\n\
         settings.event_time = {{ field = \"t\", unit = \"s\" }}\nsettings.key = [\"group\"]\n[[plugin]]\nfile = {:?}\n\
         through = {keyed:?}\nsettings = {{ window = \"30s\", by = [\"group\"] }}\n[sink]\nuri = \"csv:out\"\n",
        std::process::id(),
        plugin("flatten"),
        plugin("window-counts"),
    );
    std::fs::write(directory.path().join("p.toml"), text).unwrap();
    let mut lines = String::new();
    let mut expected = BTreeMap::new();
    for n in 0..1_000_i64 {
        let (group, t) = (format!("g{}", n % 10), 1_690_000_000 + n / 5);
        lines += &format!("{{\"group\": \"{group}\", \"t\": {t}}}\n");
        *expected.entry((group, t.div_euclid(WINDOW) * WINDOW)).or_insert(0) += 1;
    }
    std::fs::write(directory.path().join("in.jsonl"), lines).unwrap();
    run_ok(directory.path(), &["run", "p.toml"]);
    // The file has an end, and with it every window.
    let time = |second| jiff::Timestamp::from_second(second).unwrap().to_string();
    let expected: Vec<Vec<String>> = expected
        .into_iter()
        .map(|((group, start), count): ((String, i64), i32)| {
            vec![group, count.to_string(), time(start), time(start + WINDOW)]
        })
        .collect();
    let mut rows = csv_rows(&directory.path().join("out"), &["group", "count", "start", "end"]);
    rows.sort_by(|a, b| (&a[0], &a[2]).cmp(&(&b[0], &b[2])));
    assert_eq!(rows, expected);
}

/// What `host check` says of a pipeline, by row.
fn check(source: &str, key: &str, through: &str, sink: &str) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "name = \"p\"\n[source]\n{source}\n[[plugin]]\nfile = {:?}\nsettings.key = [\"{key}\"]\n[[plugin]]\nfile = {:?}\n\
         {through}\n[plugin.settings]\nwindow = \"30s\"\nby = [\"visibility\"]\n[sink]\n{sink}\n",
        plugin("flatten"),
        plugin("window-counts"),
    );
    std::fs::write(directory.path().join("p.toml"), text).unwrap();
    serde_json::from_str(&run_ok(directory.path(), &["check", "p.toml", "--json"])).unwrap()
}

#[test]
fn a_check_says_what_a_crash_may_repeat_and_why() {
    let kafka = "uri = \"kafka://localhost:9092/iss\"";
    let cases = [
        (
            kafka,
            "uri = \"kafka://localhost:9092/o\"",
            "exactly once: output, state and positions are one Kafka",
            "kafka://localhost:9092/p.changelog, one each 100ms",
        ),
        (
            kafka,
            "uri = \"kafka://elsewhere:9092/o\"",
            "at least once: a transaction in kafka://elsewhere:9092",
            "kafka://elsewhere:9092/p.changelog, one each 100ms",
        ),
        (
            kafka,
            "uri = \"kafka://localhost:9092/o\"\ndelivery = \"at-least-once\"",
            "at least once, as was asked",
            "kafka://localhost:9092/p.changelog",
        ),
        (
            "uri = \"sim:iss\"",
            "uri = \"kafka:///o\"\ninterval = \"1s\"",
            "exactly once: output, state and the offset to go on from are one SQLite",
            "apogee.db, one each 1s",
        ),
        (
            "uri = \"file:a.jsonl\"",
            "uri = \"csv:out\"",
            "exactly once: a manifest names the finished files",
            "out/.apogee/p, one with each file, or 10s",
        ),
        (
            "uri = \"file:a.jsonl\"",
            "uri = \"csv:out\"\ndelivery = \"at-least-once\"",
            "exactly once, though less was asked",
            "out/.apogee/p",
        ),
        (
            "uri = \"file:a.jsonl\"",
            "uri = \"stdout:\"",
            "at least once: standard output cannot take back",
            "apogee.db, one with each output",
        ),
        (
            "uri = \"sim:iss\"\nvia = \"none\"",
            "uri = \"csv:out\"",
            "not assured: what is polled is kept nowhere",
            "out/.apogee/p",
        ),
    ];
    for (source, sink, delivery, checkpoints) in cases {
        let said = check(source, "visibility", "", sink);
        assert!(said["delivery"].as_str().unwrap().starts_with(delivery), "{source} {sink}: {}", said["delivery"]);
        assert!(
            said["checkpoints"].as_str().unwrap().starts_with(checkpoints),
            "{source} {sink}: {}",
            said["checkpoints"]
        );
    }
}

#[test]
fn a_check_says_where_groups_are_split() {
    let source = "uri = \"sim:iss\"\nvia = \"kafka://localhost:9092/iss\"\npartitions = 4\nidle = \"5s\"";
    let (through, sink) = ("through = \"kafka://localhost:9092/keyed\"", "uri = \"stdout:\"");
    let good = check(source, "visibility", through, sink);
    assert!(good["partitioning"][0].as_str().unwrap().starts_with("window-counts is good: flatten"), "{good}");
    assert_eq!(good["upstream"]["sink"], "kafka://localhost:9092/keyed");
    assert!(good["plugins"][0].as_str().unwrap().contains("keeps state"), "{good}");
    assert!(good["event_time"].as_str().unwrap().contains("silent for 5s"), "{good}");
    for (key, through) in [("name", through), ("visibility", ""), ("name", "")] {
        let bad = check(source, key, through, sink);
        let text = bad["partitioning"][0].as_str().unwrap();
        assert!(text.starts_with("window-counts is WRONG") && text.contains("`through ="), "{text}");
    }
}

#[test]
fn a_run_warns_of_split_groups() {
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "[source]\nuri = \"sim:iss?shape=wheretheiss\"\npartitions = 4\nuntil = \"10ms\"\n[[plugin]]\nfile = {:?}\n\
         settings.window = \"30s\"\nsettings.by = [\"visibility\"]\n[sink]\nuri = \"stdout:\"\n",
        plugin("window-counts"),
    );
    std::fs::write(directory.path().join("p.toml"), text).unwrap();
    let output = run(directory.path(), &["run", "p.toml"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("window-counts is WRONG: it keeps its state by visibility"), "{stderr}");
}
