//! kill -9 in the middle of a run: what was polled is in the output exactly once, and files under a final name are
//! whole.

use std::ops::Range;
use std::path::Path;

use host::log::Log;
use host::log::embedded::Embedded;
use host::message::Batch;

use crate::program::{Running, csv_rows, host, plugin, run_ok, top, wait_for};

#[test]
fn what_was_polled_is_written_once_and_no_file_is_torn() {
    let directory = tempfile::tempdir().unwrap();
    let (path, out) = (directory.path(), directory.path().join("out"));
    let pipeline = top().join("pipelines/iss-csv.toml");
    let pipeline = std::fs::read_to_string(pipeline).unwrap().replace(r#"every = "60s""#, r#"every = "100ms""#);
    let pipeline = pipeline.replace("../plugins", top().join("plugins").to_str().unwrap());
    std::fs::write(path.join("iss-csv.toml"), pipeline).unwrap();
    let header = ["local_time", "longitude", "latitude"];

    for round in 1..=3 {
        let arguments = ["run", "iss-csv.toml", "--from", "sim:iss?step=1s", "--via", "kafka:///iss-location"];
        let rest = ["--every", "1ms", "--to", "csv:out"];
        let running = Running::start(host(path, &[&arguments[..], &rest[..]].concat()));
        // Every round starts with what the last one left; wait for more than that.
        let before = csv_rows(&out, &header).len();
        wait_for("rows in finished files", || (csv_rows(&out, &header).len() > before + 20 * round).then_some(()));
        assert!(!running.stop("KILL").success());
    }
    run_ok(path, &["run", "iss-csv.toml", "--from", "kafka:///iss-location", "--to", "csv:out", "--until", "end"]);

    let log = Embedded::open(&path.join("apogee.db")).unwrap();
    let end = log.topics().unwrap().iter().find(|topic| topic.name == "iss-location").unwrap().partitions[0].1;
    let mut sent = Vec::new();
    let mut offset = 0;
    while offset < end {
        let fetch = log.read("iss-location", 0, offset, 1_000).unwrap();
        for value in &fetch.batch.values {
            let reply: serde_json::Value = serde_json::from_slice(value.unwrap()).unwrap();
            sent.push(reply["timestamp"].as_i64().unwrap());
        }
        offset = fetch.next;
    }
    let rows = csv_rows(&out, &header);
    let written: Vec<i64> = rows.iter().map(|row| row[0].parse::<jiff::Timestamp>().unwrap().as_second()).collect();
    assert!(written == sent, "{} rows of {} messages", written.len(), sent.len());
    let unfinished = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.') && name != ".apogee");
    assert_eq!(unfinished.collect::<Vec<_>>(), [""; 0], "unfinished files are removed by the next run");
}

/// The letters are in the same log as the output, and so in the same step as the position.
#[test]
fn where_all_is_rejected_each_letter_is_there_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let log = Embedded::open(&path.join("apogee.db")).unwrap();
    log.create_topic("bad", 1).unwrap();
    let mut batch = Batch::new();
    (0..10).for_each(|_| batch.push(None, Some(b"not json"), 0));
    let mut writer = log.writer("bad").unwrap();
    writer.append(&batch).unwrap();
    writer.flush().unwrap();

    let flatten = plugin("flatten");
    let arguments =
        ["--plugin", flatten.to_str().unwrap(), "--from", "kafka:///bad", "--name", "all", "--to", "kafka:///good"];
    let running = Running::start(host(path, &arguments));
    let letters =
        || log.topics().unwrap().iter().find(|topic| topic.name == "all.dead").map(|topic| topic.partitions[0].1);
    wait_for("the letters while it runs", || letters().filter(|&letters| letters == 10));
    assert!(!running.stop("KILL").success());
    for _ in 0..2 {
        run_ok(path, &[&arguments[..], &["--until", "end"]].concat());
        assert_eq!(letters(), Some(10));
    }
}

const MESSAGES: usize = 200_000;

#[test]
fn from_topic_to_topic_each_message_comes_out_once() {
    let directory = tempfile::tempdir().unwrap();
    let log = Embedded::open(&directory.path().join("apogee.db")).unwrap();
    log.create_topic("in", 1).unwrap();
    let mut writer = log.writer("in").unwrap();
    for from in (0..MESSAGES).step_by(1_000) {
        let mut batch = Batch::new();
        messages(from..from + 1_000).for_each(|message| batch.push(None, Some(message.as_bytes()), 0));
        writer.append(&batch).unwrap();
    }
    writer.flush().unwrap();
    each_message_comes_out_once(directory.path(), &log, "kafka:///in");
}

/// Its position is committed after the checkpoint, which has the last word.
#[test]
fn from_file_to_topic_each_message_comes_out_once() {
    let directory = tempfile::tempdir().unwrap();
    let log = Embedded::open(&directory.path().join("apogee.db")).unwrap();
    let lines: String = messages(0..MESSAGES).map(|message| message + "\n").collect();
    std::fs::write(directory.path().join("in.jsonl"), lines).unwrap();
    each_message_comes_out_once(directory.path(), &log, "file:in.jsonl");
}

fn messages(numbers: Range<usize>) -> impl Iterator<Item = String> {
    numbers.map(|n| format!("{{\"n\":{n}}}"))
}

/// Killed at random after each start, at most some commits later.
fn each_message_comes_out_once(path: &Path, log: &Embedded, from: &str) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    log.create_topic("out", 1).unwrap();
    let flatten = plugin("flatten");
    let arguments = ["--plugin", flatten.to_str().unwrap(), "--from", from, "--to", "kafka:///out", "--name", "copy"];
    let written = || usize::try_from(log.describe("out").unwrap().partitions[0].1).unwrap();
    let mut kills = 0;
    while written() < MESSAGES {
        let enough = (written() + random.usize(0..50_000)).min(MESSAGES - 1);
        let running = Running::start(host(path, &arguments));
        wait_for("output", || (written() > enough).then_some(()));
        // The last one may have ended by itself.
        kills += usize::from(!running.stop("KILL").success());
    }
    assert!(kills > 0);
    run_ok(path, &[&arguments[..], &["--until", "end"]].concat());
    let (mut values, mut next) = (Vec::new(), 0);
    while values.len() < written() {
        let fetch = log.read("out", 0, next, 10_000).unwrap();
        values.extend(fetch.batch.values.iter().map(|value| String::from_utf8(value.unwrap().to_vec()).unwrap()));
        next = fetch.next;
    }
    assert!(values.iter().eq(&messages(0..MESSAGES).collect::<Vec<_>>()), "{} of {MESSAGES} messages", values.len());
}
