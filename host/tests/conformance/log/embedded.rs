//! What only the embedded log does: one file, several processes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use host::checkpoint::Position;
use host::log::embedded::Embedded;
use host::log::{Log, Reading, Start};
use host::source::Poll;

use super::{PATIENCE, fetch, numbers, open_embedded, position, reader, topic, unique, values, write};

/// Where the other process finds the log; set only there.
const FILE: &str = "APOGEE_TEST_LOG";

#[test]
fn keeps_everything_when_reopened() {
    let folder = tempfile::tempdir().unwrap();
    let (name, group) = (unique("t"), unique("g"));
    let at = Position { next: 7, place: "csv:out".to_owned() };
    {
        let log = open_embedded(folder.path());
        log.create_topic(&name, 1).unwrap();
        write(&log, &name, &numbers(None, 0, 5));
        let mut source = reader(&log, &name, &group);
        fetch(&mut *source, 5);
        source.commit(0, &position(3)).unwrap();
        log.set_position("g", "file:/a.csv", &at).unwrap();
    }
    let log = open_embedded(folder.path());
    write(&log, &name, &numbers(None, 5, 6));
    assert_eq!(values(&fetch(&mut *reader(&log, &name, &group), 3)), ["3", "4", "5"]);
    assert_eq!(log.position("g", "file:/a.csv").unwrap(), Some(at));
    assert_eq!(log.position("other", "file:/a.csv").unwrap(), None);
}

#[test]
fn keeps_any_timestamp() {
    let folder = tempfile::tempdir().unwrap();
    let log = open_embedded(folder.path());
    let name = topic(&log, 1);
    let mut batch = numbers(None, 0, 4);
    batch.timestamps = vec![i64::MIN, -1, 0, i64::MAX];
    write(&log, &name, &batch);
    assert_eq!(log.read(&name, 0, 0, 9).unwrap().batch.timestamps, batch.timestamps);
}

#[test]
fn a_second_reader_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = open_embedded(folder.path());
    let name = topic(&log, 1);
    let first = reader(&log, &name, "g");
    for log in [log.clone(), open_embedded(folder.path())] {
        let error = log.reader(&name, &Reading::new("g", Start::Earliest)).err().unwrap().to_string();
        let file = folder.path().join("log.sqlite");
        assert_eq!(
            error,
            format!(
                "embedded log {}: group \"g\" already reads topic {name:?}, in process {}; end that one, \
                 name another group, or use Kafka, where a group spreads over processes",
                file.display(),
                std::process::id()
            )
        );
    }
    reader(&log, &name, "another group");
    drop(first);
    reader(&log, &name, "g");
}

/// As when the file was deleted, and the topic filled anew.
#[test]
fn does_not_go_on_behind_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let log = open_embedded(folder.path());
    let name = topic(&log, 1);
    write(&log, &name, &numbers(None, 0, 3));
    let mut source = reader(&log, &name, "g");
    source.start(0, Some(3)).unwrap();
    let error = source.start(0, Some(4)).unwrap_err().to_string();
    let expected = format!(
        "topic {name:?} ends at offset 3 in partition 0, and was read up to 4 before, so it is another one now; read \
         it under another `group`, or bring back the former file"
    );
    assert!(error.ends_with(&expected), "{error}");
}

/// The other process of the next test; nothing by itself.
#[test]
fn other_process() {
    let Ok(file) = std::env::var(FILE) else {
        return;
    };
    let log = Embedded::open(Path::new(&file)).unwrap();
    let _source = reader(&log, "shared", "g");
    println!("\nreading");
    let mut writer = log.writer("shared").unwrap();
    for i in 0.. {
        writer.append(&numbers(None, i, i + 1)).unwrap();
        writer.flush().unwrap();
    }
}

#[test]
fn a_killed_process_leaves_whole_messages_and_no_lock() {
    let folder = tempfile::tempdir().unwrap();
    let log = open_embedded(folder.path());
    log.create_topic("shared", 1).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "conformance::log::embedded::other_process", "--nocapture"])
        .env(FILE, folder.path().join("log.sqlite"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "reading"));
    assert!(
        log.reader("shared", &Reading::new("g", Start::Earliest)).is_err(),
        "the other process reads as this group"
    );
    // What the other process writes is seen here while it runs.
    let mut other_group = reader(&log, "shared", "another group");
    let before = values(&[match super::next(&mut *other_group) {
        Poll::Messages(fetch) => fetch,
        other => panic!("{other:?}"),
    }]);
    assert_eq!(before[0], "0");
    child.kill().unwrap();
    child.wait().unwrap();
    let mut source = reader(&log, "shared", "g");
    source.drain().unwrap();
    let mut seen = 0;
    while let Poll::Messages(fetch) = super::next(&mut *source) {
        let expected: Vec<i64> = (seen..seen + fetch.offsets.len() as i64).collect();
        assert_eq!(fetch.offsets, expected);
        seen = fetch.next;
    }
    assert!(seen >= before.len() as i64);
    write(&log, "shared", &numbers(None, 0, 1));
    assert_eq!(log.read("shared", 0, seen, 9).unwrap().offsets, [seen]);
}

#[test]
fn wakes_at_once_within_a_process() {
    let folder = tempfile::tempdir().unwrap();
    let log = open_embedded(folder.path());
    let name = topic(&log, 1);
    let mut source = reader(&log, &name, "g");
    let (send, receive) = std::sync::mpsc::channel();
    let mut waits = std::thread::scope(|scope| {
        let (log, name) = (&log, &name);
        let writer = scope.spawn(move || {
            let mut writer = log.writer(name).unwrap();
            let wait = |i| {
                writer.append(&numbers(None, i, i + 1)).unwrap();
                writer.flush().unwrap();
                let written = Instant::now();
                let read: Instant = receive.recv_timeout(PATIENCE).unwrap();
                read.saturating_duration_since(written)
            };
            (0..51).map(wait).collect::<Vec<_>>()
        });
        for _ in 0..51 {
            fetch(&mut *source, 1);
            send.send(Instant::now()).unwrap();
        }
        writer.join().unwrap()
    });
    waits.sort();
    // Without being woken it looks every 50 ms, so that the median would be 25.
    assert!(waits[25] < Duration::from_millis(10), "{waits:?}");
}

#[test]
fn refuses_files_that_are_not_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, expected: &str| {
        let path = folder.path().join(name);
        let before = std::fs::read(&path).ok();
        let error = Embedded::open(&path).err().unwrap().to_string();
        assert_eq!(error, format!("embedded log {}: {expected}", path.display()));
        assert_eq!(std::fs::read(&path).ok(), before, "{name} is left as it was");
    };
    std::fs::write(folder.path().join("text"), "id,name\n".repeat(1000)).unwrap();
    refused("text", "the file is not a SQLite database; name another file (SQLite: file is not a database)");
    let foreign = rusqlite::Connection::open(folder.path().join("foreign")).unwrap();
    foreign.execute_batch("CREATE TABLE t (a)").unwrap();
    drop(foreign);
    refused("foreign", "the file is a database of another program; name another file");
    Embedded::open(&folder.path().join("newer")).unwrap();
    let newer = rusqlite::Connection::open(folder.path().join("newer")).unwrap();
    newer.pragma_update(None, "user_version", 3).unwrap();
    drop(newer);
    refused(
        "newer",
        "the file has version 3 of the log's format and this host reads version 2; \
         use the host that wrote it, or name another file",
    );
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    let error = Embedded::open(&folder.path().join("folder")).err().unwrap().to_string();
    assert!(error.contains("the file cannot be opened; check that it is a file"), "{error}");
}

/// The tables as version 1 of the format had them.
const FIRST: &str = r#"
CREATE TABLE topics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL);
CREATE TABLE messages (
    topic INTEGER NOT NULL, partition INTEGER NOT NULL, "offset" INTEGER NOT NULL,
    timestamp INTEGER NOT NULL, key BLOB, value BLOB,
    PRIMARY KEY (topic, partition, "offset")
) WITHOUT ROWID;
CREATE TABLE headers (
    topic INTEGER NOT NULL, partition INTEGER NOT NULL, "offset" INTEGER NOT NULL, place INTEGER NOT NULL,
    name TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (topic, partition, "offset", place)
) WITHOUT ROWID;
CREATE TABLE positions (
    grp TEXT NOT NULL, topic INTEGER NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
    PRIMARY KEY (grp, topic, partition)
) WITHOUT ROWID;
CREATE TABLE source_positions (
    grp TEXT NOT NULL, source TEXT NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (grp, source)
) WITHOUT ROWID;
INSERT INTO topics VALUES (1, 't', 1);
INSERT INTO messages VALUES (1, 0, 0, 5, NULL, X'30'), (1, 0, 1, 6, NULL, X'31'), (1, 0, 2, 7, NULL, X'32');
INSERT INTO positions VALUES ('g', 1, 0, 2);
INSERT INTO source_positions VALUES ('g', 'file:/a.csv', 9);
PRAGMA application_id = 0x41706f67;
PRAGMA user_version = 1;
"#;

#[test]
fn a_file_of_the_first_version_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    rusqlite::Connection::open(folder.path().join("log.sqlite")).unwrap().execute_batch(FIRST).unwrap();
    // Once brought to the present version, it is opened like any other.
    for round in 0..2 {
        let log = open_embedded(folder.path());
        assert_eq!(log.position("g", "file:/a.csv").unwrap(), Some(position(9)));
        let mut source = reader(&log, "t", "g");
        let known = [Some(position(2)), Some(Position { next: 3, place: "here".to_owned() })];
        assert_eq!(crate::conformance::assigned(&mut *source)[0].position, known[round]);
        source.start(0, Some(1)).unwrap();
        assert_eq!(values(&fetch(&mut *source, 2)), ["1", "2"]);
        source.commit(0, known[1].as_ref().unwrap()).unwrap();
    }
}

#[test]
fn finds_damage() {
    let folder = tempfile::tempdir().unwrap();
    let name = {
        let log = open_embedded(folder.path());
        let name = topic(&log, 1);
        write(&log, &name, &numbers(None, 0, 10_000));
        name
    };
    let path = folder.path().join("log.sqlite");
    let mut bytes = std::fs::read(&path).unwrap();
    let length = bytes.len();
    assert!(length > 100_000, "the log was checkpointed into the file");
    // All but the first pages, which hold the schema.
    bytes[40_000..].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let log = open_embedded(folder.path());
    let error = log.read(&name, 0, 0, usize::MAX).unwrap_err().to_string();
    assert!(error.contains("the file is damaged; restore it from a copy"), "{error}");
}
