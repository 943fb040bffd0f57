//! (c) From a topic of Open Notify messages to CSV.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::topic::{Setting, open_notify};
use crate::{native, process, program};

pub fn run(setting: &Setting) {
    let messages = setting.messages;
    println!("\n(c) From a Kafka topic of {messages} Open Notify messages to CSV");
    let topic = setting.fill("csv", 1, messages, open_notify);
    println!("{:>22} {:>12} {:>20} {:>12} {:>12}", "", "messages/s", "CPU-s per million", "peak MB", "rows");
    let mut figures = Vec::new();
    for round in 0..3 {
        for name in ["host", "native"] {
            let directory = tempfile::tempdir().expect("a directory");
            let group = format!("{topic}-{name}-{round}");
            let command = match name {
                "host" => to_csv(setting, &topic, &group, directory.path()),
                _ => native::command("csv", &setting.broker, &topic, &group, &directory.path().join("csv")),
            };
            let run = process::run(command);
            let rows = rows(&directory.path().join("csv"));
            assert_eq!(rows, messages, "{name} wrote other rows than there are messages");
            let (speed, cpu) = (run.speed(messages), run.cpu_per_million(messages));
            println!("{name:>22} {speed:>12.0} {cpu:>20.3} {:>12.0} {rows:>12}", run.peak as f64 / 1e6);
            figures.push((name, speed, cpu));
        }
    }
    let best = |name: &str, pick: fn(&(&str, f64, f64)) -> f64| {
        figures.iter().filter(|figure| figure.0 == name).map(pick).fold(f64::NAN, f64::min)
    };
    let cpu = best("host", |f| f.2) / best("native", |f| f.2);
    let speed = best("native", |f| 1.0 / f.1) / best("host", |f| 1.0 / f.1);
    println!("best of each: {cpu:.2} of the native program's CPU at {speed:.2} times its speed");
}

fn to_csv(Setting { broker, .. }: &Setting, topic: &str, group: &str, directory: &Path) -> Command {
    let fields = [
        r#"{ from = "timestamp", name = "local_time", type = "timestamp", unit = "s" }"#,
        r#"{ from = "iss_position_longitude", name = "longitude" }"#,
        r#"{ from = "iss_position_latitude", name = "latitude" }"#,
    ];
    program::flatten(directory, broker, topic, group, &fields, "csv:csv")
}

/// Rows without headers in all CSV files of a directory.
fn rows(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).expect("a directory of CSV files");
    let files = files.map(|file| file.expect("a file").path()).filter(|path| path.extension().is_some());
    let count = |path: PathBuf| {
        let mut reader = csv::Reader::from_path(path).expect("a CSV file");
        let mut record = csv::ByteRecord::new();
        let mut rows = 0;
        while reader.read_byte_record(&mut record).expect("a row") {
            rows += 1;
        }
        rows
    };
    files.map(count).sum()
}
