//! From a Kafka topic of Open Notify messages to CSV: the host as its user runs it, beside a native program that
//! does the same without sandbox or checks. CPU time and peak memory are the operating system's.
//!
//! Run by `cargo xtask bench`. `BENCH_MESSAGES` sets how many (2,000,000).

mod native;
mod process;

use std::path::{Path, PathBuf};
use std::process::Command;

use host::log::Log;
use host::log::kafka::Kafka;
use host::message::Batch;

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("native") {
        let argument = |what| arguments.next().unwrap_or_else(|| panic!("{what}"));
        return native_arguments(argument);
    }
    let messages: u64 = std::env::var("BENCH_MESSAGES").map_or(2_000_000, |n| n.parse().expect("a number"));
    let broker = process::broker();
    let topic = format!("bench-{}", std::process::id());
    println!("(c) From a Kafka topic of {messages} Open Notify messages to CSV");
    fill(&broker, &topic, messages);
    println!("{:>22} {:>12} {:>20} {:>12} {:>12}", "", "messages/s", "CPU-s per million", "peak MB", "rows");
    let mut figures = Vec::new();
    for round in 0..3 {
        for (name, command) in [("host", host_command as Run), ("native", native_command)] {
            let directory = tempfile::tempdir().expect("a directory");
            let run = process::run(command(&broker, &topic, &format!("{name}-{round}"), directory.path()));
            let rows = rows(&directory.path().join("csv"));
            assert_eq!(rows, messages, "{name} wrote other rows than there are messages");
            let speed = messages as f64 / run.wall.as_secs_f64();
            let cpu = run.cpu.as_secs_f64() / messages as f64 * 1e6;
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

type Run = fn(&str, &str, &str, &Path) -> Command;

fn host_command(broker: &str, topic: &str, group: &str, directory: &Path) -> Command {
    let pipeline = directory.join("bench.toml");
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/flatten.wasm");
    let text = format!(
        r#"
[source]
uri = "kafka://{broker}/{topic}"
group = "{group}"
until = "end"

[[plugin]]
file = {plugin:?}
[plugin.settings]
event_time = {{ field = "timestamp", unit = "s" }}
fields = [
    {{ from = "timestamp", name = "local_time", type = "timestamp", unit = "s" }},
    {{ from = "iss_position_longitude", name = "longitude" }},
    {{ from = "iss_position_latitude", name = "latitude" }},
]

[sink]
uri = "csv:csv"
"#
    );
    std::fs::write(&pipeline, text).expect("a pipeline file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_host"));
    command.args(["--quiet", "run"]).arg(pipeline).current_dir(directory);
    command
}

fn native_command(broker: &str, topic: &str, group: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["native", broker, topic, group]).arg(directory.join("csv"));
    command
}

fn native_arguments(mut argument: impl FnMut(&'static str) -> String) {
    let (broker, topic, group) = (argument("a broker"), argument("a topic"), argument("a group"));
    native::run(&broker, &topic, &group, &PathBuf::from(argument("a directory")));
}

/// Fills the topic with positions along a made-up track, one a second.
fn fill(broker: &str, topic: &str, messages: u64) {
    let kafka = Kafka::connect(broker, &Default::default()).expect("a broker");
    kafka.create_topic(topic, 1).expect("a topic");
    let mut writer = kafka.writer(topic).expect("a writer");
    let mut batch = Batch::new();
    for index in 0..messages {
        let time = 1_690_000_000 + index as i64;
        let longitude = (index * 7_919 % 3_600_000) as f64 / 10_000.0 - 180.0;
        let latitude = (index * 104_729 % 1_032_000) as f64 / 10_000.0 - 51.6;
        let value = format!(
            r#"{{"iss_position": {{"longitude": "{longitude:.4}", "latitude": "{latitude:.4}"}}, "timestamp": {time}, "message": "success"}}"#
        );
        batch.push(None, Some(value.as_bytes()), time * 1_000);
        if batch.len() == 10_000 || index + 1 == messages {
            writer.append(&std::mem::take(&mut batch)).expect("an append");
        }
    }
    writer.flush().expect("a flush");
}

/// Rows without headers in all CSV files of a directory.
fn rows(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).expect("a directory of CSV files");
    let count = |path: PathBuf| {
        let mut reader = csv::Reader::from_path(path).expect("a CSV file");
        let mut record = csv::ByteRecord::new();
        let mut rows = 0;
        while reader.read_byte_record(&mut record).expect("a row") {
            rows += 1;
        }
        rows
    };
    files.map(|file| count(file.expect("a file").path())).sum()
}
