//! Window counts of wheretheiss.at replies into a topic: 30 s, by `visibility`, count and highest altitude. State is a
//! map in memory that nobody keeps.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message};
use serde::Deserialize;

const WINDOW: i64 = 30_000;

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    visibility: &'a str,
    altitude: f64,
}

pub fn run(broker: &str, topic: &str, group: &str, into: &str) {
    let (consumer, first, end) = super::consumer(broker, topic, group);
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", broker).set("linger.ms", "5").create().expect("a producer");
    let mut windows: BTreeMap<i64, BTreeMap<String, (u64, f64)>> = BTreeMap::new();
    let (mut next, mut time) = (first, i64::MIN);
    while next < end {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.expect("a message");
        let reply: Reply<'_> = serde_json::from_slice(message.payload().unwrap_or_default()).expect("a reply");
        let timestamp = message.timestamp().to_millis().expect("a timestamp");
        if timestamp > time {
            time = timestamp;
            while windows.first_key_value().is_some_and(|(start, _)| start + WINDOW <= time) {
                let (start, groups) = windows.pop_first().expect("a window");
                send(&producer, into, start, groups);
            }
        }
        let groups = windows.entry(timestamp - timestamp.rem_euclid(WINDOW)).or_default();
        let (count, highest) = match groups.get_mut(reply.visibility) {
            Some(group) => group,
            None => groups.entry(reply.visibility.to_owned()).or_insert((0, f64::NEG_INFINITY)),
        };
        *count += 1;
        *highest = highest.max(reply.altitude);
        next = message.offset() + 1;
    }
    producer.flush(Duration::from_secs(60)).expect("a flush");
    consumer.commit_consumer_state(CommitMode::Sync).expect("a commit");
}

fn send(producer: &BaseProducer, into: &str, start: i64, groups: BTreeMap<String, (u64, f64)>) {
    for (visibility, (count, highest)) in groups {
        let value = serde_json::json!({
            "visibility": visibility, "count": count, "max_altitude": highest, "start": start, "end": start + WINDOW,
        })
        .to_string();
        let record = BaseRecord::to(into).key(&visibility).payload(&value).timestamp(start + WINDOW);
        producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
    }
    producer.poll(Duration::ZERO);
}
