//! The comparisons: plain native consumers, as a good engineer would write them in an afternoon. One message at a time
//! from librdkafka, serde_json into a typed struct; no sandbox, no rejections, no recovery.

mod csv;
mod windows;

use std::path::Path;
use std::process::Command;

/// Another run of this program, which does `job` on a topic; `into` is a directory or a topic.
pub fn command(job: &str, broker: &str, topic: &str, group: &str, into: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["native", job, broker, topic, group]).arg(into);
    command
}

/// What that run does.
pub fn main(job: String, mut arguments: impl Iterator<Item = String>) {
    let mut argument = |what: &str| arguments.next().unwrap_or_else(|| panic!("{what}"));
    let (broker, topic, group) = (argument("a broker"), argument("a topic"), argument("a group"));
    let into = argument("where to");
    match job.as_str() {
        "csv" => csv::run(&broker, &topic, &group, Path::new(&into)),
        "windows" => windows::run(&broker, &topic, &group, &into),
        other => panic!("no job {other}"),
    }
}

/// A consumer of one partition from its start, and where it ends.
fn consumer(broker: &str, topic: &str, group: &str) -> (rdkafka::consumer::BaseConsumer, i64, i64) {
    use rdkafka::consumer::Consumer;
    let consumer: rdkafka::consumer::BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        // Without this one it would wait a second whenever it is faster than the network.
        .set("fetch.queue.backoff.ms", "1")
        .create()
        .expect("a consumer");
    let (first, end) =
        consumer.fetch_watermarks(topic, 0, std::time::Duration::from_secs(10)).expect("the topic's end");
    consumer.subscribe(&[topic]).expect("a subscription");
    (consumer, first, end)
}
