//! What `Log` promises: each check runs for the embedded log and for a real Kafka.

mod checks;
mod embedded;
mod kafka;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use host::log::embedded::Embedded;
use host::log::kafka::Kafka;
use host::log::{Log, Reading, Start};
use host::message::{Batch, Fetch};
use host::source::{Poll, Source};

use super::{PATIENCE, next, position};

/// Makes a module of tests for each implementation, one test a check.
macro_rules! conformance {
    ($($check:ident),* $(,)?) => {
        mod on_embedded {
            $(#[test]
            fn $check() {
                let folder = tempfile::tempdir().unwrap();
                super::checks::$check(&super::open_embedded(folder.path()));
            })*
        }
        mod on_kafka {
            $(#[test]
            fn $check() {
                super::checks::$check(&super::connect());
            })*
        }
    };
}

conformance!(
    creates_topics_once,
    refuses_names_and_missing_topics,
    gives_back_every_byte,
    chooses_javas_partitions,
    groups_keep_their_positions,
    latest_skips_what_was_there,
    drain_ends_where_the_topic_ended,
    keeps_order_of_100_000_messages,
    cuts_batches,
    holds_to_the_messages_of_a_batch,
    reads_outside_of_groups,
    reads_so_many_bytes_at_a_time,
    refuses_a_message_too_large,
    reads_while_another_thread_writes,
    goes_back_in_partitions_while_others_go_on,
);

fn open_embedded(folder: &std::path::Path) -> Embedded {
    Embedded::open(&folder.join("log.sqlite")).unwrap()
}

fn connect() -> Kafka {
    Kafka::connect(&crate::kafka::brokers(), &BTreeMap::new()).unwrap()
}

/// A name that no other test, and no earlier run, uses.
fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{name}-{}-{}-{}", std::process::id(), now.as_nanos(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A new topic.
fn topic(log: &dyn Log, partitions: u32) -> String {
    let topic = unique("conformance");
    assert!(log.create_topic(&topic, partitions).unwrap());
    topic
}

/// Messages with the same key and the values `from..to` as text.
fn numbers(key: Option<&str>, from: usize, to: usize) -> Batch {
    let mut batch = Batch::new();
    for i in from..to {
        batch.push(key.map(str::as_bytes), Some(i.to_string().as_bytes()), i as i64 + 1);
    }
    batch
}

fn write(log: &dyn Log, topic: &str, batch: &Batch) {
    let mut writer = log.writer(topic).unwrap();
    writer.append(batch).unwrap();
    writer.flush().unwrap();
}

/// Reads until `count` messages have come.
fn fetch(source: &mut dyn Source, count: usize) -> Vec<Fetch> {
    let (mut fetches, mut seen) = (Vec::new(), 0);
    while seen < count {
        match next(source) {
            Poll::Messages(fetch) => {
                assert_eq!(fetch.batch.len(), fetch.offsets.len());
                seen += fetch.batch.len();
                fetches.push(fetch);
            }
            other => panic!("{other:?} after {seen} of {count} messages"),
        }
    }
    assert_eq!(seen, count);
    fetches
}

/// The values, as text, in the order in which they came.
fn values(fetches: &[Fetch]) -> Vec<String> {
    let values = fetches.iter().flat_map(|fetch| fetch.batch.values.iter());
    values.map(|value| String::from_utf8(value.unwrap().to_vec()).unwrap()).collect()
}

fn texts(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|i| i.to_string()).collect()
}

fn reader(log: &dyn Log, topic: &str, group: &str) -> Box<dyn Source> {
    log.reader(topic, &Reading::new(group, Start::Earliest)).unwrap()
}
