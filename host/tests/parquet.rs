//! Parquet files as the program writes them, read by readers that are not ours.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use host::dead_letter::Letter;
use host::log::Log;
use host::log::kafka::Kafka;
use host::message::Batch;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::chaos::pass;
use crate::kafka::brokers;
use crate::program::{Running, host, plugin, run, wait_for};
use crate::readers::Readers;

/// A pipeline in a directory of its own, from `in.jsonl` to the Parquet files in `out`, with dead letters in
/// `dead.jsonl`.
struct Given(TempDir);

impl Given {
    /// `plugin` is the name of a component, `settings` are its settings and `sink` further lines of `[sink]`.
    fn new(component: &str, settings: &str, sink: &str) -> Self {
        Self::reading("file:in.jsonl", component, settings, sink)
    }

    fn reading(source: &str, component: &str, settings: &str, sink: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pipeline = format!(
            "name = \"p\"\ndead_letters = \"jsonl:dead.jsonl\"\n[source]\nuri = {source:?}\nuntil = \"end\"\n\
             [[plugin]]\nfile = {:?}\n[plugin.settings]\n{settings}\n[sink]\nuri = \"parquet:out\"\n{sink}\n",
            plugin(component)
        );
        fs::write(directory.path().join("p.toml"), pipeline).unwrap();
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn out(&self) -> String {
        self.path().join("out").to_str().unwrap().to_owned()
    }

    /// Fills the input, a line for each.
    fn write<T: std::fmt::Display>(&self, lines: impl IntoIterator<Item = T>) {
        let mut file = BufWriter::new(File::create(self.path().join("in.jsonl")).unwrap());
        lines.into_iter().for_each(|line| writeln!(file, "{line}").unwrap());
        file.flush().unwrap();
    }

    /// Runs to the end of the input, and gives the counters.
    fn run(&self) -> Value {
        let Output { status, stderr, .. } = run(self.path(), &["run", "p.toml", "--json"]);
        let stderr = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{stderr}");
        let summary = stderr.lines().find(|line| line.starts_with("{\"summary\"")).expect("a summary");
        serde_json::from_str::<Value>(summary).unwrap()["summary"]["counters"].clone()
    }

    fn letters(&self) -> Vec<Letter<'static>> {
        let lines = fs::read_to_string(self.path().join("dead.jsonl")).unwrap_or_default();
        lines.lines().map(|line| Letter::parse(line.as_bytes()).unwrap()).collect()
    }

    /// What DuckDB says of the files that a reader sees, in one row.
    fn ask(&self, what: &str) -> Value {
        let mut rows = Readers::local().sql(&format!("SELECT {what} FROM read_parquet('{}/*.parquet')", self.out()));
        assert_eq!(rows.len(), 1);
        rows.remove(0)
    }
}

/// The settings of `flatten` for a number and a text of [`numbered`].
const NUMBERED: &str = r#"fields = [{ from = "number", type = "integer" }, { from = "text" }]"#;

fn numbered(number: u64) -> String {
    format!(r#"{{"number": {number}, "text": "{:016x}"}}"#, number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[test]
fn types_nulls_and_nested_values_are_what_other_readers_read() {
    let settings = r#"fields = [
        { from = "id", type = "integer" },
        { from = "speed", type = "float" },
        { from = "day", type = "boolean" },
        { from = "at", type = "timestamp", unit = "ms", offset = "+02:00" },
        { from = "text", type = "text" },
        { from = "kept" },
        { from = "never" },
    ]"#;
    let given = Given::new("flatten", settings, "compression = \"snappy\"");
    given.write([
        r#"{"id": -9223372036854775808, "speed": 27538.217323796, "day": true, "at": 1714032708123, "text": "\"é\",\n=1\u0000🚀", "kept": [1, {"a": null}]}"#,
        r#"{"id": "7", "speed": 1, "day": "false", "at": -1, "text": 2.50, "kept": 1.50}"#,
        r#"{"id": null, "speed": null, "day": null, "at": null, "text": null, "kept": null, "never": null}"#,
    ]);
    given.run();
    let readers = Readers::local();
    let rows = [
        json!({"id": i64::MIN, "speed": 27538.217323796, "day": true, "at": "2024-04-25T08:11:48.123000+00:00",
            "text": "\"é\",\n=1\u{0}🚀", "kept": "[1, {\"a\": null}]", "never": null}),
        json!({"id": 7, "speed": 1.0, "day": false, "at": "1969-12-31T23:59:59.999000+00:00",
            "text": "2.50", "kept": "1.50", "never": null}),
        json!({"id": null, "speed": null, "day": null, "at": null, "text": null, "kept": null, "never": null}),
    ];
    assert_eq!(readers.parquet(&given.out()), rows);
    assert_eq!(readers.sql(&format!("SELECT * FROM read_parquet('{}/*.parquet')", given.out())), rows);
    let types = ["int64", "double", "bool", "timestamp[us, tz=UTC]", "string", "string", "string"];
    let columns = readers.schema(&given.out());
    assert_eq!(columns.iter().map(|column| column["type"].as_str().unwrap()).collect::<Vec<_>>(), types);
    assert!(columns.iter().all(|column| column["nullable"] == true));
}

#[test]
fn a_million_rows_in_many_files_are_there_once() {
    const ROWS: u64 = 1_000_000;
    let given = Given::new("flatten", NUMBERED, "size = \"2MB\"");
    given.write((0..ROWS).map(numbered));
    let counters = given.run();
    let files = fs::read_dir(given.out()).unwrap().filter(|entry| entry.as_ref().unwrap().path().extension().is_some());
    let sizes: Vec<u64> = files.map(|file| file.unwrap().metadata().unwrap().len()).collect();
    assert!(sizes.len() > 3 && sizes.iter().all(|size| *size < 2_500_000), "{sizes:?}");
    assert_eq!((&counters["messages out"], &counters["files"]), (&ROWS.into(), &sizes.len().into()));
    let right = "bool_and(text = lower(printf('%016x', (number::UHUGEINT * 11400714819323198485 % 18446744073709551616)::UBIGINT)))";
    assert_eq!(
        given.ask(&format!(
            "count(*) AS rows, count(DISTINCT number) AS numbers, max(number) AS last, {right} AS right"
        )),
        json!({"rows": ROWS, "numbers": ROWS, "last": ROWS - 1, "right": true})
    );
}

#[test]
fn a_field_that_changes_its_type_costs_its_messages_alone() {
    // What the plugin finds out itself.
    let given = Given::new("flatten", NUMBERED, "");
    given.write((0..1_000).map(|number| match number {
        500 => r#"{"number": "five hundred"}"#.to_owned(),
        501 => r#"{"number": 501.5}"#.to_owned(),
        _ => numbered(number),
    }));
    let counters = given.run();
    assert_eq!((&counters["messages out"], &counters["rejected by flatten"]), (&998.into(), &2.into()));
    assert_eq!(given.ask("count(*) AS rows, sum(number)::BIGINT AS sum"), json!({"rows": 998, "sum": 499_500 - 1_001}));
    assert_eq!(given.letters().len(), 2);
    // What it lets through, but does not fit the type that it declares.
    let given = Given::new("stamp-1", "id = \"number\"", "");
    given.write((0..1_000).map(|number| match number {
        500 => r#"{"number": 18446744073709551616}"#.to_owned(),
        _ => numbered(number),
    }));
    let counters = given.run();
    assert_eq!(counters["messages out"], 999);
    assert_eq!(counters["rejected by sink: not of the columns"], 1);
    assert_eq!(given.ask("count(*) AS rows, sum(id)::BIGINT AS sum"), json!({"rows": 999, "sum": 499_500 - 500}));
    let letters = given.letters();
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!(letter.reason, r#"field "id": 18446744073709551616 is not a 64-bit integer"#);
    assert_eq!(Readers::local().schema(&given.out())[0], json!({"name": "id", "type": "int64", "nullable": false}));
}

#[test]
fn where_all_is_refused_there_is_no_file() {
    let given = Given::new("stamp-1", "id = \"number\"", "");
    given.write([r#"{"number": 18446744073709551616}"#; 3]);
    assert_eq!(given.run()["rejected by sink: not of the columns"], 3);
    assert_eq!(given.letters().len(), 3);
    assert_eq!(Readers::local().parquet(&given.out()), <[Value; 0]>::default());
    let files: Vec<_> = fs::read_dir(given.out()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, [".apogee"]);
}

#[test]
fn a_message_of_100_mb_becomes_a_dead_letter() {
    let given = Given::new("flatten", NUMBERED, "");
    let large = format!(r#"{{"number": 1, "text": "{}"}}"#, "x".repeat(100_000_000));
    given.write([numbered(0), large, numbered(2)]);
    let counters = given.run();
    assert_eq!(counters["messages out"], 2);
    assert_eq!(given.ask("list(number ORDER BY number) AS numbers"), json!({"numbers": [0, 2]}));
    let letters = given.letters();
    let [letter] = &letters[..] else { panic!("{} letters", letters.len()) };
    assert!(letter.reason.contains("longer than"), "{}", letter.reason);
}

#[test]
fn a_message_of_100_mb_in_kafka_is_a_clear_error_or_a_dead_letter() {
    let topic = format!("large-{:016x}", fastrand::u64(..));
    let new = NewTopic::new(&topic, 1, TopicReplication::Fixed(1)).set("max.message.bytes", "150000000");
    let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap();
    pollster::block_on(admin.create_topics([&new], &AdminOptions::new())).unwrap().remove(0).unwrap();
    let compressed = [("compression.type".to_owned(), "zstd".to_owned())].into();
    let kafka = Kafka::connect(&brokers(), &compressed).unwrap();
    let large = format!(r#"{{"number": 1, "text": "{}"}}"#, "x".repeat(100_000_000));
    for message in [numbered(0), large, numbered(2)] {
        let mut batch = Batch::new();
        batch.push(None, Some(message.as_bytes()), 0);
        let mut writer = kafka.writer(&topic).unwrap();
        writer.append(&batch).unwrap();
        writer.flush().unwrap();
    }
    let uri = format!("kafka://{}/{topic}", brokers());
    // More than the consumer takes: the run stops, and nothing is lost.
    let given = Given::reading(&uri, "flatten", NUMBERED, "");
    let Output { status, stderr, .. } = run(given.path(), &["run", "p.toml"]);
    let told = String::from_utf8_lossy(&stderr);
    assert!(
        !status.success() && told.contains(&topic) && told.contains("larger than receive.message.max.bytes"),
        "{told}"
    );
    // More than a plugin may put out: it costs itself alone.
    let client = "[client]\n\"receive.message.max.bytes\" = \"200000000\"";
    let given = Given::reading(&uri, "flatten", NUMBERED, client);
    let counters = given.run();
    assert_eq!(counters["messages out"], 2);
    assert_eq!(given.ask("list(number ORDER BY number) AS numbers"), json!({"numbers": [0, 2]}));
    let letters = given.letters();
    let [letter] = &letters[..] else { panic!("{} letters", letters.len()) };
    assert_eq!((letter.offset, &*letter.by), (1, "flatten"));
    assert!(letter.reason.contains("bytes"), "{}: {}", letter.cause, letter.reason);
}

/// kill -9 at any moment: no file that a reader sees is torn, whenever it looks (fault 16), and in the end each row is
/// there once (fault 1).
#[test]
fn a_reader_sees_whole_files_alone_through_kills() {
    const ROWS: u64 = 1_000_000;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let given = Given::new("flatten", NUMBERED, "every = \"200ms\"");
    given.write((0..ROWS).map(numbered));
    let finished = || fs::read_dir(given.out()).map_or(0, |entries| entries.count());
    let mut kills = 0;
    while kills < 8 {
        let mut command: Command = host(given.path(), &["run", "p.toml"]);
        command.stderr(Stdio::null());
        let before = finished();
        let mut running = Running::start(command);
        wait_for("a file", || (finished() > before.max(1) || !running.is_running()).then_some(()));
        // Any moment of the next file.
        pass(Duration::from_millis(random.u64(..300)));
        if !running.is_running() {
            break;
        }
        running.stop("KILL");
        kills += 1;
        let seen = given.ask("count(*) AS rows, count(DISTINCT number) AS numbers, max(number) + 1 AS next");
        println!("kill {kills}: {seen}");
        assert!(seen["rows"] == seen["numbers"] && seen["rows"] == seen["next"], "{seen}");
    }
    assert!(kills >= 3, "the input was read before {kills} kills");
    given.run();
    assert_eq!(
        given.ask("count(*) AS rows, count(DISTINCT number) AS numbers, max(number) AS last"),
        json!({"rows": ROWS, "numbers": ROWS, "last": ROWS - 1})
    );
    let left = fs::read_dir(given.out()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(left.filter(|name| !name.ends_with(".parquet")).collect::<Vec<_>>(), [".apogee"]);
}
