//! The ends of windows after which no message comes: by the clock in a topic that is silent, and at the end of a file.

use host::log::Log;
use host::log::embedded::Embedded;
use host::message::Batch;
use serde_json::Value;

use crate::program::{Running, host, plugin, run_ok, wait_for};

#[test]
fn the_last_window_of_a_silent_topic_ends_by_the_clock() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let log = Embedded::open(&path.join("apogee.db")).unwrap();
    log.create_topic("in", 1).unwrap();
    let windows = format!(
        "name = \"silent\"\n[source]\nuri = \"kafka:///in\"\nidle = \"1s\"\n[[plugin]]\nfile = {:?}\n[plugin.settings]\n\
         window = \"1s\"\ngrace = \"500ms\"\nby = [\"g\"]\naggregates = [\"count\", \"max(v)\"]\n\
         [sink]\nuri = \"kafka:///out\"\n",
        plugin("window-counts")
    );
    std::fs::write(path.join("silent.toml"), windows).unwrap();
    let start = jiff::Timestamp::now().as_second() * 1_000;
    append(&log, r#"{"g":"a","v":7}"#, start + 1);

    // The state of this run is the beginning of the next.
    run_ok(path, &["run", "silent.toml", "--until", "end"]);
    append(&log, r#"{"g":"a","v":5}"#, start);
    append(&log, r#"{"g":"b","v":1.50}"#, start + 2);
    let running = Running::start(host(path, &["run", "silent.toml"]));
    let said = wait_for("the windows of two groups", || Some(values(&log, "out")).filter(|said| said.len() == 2));
    assert!(jiff::Timestamp::now().as_millisecond() >= start + 1_500, "over before its end and the grace were past");
    let [from, to] = [start, start + 1_000].map(|time| jiff::Timestamp::from_millisecond(time).unwrap());
    assert_eq!(
        said,
        [
            format!(r#"{{"g":"a","count":2,"max_v":7,"start":"{from}","end":"{to}"}}"#),
            format!(r#"{{"g":"b","count":1,"max_v":1.50,"start":"{from}","end":"{to}"}}"#),
        ]
    );
    // What comes for it now is late.
    append(&log, r#"{"g":"a","v":9}"#, start + 3);
    let letters = wait_for("a dead letter", || Some(values(&log, "silent.dead")).filter(|letters| !letters.is_empty()));
    assert!(running.stop("TERM").success());
    let letter: Value = serde_json::from_str(&letters[0]).unwrap();
    assert!(letter["reason"].as_str().unwrap().starts_with("late: "), "{letter}");
    assert_eq!((letters.len(), values(&log, "out").len()), (1, 2));
}

/// State is kept by plugins that have some: those that have none may come and go.
#[test]
fn a_plugin_without_state_can_be_put_before_one_with_state() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let log = Embedded::open(&path.join("apogee.db")).unwrap();
    log.create_topic("in", 1).unwrap();
    let run = |before: &str| {
        let pipeline = format!(
            "name = \"highest\"\n[source]\nuri = \"kafka:///in\"\nuntil = \"end\"\n{before}[[plugin]]\nfile = {:?}\n\
             settings.field = \"v\"\n[sink]\nuri = \"kafka:///out\"\n",
            plugin("max-altitude")
        );
        std::fs::write(path.join("highest.toml"), pipeline).unwrap();
        run_ok(path, &["run", "highest.toml"]);
    };
    append(&log, r#"{"v":7}"#, 1);
    run("");
    append(&log, r#"{"v":6}"#, 2);
    append(&log, r#"{"v":8}"#, 3);
    run(&format!("[[plugin]]\nfile = {:?}\n", plugin("flatten")));
    append(&log, r#"{"v":7}"#, 4);
    run("");
    assert_eq!(values(&log, "out"), [r#"{"v":7}"#, r#"{"v":8}"#]);
}

#[test]
fn the_end_of_a_file_ends_its_windows_and_those_of_an_earlier_run() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let windows = |close: bool| {
        let windows = format!(
            "name = \"whole\"\n[source]\nuri = \"file:in.jsonl\"\nuntil = \"end\"\nclose = {close}\n\
             [[plugin]]\nfile = {:?}\n[plugin.settings]\nevent_time = {{ field = \"t\", unit = \"s\" }}\n\
             [[plugin]]\nfile = {:?}\n[plugin.settings]\nwindow = \"10s\"\nby = [\"g\"]\naggregates = [\"count\", \"sum(v)\"]\n\
             [sink]\nuri = \"kafka:///out\"\n",
            plugin("flatten"),
            plugin("window-counts")
        );
        std::fs::write(path.join("whole.toml"), windows).unwrap();
        run_ok(path, &["run", "whole.toml"]);
        values(&Embedded::open(&path.join("apogee.db")).unwrap(), "out")
    };
    let before = "{\"g\":\"a\",\"t\":-5,\"v\":1}\n{\"g\":\"b\",\"t\":1,\"v\":2}\n{\"g\":\"a\",\"t\":2,\"v\":3}\n";
    std::fs::write(path.join("in.jsonl"), before).unwrap();
    let first = r#"{"g":"a","count":1,"sum_v":1,"start":"1969-12-31T23:59:50Z","end":"1970-01-01T00:00:00Z"}"#;
    assert_eq!(windows(false), [first]);

    let after = format!("{before}{{\"g\":\"a\",\"t\":9,\"v\":4}}\n");
    std::fs::write(path.join("in.jsonl"), after).unwrap();
    let window = |group: &str, count: i64, sum: i64| {
        format!(
            r#"{{"g":"{group}","count":{count},"sum_v":{sum},"start":"1970-01-01T00:00:00Z","end":"1970-01-01T00:00:10Z"}}"#
        )
    };
    assert_eq!(windows(true), [first.to_owned(), window("a", 2, 7), window("b", 1, 2)]);
}

fn append(log: &Embedded, value: &str, timestamp: i64) {
    let mut batch = Batch::new();
    batch.push(None, Some(value.as_bytes()), timestamp);
    let mut writer = log.writer("in").unwrap();
    writer.append(&batch).unwrap();
    writer.flush().unwrap();
}

/// Everything in a topic of one partition; nothing where there is no such topic.
fn values(log: &Embedded, topic: &str) -> Vec<String> {
    let Some(topic) = log.topics().unwrap().into_iter().find(|it| it.name == topic) else { return Vec::new() };
    let (mut values, mut next) = (Vec::new(), 0);
    while next < topic.partitions[0].1 {
        let fetch = log.read(&topic.name, 0, next, 1_000).unwrap();
        values.extend(fetch.batch.values.iter().map(|value| String::from_utf8(value.unwrap().to_vec()).unwrap()));
        next = fetch.next;
    }
    values
}
