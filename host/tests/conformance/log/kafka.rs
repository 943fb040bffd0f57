//! What only Kafka does: groups of several readers, transactions, and a broker that is not there.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use host::checkpoint::Position;
use host::log::kafka::Kafka;
use host::log::{Log, LogError, Reading, Start};
use host::source::{Assigned, Poll, Source, SourceError};
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
    assert!(text.ends_with("and the security settings under [client]"), "{text}");
}

#[test]
fn a_bad_setting_is_named_without_its_value() {
    let settings = BTreeMap::from([("security.protocol".to_owned(), "secret".to_owned())]);
    let error = Kafka::connect("127.0.0.1:1", &settings).err().unwrap();
    assert_eq!(
        error.to_string(),
        "kafka://127.0.0.1:1: Kafka setting \"security.protocol\" has a value that librdkafka does not take; \
         correct it under [client]"
    );
}

/// Polls until something is found; never for ever.
fn until<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come in {PATIENCE:?}");
    }
}

fn poll(source: &mut dyn Source) -> Poll {
    source.poll(Duration::from_millis(20)).unwrap()
}

/// What a reader does that goes along with the group and commits nothing.
fn goes_along(source: &mut dyn Source) -> Poll {
    let found = poll(source);
    match &found {
        Poll::Assigned(assigned) => {
            assigned.iter().for_each(|assigned| source.start(assigned.partition, None).unwrap());
        }
        Poll::Revoked(partitions) => source.release(partitions).unwrap(),
        _ => {}
    }
    found
}

fn named(log: &dyn Log, topic: &str, group: &str, member: &str) -> Box<dyn Source> {
    let reading = Reading { member: Some(member.to_owned()), ..Reading::new(group, Start::Earliest) };
    log.reader(topic, &reading).unwrap()
}

#[test]
fn a_revoked_partition_is_still_ours_until_it_is_released() {
    let log = connect();
    let (topic, group) = (topic(&log, 2), unique("g"));
    let mut first = reader(&log, &topic, &group);
    write(&log, &topic, &numbers(Some("21"), 0, 10));
    write(&log, &topic, &numbers(Some("abc"), 0, 10));
    fetch(&mut *first, 20);
    let mut second = reader(&log, &topic, &group);
    let gone = until("a rebalance", || {
        assert!(!matches!(poll(&mut *second), Poll::Assigned(_)));
        match poll(&mut *first) {
            Poll::Revoked(partitions) => Some(partitions),
            _ => None,
        }
    });
    assert_eq!(gone.len(), 1, "one of two goes to the other reader");
    for _ in 0..20 {
        assert!(!matches!(poll(&mut *first), Poll::Messages(_)));
        assert!(!matches!(poll(&mut *second), Poll::Assigned(_)), "it is not released");
    }
    let place = "kafka://somewhere/\u{e9}".to_owned();
    first.commit(gone[0], &Position { next: 7, place: place.clone() }).unwrap();
    first.release(&gone).unwrap();
    let came = until("the partition", || {
        poll(&mut *first);
        match poll(&mut *second) {
            Poll::Assigned(assigned) => Some(assigned),
            _ => None,
        }
    });
    assert_eq!(came, [Assigned { partition: gone[0], position: Some(Position { next: 7, place }) }]);
    for _ in 0..10 {
        assert!(!matches!(poll(&mut *second), Poll::Messages(_)), "it was not started");
    }
    // What a former owner commits does not count.
    first.commit(gone[0], &position(2)).unwrap();
    second.start(gone[0], Some(5)).unwrap();
    let Poll::Messages(fetch) = next(&mut *second) else { panic!("no messages") };
    assert_eq!((fetch.partition, fetch.offsets[0]), (gone[0], 5));
    drop((first, second));
    let mut third = reader(&log, &topic, &group);
    let Poll::Assigned(mut assigned) =
        until("partitions", || Some(poll(&mut *third)).filter(|found| !matches!(found, Poll::Idle)))
    else {
        panic!("something before the partitions")
    };
    assigned.sort_by_key(|assigned| assigned.partition != gone[0]);
    let positions = assigned.into_iter().map(|assigned| assigned.position.map(|position| position.next));
    assert_eq!(positions.collect::<Vec<_>>(), [Some(7), None]);
}

/// Nobody waits for ever, and nothing is left unread: marks of transactions at the end included.
#[test]
fn readers_that_drain_end_together() {
    let log = connect();
    let (topic, group) = (topic(&log, 1), unique("g"));
    write(&log, &topic, &numbers(None, 0, 5));
    let producer = transactions();
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::<(), str>::to(&topic).payload("aborted")).map_err(|(e, _)| e).unwrap();
    producer.flush(PATIENCE).unwrap();
    producer.abort_transaction(PATIENCE).unwrap();
    let mut first = reader(&log, &topic, &group);
    fetch(&mut *first, 5);
    let mut second = reader(&log, &topic, &group);
    first.drain().unwrap();
    second.drain().unwrap();
    let mut next = 0;
    until("the end of the first", || {
        assert!(!matches!(goes_along(&mut *second), Poll::End), "nothing was committed");
        match goes_along(&mut *first) {
            Poll::Messages(fetch) => next = fetch.next,
            Poll::End => return Some(()),
            _ => {}
        }
        None
    });
    assert_eq!(next, 7, "a message that was aborted, and the mark that says so");
    first.commit(0, &position(next)).unwrap();
    until("the end of the second", || matches!(goes_along(&mut *second), Poll::End).then_some(()));
    // With nothing left the partition moves to the other one, which ends as well.
    drop(first);
    until("the end once more", || matches!(goes_along(&mut *second), Poll::End).then_some(()));
}

/// A broker says that a transaction is committed before it shows it: the next stage of a line is not to miss the last.
#[test]
fn a_reader_that_drains_waits_for_what_is_being_committed() {
    let log = connect();
    let (topic, group) = (topic(&log, 1), unique("g"));
    write(&log, &topic, &numbers(None, 0, 5));
    let producer = transactions();
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::<(), str>::to(&topic).payload("5")).map_err(|(e, _)| e).unwrap();
    producer.flush(PATIENCE).unwrap();
    let mut reader = reader(&log, &topic, &group);
    let mut fetches = fetch(&mut *reader, 5);
    reader.drain().unwrap();
    for _ in 0..50 {
        assert!(matches!(poll(&mut *reader), Poll::Idle), "it is not settled");
    }
    producer.commit_transaction(PATIENCE).unwrap();
    until("the end", || match poll(&mut *reader) {
        Poll::Messages(fetch) => {
            fetches.push(fetch);
            None
        }
        found => matches!(found, Poll::End).then_some(()),
    });
    assert_eq!(values(&fetches), texts(0, 6));
}

#[test]
fn a_member_that_comes_back_is_known_and_ends_its_former_self() {
    let log = connect();
    let (topic, group) = (topic(&log, 2), unique("g"));
    let mut first = named(&log, &topic, &group, "one");
    let assigned = |source: &mut dyn Source| match poll(source) {
        Poll::Assigned(assigned) => Some(assigned.iter().map(|assigned| assigned.partition).collect::<Vec<_>>()),
        _ => None,
    };
    assert_eq!(until("both partitions", || assigned(&mut *first)), [0, 1]);
    (0..2).for_each(|partition| first.start(partition, None).unwrap());
    poll(&mut *first);
    let came_back = Instant::now();
    let mut again = named(&log, &topic, &group, "one");
    assert_eq!(until("both partitions again", || assigned(&mut *again)), [0, 1]);
    let took = came_back.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}: less than the session's timeout");
    let error = until_error_of(&mut *first);
    // A broker that was killed can do that to the only one: then it begins anew.
    let SourceError::Log(LogError::Interrupted { error, .. }) = error else { panic!("{error}") };
    assert!(
        error.contains("another host runs as the same member of the group; if the folder beside the log"),
        "{error}"
    );
}

#[test]
fn goes_on_behind_what_retention_deleted_and_counts_it() {
    let log = connect();
    let (topic, group) = (topic(&log, 1), unique("g"));
    write(&log, &topic, &numbers(None, 0, 10));
    let mut first = reader(&log, &topic, &group);
    fetch(&mut *first, 10);
    first.commit(0, &position(3)).unwrap();
    drop(first);
    delete_before(&topic, 6);
    for (start, next) in [(Start::Earliest, 6), (Start::Latest, 10)] {
        let reading = Reading::new(&group, start);
        let mut source = log.reader(&topic, &reading).unwrap();
        source.drain().unwrap();
        let found = super::next(&mut *source);
        assert_eq!(reading.counters.get("offsets out of range"), 1);
        match found {
            Poll::Messages(fetch) => {
                assert_eq!((fetch.offsets[0], next), (6, 6));
                // Nor does it go back to what is not there any more.
                source.start(0, Some(3)).unwrap();
                let Poll::Messages(again) = super::next(&mut *source) else { panic!("it does not go back") };
                assert_eq!(again.offsets[0], 6);
            }
            other => assert!(matches!(other, Poll::End) && next == 10, "{other:?}"),
        }
    }
}

#[test]
fn what_is_deleted_while_it_is_read_interrupts() {
    let log = connect();
    let (topic, group) = (topic(&log, 1), unique("g"));
    // More than is fetched ahead.
    let mut writer = log.writer(&topic).unwrap();
    for _ in 0..5 {
        let mut batch = host::message::Batch::new();
        (0..10).for_each(|_| batch.push(None, Some(&vec![b'x'; 900_000]), 1));
        writer.append(&batch).unwrap();
    }
    writer.flush().unwrap();
    let mut source = reader(&log, &topic, &group);
    fetch(&mut *source, 1);
    delete_before(&topic, 49);
    let error = until_error_of(&mut *source);
    assert!(matches!(error, SourceError::Log(LogError::Interrupted { .. })), "{error:?}");
    assert!(error.to_string().contains(&format!("of {topic}-0 is out of range: it was deleted before it was read")));
}

fn delete_before(topic: &str, offset: i64) {
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset(topic, 0, rdkafka::Offset::Offset(offset)).unwrap();
    let deleted = pollster::block_on(admin().delete_records(&list, &AdminOptions::new())).unwrap();
    deleted.elements()[0].error().unwrap();
}

fn transactions() -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", crate::kafka::brokers())
        .set("transactional.id", unique("tx"))
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

#[test]
fn state_is_not_kept_in_a_topic_that_forgets() {
    let log = connect();
    let name = unique("changelog");
    assert!(log.create_compacted(&name, 2).unwrap());
    assert!(!log.create_compacted(&name, 2).unwrap());
    let error = log.create_compacted(&name, 3).unwrap_err();
    assert!(matches!(error, LogError::Partitions { actual: 2, asked: 3, .. }), "{error}");
    let topic = topic(&log, 2);
    let error = log.create_compacted(&topic, 2).unwrap_err().to_string();
    assert!(
        error.ends_with(&format!(
            "topic {topic:?} is to keep the last value of each key, but its cleanup.policy is \"delete\", which \
             loses some; set it: kafka-configs --alter --entity-type topics --entity-name {topic} --add-config cleanup.policy=compact"
        )),
        "{error}"
    );
}

#[test]
fn aborted_messages_are_not_read_and_marks_do_not_hold_up_the_end() {
    let log = connect();
    let topic = topic(&log, 1);
    let producer = transactions();
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
    until_error_of(source).to_string()
}

fn until_error_of(source: &mut dyn Source) -> SourceError {
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        match source.poll(Duration::from_millis(100)) {
            Err(error) => return error,
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

/// A poison message costs it once for each partition.
#[test]
fn goes_back_sooner_than_a_broker_that_has_nothing_answers_by_default() {
    let log = connect();
    let topic = topic(&log, 1);
    write(&log, &topic, &numbers(None, 0, 100));
    let mut source = reader(&log, &topic, &unique("group"));
    fetch(&mut *source, 100);
    let mut took: Vec<Duration> = (0..15)
        .map(|_| {
            let start = Instant::now();
            source.start(0, Some(50)).unwrap();
            assert_eq!(values(&fetch(&mut *source, 50)), texts(50, 100));
            start.elapsed()
        })
        .collect();
    took.sort();
    assert!(took[took.len() / 2] < Duration::from_millis(80), "{took:?}");
}
