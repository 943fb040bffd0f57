//! Pipeline 5: positions through a topic to Parquet in a bucket, read by pyarrow.

use host::log::Log;
use host::log::kafka::Kafka;
use host::uri::Location;
use serde_json::Value;
use tempfile::TempDir;
use xtask::minio::{ACCESS_KEY, BUCKET, SECRET_KEY};

use crate::program::{Running, host, run, run_ok, wait_for};
use crate::readers::Readers;

const POLLS: i64 = 1_000;

/// The pipeline with a station that flies faster than ours, in a topic and a folder of its own.
pub struct Polled {
    directory: TempDir,
    topic: String,
    via: String,
    endpoint: String,
    /// `BUCKET/FOLDER`.
    place: String,
    log: Kafka,
}

impl Polled {
    /// Into a bucket of the service at `endpoint`, which has the keys of all of ours. `sink` are further lines of `[sink]`.
    pub fn into(endpoint: String, sink: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let Location::Bucket { prefix, .. } = crate::s3::location() else { panic!("a bucket") };
        let place = format!("{BUCKET}/{prefix}");
        let topic = format!("project_topic-{prefix}");
        let via = format!("kafka://{}/{topic}", crate::kafka::brokers());
        let s3 = super::s3(&endpoint);
        let bucket = format!("{place}\"\n{sink}");
        let changes = [
            ("streaming-bucket-1/parquet_files\"", bucket.as_str()),
            ("kafka://localhost:9092/project_topic", &via),
            ("endpoint = \"http://localhost:9000\"", &s3),
        ];
        super::write(directory.path(), "iss-s3.toml", &changes);
        let log = Kafka::connect(&crate::kafka::brokers(), &Default::default()).unwrap();
        Self { directory, topic, via, endpoint, place, log }
    }

    /// Polls a thousand times a second until it is stopped.
    pub fn start(&self) -> Running {
        let polling = ["run", "iss-s3.toml", "--from", "sim:iss?step=1s", "--every", "1ms"];
        Running::start(host(self.directory.path(), &polling))
    }

    /// Waits until that many have been polled.
    pub fn polled(&self, messages: i64) -> i64 {
        let found = |found: &host::log::Topic| found.name == self.topic;
        let end = || Some(self.log.topics().ok()?.into_iter().find(found)?.partitions[0].1);
        wait_for("the polls", || end().filter(|&end| end >= messages))
    }

    /// Reads what is in the topic to its end, and finds each message once in the bucket. Says how many there were.
    pub fn conclude(&self) -> usize {
        run_ok(self.directory.path(), &["run", "iss-s3.toml", "--from", &self.via, "--until", "end"]);
        let row = |message: &String| {
            let message: Value = serde_json::from_str(message).unwrap();
            let number = |text: &Value| text.as_str().unwrap().parse::<f64>().unwrap();
            let position = &message["iss_position"];
            (message["timestamp"].as_i64().unwrap(), number(&position["longitude"]), number(&position["latitude"]))
        };
        let mut expected: Vec<_> = crate::kafka::console_consumer(&self.topic).iter().map(row).collect();
        let readers = Readers::s3(&self.endpoint, ACCESS_KEY, SECRET_KEY);
        let read = |row: &Value| {
            assert_eq!(row["message"], "success");
            let time: jiff::Timestamp = instant(&row["timestamp"]);
            (time.as_second(), row["longitude"].as_f64().unwrap(), row["latitude"].as_f64().unwrap())
        };
        let mut found: Vec<_> = readers.parquet(&format!("s3://{}", self.place)).iter().map(read).collect();
        found.sort_by(|one, other| one.partial_cmp(other).unwrap());
        expected.sort_by(|one, other| one.partial_cmp(other).unwrap());
        assert!(found == expected, "{} rows of {} messages", found.len(), expected.len());
        found.len()
    }
}

/// A time as the reader tells it.
fn instant(value: &Value) -> jiff::Timestamp {
    let text = value.as_str().unwrap();
    text.parse().unwrap_or_else(|_| panic!("{text}"))
}

#[test]
fn parquet_in_the_bucket_holds_each_message_once() {
    let pipeline = Polled::into(crate::s3::endpoint(), "");
    let polling = pipeline.start();
    pipeline.polled(POLLS);
    assert!(polling.stop("TERM").success());
    assert!(pipeline.conclude() as i64 >= POLLS);
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
