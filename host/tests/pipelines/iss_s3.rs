//! Pipeline 5: positions through a topic to Parquet in a bucket, read by pyarrow.

use host::log::Log;
use host::log::kafka::Kafka;
use serde_json::Value;

use crate::program::{Running, host, run, run_ok, wait_for};
use crate::readers::Readers;

const POLLS: i64 = 1_000;

#[test]
fn parquet_in_the_bucket_holds_each_message_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (_, place) = super::place();
    let topic = format!("project_topic-{}", std::process::id());
    let via = format!("kafka://{}/{topic}", crate::kafka::brokers());
    let s3 = super::s3();
    let changes = [
        ("streaming-bucket-1/parquet_files", place.as_str()),
        ("kafka://localhost:9092/project_topic", &via),
        ("endpoint = \"http://localhost:9000\"", &s3),
    ];
    super::write(path, "iss-s3.toml", &changes);
    let polling = ["run", "iss-s3.toml", "--from", "sim:iss?step=1s", "--every", "1ms"];
    let polling = Running::start(host(path, &polling));
    let log = Kafka::connect(&crate::kafka::brokers(), &Default::default()).unwrap();
    let end = || Some(log.topics().ok()?.into_iter().find(|found| found.name == topic)?.partitions[0].1);
    wait_for("the polls", || end().filter(|&end| end >= POLLS));
    assert!(polling.stop("TERM").success());
    run_ok(path, &["run", "iss-s3.toml", "--from", &via, "--until", "end"]);

    let row = |message: &String| {
        let message: Value = serde_json::from_str(message).unwrap();
        let number = |text: &Value| text.as_str().unwrap().parse::<f64>().unwrap();
        let position = &message["iss_position"];
        (message["timestamp"].as_i64().unwrap(), number(&position["longitude"]), number(&position["latitude"]))
    };
    let mut expected: Vec<_> = crate::kafka::console_consumer(&topic).iter().map(row).collect();
    let readers = Readers::s3(&crate::s3::endpoint(), xtask::minio::ACCESS_KEY, xtask::minio::SECRET_KEY);
    let read = |row: &Value| {
        assert_eq!(row["message"], "success");
        let time: jiff::Timestamp = instant(&row["timestamp"]);
        (time.as_second(), row["longitude"].as_f64().unwrap(), row["latitude"].as_f64().unwrap())
    };
    let mut found: Vec<_> = readers.parquet(&format!("s3://{place}")).iter().map(read).collect();
    found.sort_by_key(|one| one.0);
    expected.sort_by_key(|one| one.0);
    assert_eq!(found, expected);
}

/// A time as the reader tells it.
fn instant(value: &Value) -> jiff::Timestamp {
    let text = value.as_str().unwrap();
    text.parse().unwrap_or_else(|_| panic!("{text}"))
}

#[test]
fn keys_are_needed_and_checked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (_, place) = super::place();
    let (access, _) = crate::s3::keys();
    let wrong = path.join("wrong");
    std::fs::write(&wrong, "wrong").unwrap();
    let endpoint = crate::s3::endpoint();
    let s3 = format!("endpoint = {endpoint:?}\naccess_key_file = {access:?}\nsecret_key_file = {wrong:?}");
    let changes = [("streaming-bucket-1/parquet_files", place.as_str()), ("endpoint = \"http://localhost:9000\"", &s3)];
    super::write(path, "iss-s3.toml", &changes);
    let started = [
        "run",
        "iss-s3.toml",
        "--from",
        "sim:iss",
        "--via",
        "kafka:///project_topic",
        "--every",
        "10ms",
        "--for",
        "10s",
    ];
    let output = run(path, &started);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("key"), "{said}");
}
