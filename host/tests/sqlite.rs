//! The `sqlite:` sink through the program: rows by key, faults of the disk, kills.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;

use crate::program::{Running, host, plugin, run, run_ok, wait_for};

/// Numbers `n` with a group `g`, one a line.
fn numbers(path: &Path, count: usize) {
    let mut file = std::fs::File::create(path.join("in.jsonl")).unwrap();
    (0..count).for_each(|n| writeln!(file, "{{\"n\":{n},\"g\":\"{}\"}}", n % 7).unwrap());
}

fn pipeline(path: &Path, sink: &str) {
    let flatten = plugin("flatten");
    let text = format!(
        "[source]\nuri = \"file:in.jsonl\"\nuntil = \"end\"\n[[plugin]]\nfile = {flatten:?}\n[plugin.settings]\nfields = [\
         {{ from = \"n\", name = \"n\", type = \"integer\" }}, {{ from = \"g\", name = \"g\" }}]\n\
         [sink]\nuri = \"sqlite:out.db\"\n{sink}\n"
    );
    std::fs::write(path.join("numbers.toml"), text).unwrap();
}

fn rows(path: &Path, sql: &str) -> Vec<(i64, String)> {
    let connection = Connection::open(path.join("out.db")).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

/// How many rows a reader sees now; there may be no table yet.
fn count(path: &Path) -> usize {
    let count = |c: Connection| c.query_row("SELECT count(*) FROM numbers", [], |row| row.get::<_, i64>(0));
    Connection::open(path.join("out.db")).and_then(count).unwrap_or(0) as usize
}

/// That each number is there once.
fn is_whole(path: &Path, numbers: usize) {
    let expected: Vec<_> = (0..numbers).map(|n| (n as i64, (n % 7).to_string())).collect();
    assert!(rows(path, "SELECT n, g FROM numbers ORDER BY rowid") == expected, "{} of {numbers} rows", count(path));
}

#[test]
fn a_later_message_replaces_the_row_of_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    numbers(path, 1_000);
    pipeline(path, "table = \"the last\"\nkey = [\"g\"]");
    run_ok(path, &["run", "numbers.toml"]);
    let last: Vec<_> = (0..7).map(|g| ((0..1_000).rfind(|n| n % 7 == g).unwrap(), g.to_string())).collect();
    assert_eq!(rows(path, "SELECT n, g FROM \"the last\" ORDER BY g"), last);
}

#[test]
fn a_wrong_key_is_told_before_the_run_and_a_table_that_is_gone_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    numbers(path, 10);
    pipeline(path, "key = [\"h\"]");
    for command in ["check", "run"] {
        let refused = run(path, &[command, "numbers.toml"]);
        let stderr = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("sqlite:out.db: `key` names \"h\", and the columns are n, g"), "{stderr}");
    }
    pipeline(path, "");
    run_ok(path, &["run", "numbers.toml"]);
    is_whole(path, 10);
    Connection::open(path.join("out.db")).unwrap().execute_batch("DROP TABLE numbers").unwrap();
    let gone = run(path, &["run", "numbers.toml"]);
    let stderr = String::from_utf8(gone.stderr).unwrap();
    assert_eq!(gone.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("table \"numbers\" is not there, and group \"numbers\" has a checkpoint here"), "{stderr}");
}

/// Row 18: the rows of another moment, or without their checkpoint, are not gone on from.
#[test]
fn without_its_last_checkpoint_it_does_not_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    numbers(path, 10);
    pipeline(path, "");
    run_ok(path, &["run", "numbers.toml"]);
    std::fs::copy(path.join("out.db"), path.join("old.db")).unwrap();
    numbers(path, 20);
    run_ok(path, &["run", "numbers.toml"]);
    is_whole(path, 20);
    let refused = |what: &str| {
        let output = run(path, &["run", "numbers.toml"]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        let group = "partition 0: the group has had everything before offset";
        assert!(
            stderr.contains(group) && stderr.contains("in sqlite:out.db?group=numbers") && stderr.contains(what),
            "{stderr}"
        );
    };
    let connection = Connection::open(path.join("out.db")).unwrap();
    connection.execute("DELETE FROM checkpoints", []).unwrap();
    drop(connection);
    refused("the checkpoint that belongs to it is missing there; bring it back");
    std::fs::rename(path.join("old.db"), path.join("out.db")).unwrap();
    refused("it is an old copy; bring back the last one");
}

/// Killed at random after each start.
#[test]
fn through_kills_each_message_is_a_row_once() {
    const MESSAGES: usize = 200_000;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    // In a file of its own the position comes after; in the log's it is in the step.
    for log in ["apogee.db", "out.db"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        numbers(path, MESSAGES);
        pipeline(path, "interval = \"10ms\"");
        let mut kills = 0;
        while count(path) < MESSAGES {
            let enough = (count(path) + random.usize(0..50_000)).min(MESSAGES - 1);
            let running = Running::start(host(path, &["run", "numbers.toml", "--log", log]));
            wait_for("rows", || (count(path) > enough).then_some(()));
            kills += usize::from(!running.stop("KILL").success());
        }
        assert!(kills > 0);
        run_ok(path, &["run", "numbers.toml", "--log", log]);
        is_whole(path, MESSAGES);
    }
}

/// Row 15: each kind of call to the disk fails once, at whichever of its occurrences.
#[test]
fn a_disk_that_is_full_or_fails_stops_the_run_and_the_next_one_goes_on() {
    const MESSAGES: usize = 30_000;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for (call, error, told) in [
        ("pwrite64", "ENOSPC", "the disk is full; make room and run again"),
        ("pwrite64", "EIO", "the disk fails; look at the system's log"),
        ("fsync,fdatasync", "EIO", "the disk fails; look at the system's log"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        numbers(path, MESSAGES);
        pipeline(path, "interval = \"5ms\"");
        // A first run makes the tables.
        run_ok(path, &["run", "numbers.toml", "--for", "1ms", "--log", "out.db"]);
        let before = count(path);
        let when = if call.starts_with("fsync") { random.usize(1..3) } else { random.usize(1..100) };
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "strace.log", "-P"]).arg(path.join("out.db-wal"));
        strace.arg("-e").arg(format!("inject={call}:error={error}:when={when}+"));
        strace.arg(env!("CARGO_BIN_EXE_host")).args(["run", "numbers.toml", "--log", "out.db"]);
        let output = strace.current_dir(path).env("XDG_RUNTIME_DIR", path).output().expect("strace is needed");
        let stderr = String::from_utf8(output.stderr).unwrap();
        let context = format!("{call} {error} {when}: {stderr}");
        if before < MESSAGES {
            assert_eq!(output.status.code(), Some(3), "{context}");
            assert!(stderr.contains(told), "{context}");
        }
        run_ok(path, &["run", "numbers.toml", "--log", "out.db"]);
        is_whole(path, MESSAGES);
    }
}
