//! What only Kafka does: groups of several readers, transactions, and a broker that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use host::log::kafka::Kafka;
use host::log::{Log, LogError};
use host::source::{Poll, Source};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::{PATIENCE, connect, fetch, next, numbers, position, reader, texts, topic, unique, values, write};

fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", crate::kafka::brokers()).create().unwrap()
}

#[test]
fn a_wrong_address_is_found_out() {
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let began = Instant::now();
    let error = Kafka::connect(&format!("127.0.0.1:{port}"), &BTreeMap::new()).err().unwrap();
    assert!(began.elapsed() < Duration::from_secs(8));
    let LogError::Unreachable(text) = error else { panic!("{error}") };
    assert!(text.starts_with(&format!("kafka://127.0.0.1:{port} does not answer within 5 s: ")), "{text}");
    assert!(text.contains("Connection refused"), "{text}");
    assert!(text.ends_with("and the security settings under [kafka]"), "{text}");
}

#[test]
fn a_bad_setting_is_named_without_its_value() {
    let settings = BTreeMap::from([("security.protocol".to_owned(), "secret".to_owned())]);
    let error = Kafka::connect("127.0.0.1:1", &settings).err().unwrap();
    assert_eq!(
        error.to_string(),
        "kafka://127.0.0.1:1: Kafka setting \"security.protocol\" has a value that librdkafka does not take; \
         correct it under [kafka]"
    );
}

#[test]
fn a_group_spreads_over_readers() {
    let log = connect();
    let (topic, group) = (topic(&log, 2), unique("g"));
    let mut first = reader(&log, &topic, &group);
    write(&log, &topic, &numbers(Some("21"), 0, 10));
    write(&log, &topic, &numbers(Some("abc"), 0, 10));
    fetch(&mut *first, 20);
    let mut second = reader(&log, &topic, &group);
    let (mut gone, mut came) = (Vec::new(), BTreeSet::new());
    let deadline = Instant::now() + PATIENCE;
    while gone.is_empty() || came.is_empty() {
        assert!(Instant::now() < deadline, "no rebalance: gone {gone:?}, came {came:?}");
        if let Poll::Revoked(partitions) = first.poll(Duration::from_millis(20)).unwrap() {
            gone.extend(partitions);
        }
        if let Poll::Messages(fetch) = second.poll(Duration::from_millis(20)).unwrap() {
            assert_eq!(fetch.offsets[0], 0, "nothing was committed, so all comes again");
            came.insert(fetch.partition);
        }
    }
    assert_eq!(gone, came.into_iter().collect::<Vec<_>>(), "one of two went to the other reader");
    first.commit(gone[0], &position(10)).unwrap();
    let kept = 1 - gone[0];
    first.commit(kept, &position(10)).unwrap();
    drop((first, second));
    let mut third = reader(&log, &topic, &group);
    let again = fetch(&mut *third, 10);
    assert_eq!(again[0].partition, gone[0], "the former owner's commit did not count");
}

#[test]
fn a_reader_without_partitions_drains() {
    let log = connect();
    let (topic, group) = (topic(&log, 1), unique("g"));
    write(&log, &topic, &numbers(None, 0, 1));
    let mut first = reader(&log, &topic, &group);
    fetch(&mut *first, 1);
    let mut second = reader(&log, &topic, &group);
    second.drain().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut ended = false;
    while !ended {
        assert!(Instant::now() < deadline, "no end");
        first.poll(Duration::from_millis(20)).unwrap();
        ended = matches!(second.poll(Duration::from_millis(20)).unwrap(), Poll::End | Poll::Messages(_));
    }
}

#[test]
fn aborted_messages_are_not_read_and_marks_do_not_hold_up_the_end() {
    let log = connect();
    let topic = topic(&log, 1);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", crate::kafka::brokers())
        .set("transactional.id", unique("tx"))
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    for (value, commit) in [("0", true), ("aborted", false), ("1", true), ("aborted too", false)] {
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::<(), str>::to(&topic).payload(value)).map_err(|(e, _)| e).unwrap();
        producer.flush(PATIENCE).unwrap();
        if commit { producer.commit_transaction(PATIENCE) } else { producer.abort_transaction(PATIENCE) }.unwrap();
    }
    let mut source = reader(&log, &topic, &unique("g"));
    source.drain().unwrap();
    let mut fetches = Vec::new();
    while let Poll::Messages(fetch) = next(&mut *source) {
        fetches.push(fetch);
    }
    assert_eq!(values(&fetches), texts(0, 2));
    let read = log.read(&topic, 0, 0, 100).unwrap();
    assert_eq!((read.offsets, read.next), (vec![0, 4], 8));
}

#[test]
fn a_message_just_over_the_topics_limit_is_refused_with_both_sizes() {
    let log = connect();
    let name = unique("small");
    let new = NewTopic::new(&name, 1, TopicReplication::Fixed(1)).set("max.message.bytes", "2000");
    pollster::block_on(admin().create_topics([&new], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut writer = loop {
        match log.writer(&name) {
            Ok(writer) => break writer,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    // The first is refused by librdkafka, the second, whose frame is what is too much, by the broker.
    for bytes in [2_001, 1_999] {
        let mut batch = host::message::Batch::new();
        batch.push(None, Some(&vec![b'x'; bytes]), 1);
        let error = writer.append(&batch).and_then(|()| writer.flush()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "a message of {bytes} bytes is larger than topic {name:?} in kafka://{} takes (2000 bytes); \
                 make it smaller, or raise max.message.bytes of a Kafka topic",
                crate::kafka::brokers()
            )
        );
    }
    // Many small ones go in batches that the topic takes.
    writer.append(&numbers(None, 0, 5_000)).unwrap();
    writer.flush().unwrap();
    assert_eq!(log.read(&name, 0, 0, usize::MAX).unwrap().batch.len(), 5_000);
}

#[test]
fn a_topic_deleted_while_read_is_an_error_and_is_not_created_again() {
    let log = connect();
    let topic = topic(&log, 1);
    write(&log, &topic, &numbers(None, 0, 1));
    let mut source = reader(&log, &topic, &unique("g"));
    fetch(&mut *source, 1);
    pollster::block_on(admin().delete_topics(&[&topic], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
    let error = until_error(&mut *source);
    assert!(error.contains(&format!("topic {topic:?} was deleted while it was read")), "{error}");
    assert!(log.topics().unwrap().iter().all(|found| found.name != topic));
}

fn until_error(source: &mut dyn Source) -> String {
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        match source.poll(Duration::from_millis(100)) {
            Err(error) => return error.to_string(),
            Ok(found) => assert!(Instant::now() < deadline, "no error, but {found:?}"),
        }
    }
}

/// A slow trickle must come through at once, neither held for a batch nor found by slow polling.
#[test]
fn a_trickle_comes_at_once() {
    let log = connect();
    let topic = topic(&log, 4);
    let mut source = reader(&log, &topic, &unique("g"));
    let mut writer = log.writer(&topic).unwrap();
    let mut waits = Vec::new();
    for i in 0..100 {
        writer.append(&numbers(Some(&i.to_string()), i, i + 1)).unwrap();
        writer.flush().unwrap();
        let written = Instant::now();
        fetch(&mut *source, 1);
        // The first one waits for the group to form.
        if i > 0 {
            waits.push(written.elapsed());
        }
    }
    waits.sort();
    let (p50, p99) = (waits[49], waits[97]);
    println!("from flush to poll: p50 {p50:?}, p99 {p99:?}");
    // The median, because other tests run beside this one.
    assert!(p50 < Duration::from_millis(50), "p50 {p50:?}");
}

/// A time before 1970 is kept; 0, which librdkafka takes for "now", becomes a fixed 1, so that the same
/// input gives the same output.
#[test]
fn odd_timestamps_are_the_same_each_time() {
    let log = connect();
    let topic = topic(&log, 1);
    let mut batch = numbers(None, 0, 3);
    batch.timestamps = vec![-86_400_000, 0, 1_700_000_000_000];
    write(&log, &topic, &batch);
    let read = log.read(&topic, 0, 0, 9).unwrap();
    assert_eq!(read.batch.timestamps, [-86_400_000, 1, 1_700_000_000_000]);
}
