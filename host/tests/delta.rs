//! Delta tables beside others who write and read them: who wins, what is refused, and what other readers see.

mod changes;
mod iss;
mod races;
mod refused;

use std::path::PathBuf;
use std::time::Duration;

use host::checkpoint::{Identity, Part, Sum};
use host::log::embedded::Embedded;
use host::log::{Log, Reading, Start};
use host::message::Batch;
use host::plugin::{Entries, Field, Kind};
use host::sink::delta::{DeltaSink, Options};
use host::sink::{Sink, SinkError, Step};
use host::source::Source;
use host::uri::Location;
use serde_json::Value;
use tempfile::TempDir;

use crate::readers::{Readers, python};

const LONG: Duration = Duration::from_secs(3600);

/// A table of numbers `n` and texts `t`, in a folder of its own.
struct Bench {
    folder: TempDir,
}

/// A sink, and what it is told to have read.
struct Writer {
    sink: DeltaSink,
    source: Box<dyn Source>,
    _log: TempDir,
}

impl Bench {
    fn new() -> Self {
        // In memory where that is: some tests commit a thousand times.
        let memory = tempfile::tempdir_in("/dev/shm");
        Self { folder: memory.or_else(|_| tempfile::tempdir()).unwrap() }
    }

    fn table(&self) -> PathBuf {
        self.folder.path().join("table")
    }

    fn uri(&self) -> String {
        self.table().to_str().unwrap().to_owned()
    }

    fn options(&self) -> Options {
        Options { table: Location::Directory(self.table()), every: LONG, size: 1 << 20, partition_by: Vec::new() }
    }

    fn writer(&self, group: &str) -> Writer {
        self.writer_of(self.options(), &fields(), group).unwrap()
    }

    fn writer_of(&self, options: Options, fields: &[Field], group: &str) -> Result<Writer, SinkError> {
        let folder = tempfile::tempdir().unwrap();
        let log = Embedded::open(&folder.path().join("log.db")).unwrap();
        log.create_topic("in", 1).unwrap();
        let source = log.reader("in", &Reading::new(group, Start::Earliest)).unwrap();
        Ok(Writer { sink: DeltaSink::new(options, &Default::default(), fields, group, LONG)?, source, _log: folder })
    }

    /// The numbers that deltalake reads, sorted.
    fn numbers(&self) -> Vec<i64> {
        let rows = Readers::local().delta(&self.uri(), None);
        let mut numbers: Vec<i64> = rows.iter().map(|row| row["n"].as_i64().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// The actions of each version.
    fn log(&self) -> Vec<Vec<Value>> {
        log(&self.table())
    }

    /// Changes the table as another program would (`readers/change.py`).
    fn change(&self, command: &str, rest: &[&str]) {
        let uri = self.uri();
        xtask::command::output(python("change.py").args([command, &uri]).args(rest)).unwrap();
    }
}

impl Writer {
    /// Opens partition 0; gives where its checkpoint goes on.
    fn open(&mut self) -> Result<i64, SinkError> {
        Ok(self.sink.open(0)?.map_or(0, |last| last.next))
    }

    fn write(&mut self, rows: &[Value]) -> usize {
        let mut batch = Batch::new();
        rows.iter().for_each(|row| batch.push(None, Some(row.to_string().as_bytes()), 0));
        self.sink.write(0, &batch, 0).unwrap().len()
    }

    fn commit(&mut self, next: i64) -> Result<(), SinkError> {
        let identity = Identity {
            pipeline: "p".into(),
            source: "s".into(),
            place: self.sink.place(),
            plugins: Vec::new(),
            exactly_once: true,
        };
        let part = Part { checkpoint: identity.checkpoint(0, next, None, Sum::default()), changes: Entries::default() };
        self.sink.commit(Step { parts: &[part], letters: &Batch::new(), source: &*self.source }).map(drop)
    }

    /// Writes the numbers from `next` to `end`, and commits them.
    fn append(&mut self, next: i64, end: i64) -> Result<(), SinkError> {
        self.write(&(next..end).map(row).collect::<Vec<_>>());
        self.commit(end)
    }
}

fn fields() -> Vec<Field> {
    let field = |name: &str, kind| Field { name: name.to_owned(), kind, nullable: true };
    vec![field("n", Kind::Integer), field("t", Kind::Text)]
}

fn row(n: i64) -> Value {
    serde_json::json!({ "n": n, "t": format!("text {n}") })
}

/// The actions of each version of a table.
pub fn log(table: &std::path::Path) -> Vec<Vec<Value>> {
    let entry = |version: u64| std::fs::read_to_string(table.join(format!("_delta_log/{version:020}.json"))).ok();
    let actions = |entry: String| entry.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (0..).map_while(entry).map(actions).collect()
}

#[test]
fn a_message_with_a_value_of_another_type_costs_only_itself() {
    let bench = Bench::new();
    let mut writer = bench.writer("g");
    writer.open().unwrap();
    assert_eq!(writer.write(&[row(1), serde_json::json!({ "n": "two" }), row(3), Value::Null]), 2);
    writer.commit(4).unwrap();
    assert_eq!(bench.numbers(), [1, 3]);
}

#[test]
fn a_value_that_would_lead_out_of_the_table_stays_inside_and_comes_back() {
    let bench = Bench::new();
    let options = Options { partition_by: vec!["t".to_owned()], ..bench.options() };
    let mut writer = bench.writer_of(options, &fields(), "g").unwrap();
    writer.open().unwrap();
    let texts = ["../../x", "/etc", "a=b/c", "\u{e9} %2e%2e/", "..", "CON", "plain"];
    let rows: Vec<_> = (0..).zip(texts).map(|(n, t)| serde_json::json!({ "n": n, "t": t })).collect();
    assert_eq!(writer.write(&rows), 0);
    writer.commit(7).unwrap();
    let mut read = Readers::local().delta(&bench.uri(), None);
    read.sort_by_key(|row| row["n"].as_i64());
    assert_eq!(read, rows);
    let beside: Vec<_> =
        std::fs::read_dir(bench.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside, ["table"]);
}

#[test]
fn a_growing_table_is_valid_at_every_look_and_opens_quickly_after_a_thousand_commits() {
    let bench = Bench::new();
    let mut watch = python("watch.py");
    watch.arg(bench.uri()).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut watch = watch.spawn().unwrap();
    let mut writer = bench.writer("g");
    writer.open().unwrap();
    for n in 0..1_000 {
        writer.append(n, n + 1).unwrap();
    }
    drop(watch.stdin.take());
    let said = watch.wait_with_output().unwrap();
    assert!(said.status.success());
    let (times, seconds): (u64, f64) = serde_json::from_slice(&said.stdout).unwrap();
    println!("looked at {times} times; opens in {seconds:.3} s");
    assert!(times > 20 && seconds < 1.0, "looked at {times} times; opens in {seconds:.3} s");
    assert_eq!(bench.numbers(), (0..1_000).collect::<Vec<_>>());
}

#[test]
fn entries_that_expired_are_removed_unless_the_table_says_that_they_stay() {
    for stays in [true, false] {
        let bench = Bench::new();
        let mut writer = bench.writer("g");
        writer.open().unwrap();
        let retention =
            r#"{"delta.logRetentionDuration": "interval 0 seconds", "delta.enableExpiredLogCleanup": "STAYS"}"#;
        bench.change("set", &[&retention.replace("STAYS", if stays { "false" } else { "true" })]);
        for n in 0..30 {
            writer.append(n, n + 1).unwrap();
        }
        let first = bench.table().join(format!("_delta_log/{:020}.json", 0));
        assert_eq!(first.exists(), stays);
        assert_eq!(bench.numbers(), (0..30).collect::<Vec<_>>());
    }
}
