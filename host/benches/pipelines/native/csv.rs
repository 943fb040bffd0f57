//! Open Notify replies to one CSV file.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rdkafka::Message;
use rdkafka::consumer::{CommitMode, Consumer};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    iss_position: Position<'a>,
    timestamp: i64,
    #[expect(dead_code, reason = "part of the reply, not of the row")]
    message: &'a str,
}

#[derive(Deserialize)]
struct Position<'a> {
    longitude: &'a str,
    latitude: &'a str,
}

pub fn run(broker: &str, topic: &str, group: &str, directory: &Path) {
    let (consumer, first, end) = super::consumer(broker, topic, group);
    std::fs::create_dir_all(directory).expect("a directory");
    let mut rows = csv::Writer::from_path(directory.join("native.csv")).expect("a file");
    rows.write_record(["local_time", "longitude", "latitude"]).expect("a header");
    let mut next = first;
    while next < end {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.expect("a message");
        let reply: Reply<'_> = serde_json::from_slice(message.payload().unwrap_or_default()).expect("a reply");
        let local_time = Timestamp::from_second(reply.timestamp).expect("a time").to_string();
        rows.write_record([&local_time, reply.iss_position.longitude, reply.iss_position.latitude]).expect("a row");
        next = message.offset() + 1;
    }
    rows.into_inner().expect("the rows").sync_all().expect("a durable file");
    consumer.commit_consumer_state(CommitMode::Sync).expect("a commit");
}
