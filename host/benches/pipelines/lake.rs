//! From a topic of wheretheiss.at messages to columns: Parquet files and a Delta table, beside pyarrow and deltalake,
//! which write the same rows from memory: without a broker, without JSON, without a commit.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::topic::{Setting, where_the_iss_at};
use crate::{process, program};

const ROUNDS: usize = 3;

/// What the others say of a round.
#[derive(Deserialize)]
struct Round {
    wall: f64,
    cpu: f64,
    rows: u64,
    bytes: u64,
}

/// (l) To zstd Parquet files.
pub fn parquet(setting: &Setting) {
    compare(setting, "parquet", "(l)", "pyarrow");
}

/// (m) To a Delta table.
pub fn delta(setting: &Setting) {
    compare(setting, "delta", "(m)", "deltalake");
}

fn compare(setting: &Setting, what: &str, letter: &str, other: &str) {
    let messages = setting.messages;
    println!("\n{letter} From a Kafka topic of {messages} messages of about 300 bytes to {what}, 6 columns");
    let topic = setting.fill(what, 1, messages, where_the_iss_at);
    println!("{:>22} {:>12} {:>20} {:>12} {:>12}", "", "messages/s", "CPU-s per million", "peak MB", "MB on disk");
    let directory = tempfile::tempdir().expect("a directory");
    let mut least = f64::INFINITY;
    for round in 0..ROUNDS {
        let path = directory.path().join(round.to_string());
        std::fs::create_dir(&path).expect("a directory");
        let run = process::run(to_columns(setting, what, &topic, &format!("{topic}-{round}"), &path));
        let (speed, cpu, bytes) = (run.speed(messages), run.cpu_per_million(messages), bytes(&path.join("out")));
        println!(
            "{:>22} {speed:>12.0} {cpu:>20.3} {:>12.0} {:>12.1}",
            "host",
            run.peak as f64 / 1e6,
            bytes as f64 / 1e6
        );
        least = least.min(cpu);
    }
    let rows = directory.path().join("0/out");
    let mut theirs = f64::INFINITY;
    for Round { wall, cpu, rows, bytes } in from_memory(what, &rows, &directory.path().join("theirs")) {
        assert_eq!(rows, messages, "the host wrote other rows than there are messages");
        let (speed, cpu) = (rows as f64 / wall, cpu / rows as f64 * 1e6);
        println!("{other:>22} {speed:>12.0} {cpu:>20.3} {:>12} {:>12.1}", "", bytes as f64 / 1e6);
        theirs = theirs.min(cpu);
    }
    println!("best of each: {least:.2} CPU-seconds per million, {:.1} times those of {other}", least / theirs);
}

fn to_columns(Setting { broker, .. }: &Setting, what: &str, topic: &str, group: &str, directory: &Path) -> Command {
    let fields = [
        r#"{ from = "timestamp", name = "time", type = "timestamp", unit = "s" }"#,
        r#"{ from = "id", type = "integer" }"#,
        r#"{ from = "latitude", type = "float" }"#,
        r#"{ from = "longitude", type = "float" }"#,
        r#"{ from = "altitude", type = "float" }"#,
        r#"{ from = "visibility", type = "text" }"#,
    ];
    program::flatten(directory, broker, topic, group, &fields, &format!("{what}:out"))
}

fn from_memory(what: &str, files: &Path, into: &Path) -> Vec<Round> {
    let python = xtask::python::interpreter().expect("a Python with pyarrow");
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/pipelines/from_memory.py"));
    command.arg(what).args([files, into]).arg(ROUNDS.to_string());
    let said = xtask::command::output(&mut command).expect("pyarrow writes");
    serde_json::Deserializer::from_slice(&said).into_iter().map(|round| round.expect("a round")).collect()
}

/// Of all files below a folder.
fn bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let size = |path: PathBuf| if path.is_dir() { bytes(&path) } else { path.metadata().expect("a file").len() };
    entries.map(size).sum()
}
