//! Pipeline 1 from end to end: 10,000 polls of a simulated ISS over real HTTP, through a log, into CSV.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{ChildStdout, Stdio};

use host::log::Log;
use host::log::embedded::Embedded;
use host::log::kafka::Kafka;

use crate::program::{Running, csv_rows, host, run_ok, top, wait_for};

const POLLS: i64 = 10_000;

#[test]
fn ten_thousand_polls_through_kafka() {
    let brokers = crate::kafka::brokers();
    let topic = format!("iss-location-{}", std::process::id());
    let log = Kafka::connect(&brokers, &Default::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let via = format!("kafka://{brokers}/{topic}");
    polls_become_rows(&via, directory.path(), || end(&log, &topic), |_| crate::kafka::console_consumer(&topic));
}

#[test]
fn ten_thousand_polls_through_the_embedded_log() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("apogee.db");
    let end = || file.exists().then(|| end(&Embedded::open(&file).ok()?, "iss-location")).flatten();
    polls_become_rows("kafka:///iss-location", directory.path(), end, |count| {
        let limit = count.to_string();
        let read = run_ok(directory.path(), &["topics", "read", "kafka:///iss-location", "--raw", "--limit", &limit]);
        read.lines().map(str::to_owned).collect()
    });
}

/// The topic's next offset, once it exists.
fn end(log: &dyn Log, topic: &str) -> Option<i64> {
    Some(log.topics().ok()?.into_iter().find(|found| found.name == topic)?.partitions[0].1)
}

/// Polls until the topic holds enough, stops in the middle, runs again to the topic's end, and compares what was
/// sent, what the log holds by a reader that is not the pipeline's, and the rows.
fn polls_become_rows(via: &str, directory: &Path, end: impl Fn() -> Option<i64>, read: impl Fn(usize) -> Vec<String>) {
    let mut simulator = simulator(directory);
    let pipeline = top().join("pipelines/iss-csv.toml");
    let pipeline = pipeline.to_str().unwrap();
    let polling = ["run", pipeline, "--from", &simulator.url, "--via", via, "--every", "1ms", "--to", "csv:out"];
    let polling = Running::start(host(directory, &polling));
    wait_for("the polls", || end().filter(|&end| end >= POLLS));
    assert!(polling.stop("TERM").success());
    assert!(simulator.process.is_running());
    // What was polled and not yet written when the signal came is written by the next run.
    run_ok(directory, &["run", pipeline, "--from", via, "--to", "csv:out", "--until", "end"]);

    let count = usize::try_from(end().unwrap()).unwrap();
    let sent = sent(&simulated(directory, count));
    let messages = read(count);
    assert_eq!(messages.len(), count);
    assert!(messages == sent.0, "the log holds other bytes than were served");
    let rows = csv_rows(&directory.join("out"), &["local_time", "longitude", "latitude"]);
    assert_eq!(rows.len(), count);
    assert!(rows == sent.1, "the rows are not those of the messages");
}

/// `host simulate iss`, a second a reply.
struct Simulator {
    process: Running,
    /// Its Open Notify URL.
    url: String,
    /// Kept open, because a program whose reader has gone ends.
    _stdout: Lines<BufReader<ChildStdout>>,
}

fn simulator(directory: &Path) -> Simulator {
    let mut command = host(directory, &["simulate", "iss", "--port", "0", "--step", "1s"]);
    command.stdout(Stdio::piped());
    let mut process = Running::start(command);
    let mut lines = BufReader::new(process.stdout()).lines();
    let url = lines
        .by_ref()
        .map(Result::unwrap)
        .find_map(|line| line.split_whitespace().find(|word| word.ends_with("/iss-now.json")).map(str::to_owned));
    Simulator { process, url: url.expect("the URL of the simulator"), _stdout: lines }
}

/// The first replies of another simulator: each starts at the same second.
fn simulated(directory: &Path, count: usize) -> Vec<String> {
    let simulator = simulator(directory);
    let url = url::Url::parse(&simulator.url).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", url.port().unwrap())).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut reply = || {
        stream.write_all(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", url.path()).as_bytes()).unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        String::from_utf8(body).unwrap()
    };
    (0..count).map(|_| reply()).collect()
}

/// The messages, and the row that each must become, worked out by serde_json.
fn sent(replies: &[String]) -> (Vec<String>, Vec<Vec<String>>) {
    let row = |reply: &String| {
        let reply: serde_json::Value = serde_json::from_str(reply).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let time = jiff::Timestamp::from_second(reply["timestamp"].as_i64().unwrap()).unwrap();
        let position = &reply["iss_position"];
        vec![time.to_string(), text(&position["longitude"]), text(&position["latitude"])]
    };
    (replies.to_vec(), replies.iter().map(row).collect())
}
