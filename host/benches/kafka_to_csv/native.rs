//! The comparison: a plain native consumer, as a good engineer would write it in an afternoon. One message at a
//! time from librdkafka, serde_json into a typed struct, the csv crate; no sandbox, no rejections, no recovery.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Message};
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
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        // Without this one it would wait a second whenever it is faster than the network.
        .set("fetch.queue.backoff.ms", "1")
        .create()
        .expect("a consumer");
    let (first, end) = consumer.fetch_watermarks(topic, 0, Duration::from_secs(10)).expect("the topic's end");
    consumer.subscribe(&[topic]).expect("a subscription");
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
