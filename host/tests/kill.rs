//! kill -9 in the middle of a run: what was polled is there, files under a final name are whole, and the next run
//! writes what is missing. What was in one commit may come twice (see "Delivery" in `ARCHITECTURE.md`).

use std::collections::BTreeSet;

use host::log::Log;
use host::log::embedded::Embedded;
use host::message::Batch;

use crate::program::{Running, csv_rows, host, plugin, run_ok, top, wait_for};

#[test]
fn nothing_polled_is_lost_and_no_file_is_torn() {
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
    let mut sent = BTreeSet::new();
    let mut offset = 0;
    while offset < end {
        let fetch = log.read("iss-location", 0, offset, 1_000).unwrap();
        for value in &fetch.batch.values {
            let reply: serde_json::Value = serde_json::from_slice(value.unwrap()).unwrap();
            sent.insert(reply["timestamp"].as_i64().unwrap());
        }
        offset = fetch.next;
    }
    let rows = csv_rows(&out, &header);
    let written: BTreeSet<i64> =
        rows.iter().map(|row| row[0].parse::<jiff::Timestamp>().unwrap().as_second()).collect();
    assert_eq!(written, sent);
    let hidden = std::fs::read_dir(&out)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert_eq!(hidden.count(), 0, "unfinished files are removed by the next run");
}

#[test]
fn where_all_is_rejected_the_letters_and_the_position_are_safe_all_the_same() {
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
    let arguments = ["--plugin", flatten.to_str().unwrap(), "--from", "kafka:///bad", "--name", "all"];
    let running = Running::start(host(path, &arguments));
    let letters =
        || log.topics().unwrap().iter().find(|topic| topic.name == "all.dead").map(|topic| topic.partitions[0].1);
    wait_for("the letters while it runs", || letters().filter(|&letters| letters == 10));
    assert!(!running.stop("KILL").success());
    // At most the commit of the position, which follows the letters, was cut off: then they come once more.
    run_ok(path, &[&arguments[..], &["--until", "end"]].concat());
    run_ok(path, &[&arguments[..], &["--until", "end"]].concat());
    assert!(matches!(letters(), Some(10 | 20)), "{:?}", letters());
}
