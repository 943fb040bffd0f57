//! The checks themselves, against any log.

use std::time::Duration;

use host::log::{Log, LogError, Reading, Start};
use host::message::{Batch, Header};
use host::source::Poll;

use super::{fetch, next, numbers, position, reader, texts, topic, unique, values, write};

pub fn creates_topics_once(log: &dyn Log) {
    let name = unique("created");
    assert!(log.create_topic(&name, 2).unwrap());
    assert!(!log.create_topic(&name, 2).unwrap());
    assert!(!log.create_topic(&name, 1).unwrap());
    let error = log.create_topic(&name, 3).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "topic {name:?} has 2 partition(s) and the pipeline asks for 3; \
             change `partitions` in the pipeline, or the topic"
        )
    );
    let found = log.topics().unwrap().into_iter().find(|topic| topic.name == name).unwrap();
    assert_eq!(found.partitions, [(0, 0), (0, 0)]);
    write(log, &name, &numbers(Some("a"), 0, 3));
    let found = log.topics().unwrap().into_iter().find(|topic| topic.name == name).unwrap();
    assert_eq!(found.partitions.iter().map(|(_, end)| end).sum::<i64>(), 3);
}

pub fn refuses_names_and_missing_topics(log: &dyn Log) {
    for name in ["", ".", "..", "a b", "a/b", "ä", &"x".repeat(250)] {
        assert!(matches!(log.create_topic(name, 1), Err(LogError::Name(_))), "{name}");
        assert!(matches!(log.reader(name, &Reading::new("g", Start::Earliest)), Err(LogError::Name(_))), "{name}");
    }
    let name = unique("missing");
    let errors = [
        log.writer(&name).err().unwrap(),
        log.reader(&name, &Reading::new("g", Start::Earliest)).err().unwrap(),
        log.read(&name, 0, 0, 1).unwrap_err(),
        log.describe(&name).unwrap_err(),
    ];
    for error in errors {
        let LogError::NoTopic { log: at, .. } = &error else { panic!("{error}") };
        assert!(at.starts_with("kafka://"));
        assert_eq!(
            error.to_string(),
            format!("topic {name:?} does not exist in {at}; create it with: host topics create {at}/{name}")
        );
    }
    // Asking for it has not created it.
    assert!(log.topics().unwrap().iter().all(|topic| topic.name != name));
}

pub fn gives_back_every_byte(log: &dyn Log) {
    let topic = topic(log, 1);
    let all: Vec<u8> = (0..=255).collect();
    type Message<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, i64);
    let messages: [Message<'_>; 6] = [
        (None, Some(&all), 1_700_000_000_000),
        (Some(b"key"), None, 1),
        (Some(b""), Some(b""), 1_700_000_000_001),
        (Some(&all), Some(b"\0"), 1_600_000_000_000),
        (None, None, 5),
        (Some(b"\0"), Some("{\"a\": \"\u{fffd}\"}".as_bytes()), 1_700_000_000_002),
    ];
    let mut batch = Batch::new();
    for (key, value, timestamp) in messages {
        batch.push(key, value, timestamp);
    }
    // Not in the messages' order, one name twice, an empty value, a message in between without any.
    let headers = [
        (3, "b", "2"),
        (0, "a", "1"),
        (0, "a", ""),
        (2, "empty", "3"),
        (1, "no value", "4"),
        (4, "nothing", "5"),
        (5, "ü", "\0"),
    ];
    for (message, name, value) in headers {
        batch.headers.push(Header { message, name: name.to_owned(), value: value.as_bytes().to_vec() });
    }
    write(log, &topic, &batch);
    let read = log.read(&topic, 0, 0, 100).unwrap();
    assert_eq!(read.offsets, [0, 1, 2, 3, 4, 5]);
    assert_eq!(read.next, 6);
    let mut through_group = fetch(&mut *reader(log, &topic, &unique("g")), 6);
    assert_eq!(through_group.len(), 1, "one flush is one batch");
    for fetch in [read, through_group.remove(0)] {
        let keys: Vec<_> = fetch.batch.keys.iter().collect();
        assert_eq!(keys, messages.map(|(key, ..)| key));
        let values: Vec<_> = fetch.batch.values.iter().collect();
        assert_eq!(values, messages.map(|(_, value, _)| value));
        assert_eq!(fetch.batch.timestamps, messages.map(|(.., timestamp)| timestamp));
        let headers = fetch.batch.headers.iter().map(|h| (h.message, &*h.name, &*h.value));
        let expected: [(u32, &str, &[u8]); 7] = [
            (0, "a", b"1"),
            (0, "a", b""),
            (1, "no value", b"4"),
            (2, "empty", b"3"),
            (3, "b", b"2"),
            (4, "nothing", b"5"),
            (5, "ü", b"\0"),
        ];
        assert_eq!(headers.collect::<Vec<_>>(), expected);
    }
}

/// By hashes that Kafka's `UtilsTest` expects of murmur2.
pub fn chooses_javas_partitions(log: &dyn Log) {
    let topic = topic(log, 7);
    let hashes: [(&str, i32); 4] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("abc", 479_470_107),
    ];
    for (key, hash) in hashes {
        write(log, &topic, &numbers(Some(key), 0, 1));
        let partition = (hash & 0x7fff_ffff) % 7;
        let found = log.read(&topic, partition, 0, 100).unwrap();
        assert!(found.batch.keys.iter().any(|k| k == Some(key.as_bytes())), "{key} is not in {partition}");
    }
}

pub fn groups_keep_their_positions(log: &dyn Log) {
    let (topic, group) = (topic(log, 1), unique("g"));
    write(log, &topic, &numbers(None, 0, 10));
    {
        let mut first = reader(log, &topic, &group);
        let fetches = fetch(&mut *first, 10);
        assert_eq!(values(&fetches), texts(0, 10));
        first.commit(0, &position(4)).unwrap();
    }
    // What was handed out and not committed comes again.
    let mut second = reader(log, &topic, &group);
    let fetches = fetch(&mut *second, 6);
    assert_eq!(values(&fetches), texts(4, 10));
    assert_eq!(fetches[0].offsets[0], 4);
    second.commit(0, &position(10)).unwrap();
    drop(second);
    let mut third = reader(log, &topic, &group);
    third.drain().unwrap();
    assert!(matches!(next(&mut *third), Poll::End));
    // Another group has a position of its own.
    assert_eq!(values(&fetch(&mut *reader(log, &topic, &unique("other")), 10)), texts(0, 10));
}

pub fn latest_skips_what_was_there(log: &dyn Log) {
    let (topic, group) = (topic(log, 1), unique("g"));
    write(log, &topic, &numbers(None, 0, 10));
    let mut source = log.reader(&topic, &Reading::new(&group, Start::Latest)).unwrap();
    // Having reached the end, it has a position.
    source.drain().unwrap();
    assert!(matches!(next(&mut *source), Poll::End));
    drop(source);
    write(log, &topic, &numbers(None, 10, 12));
    let mut source = log.reader(&topic, &Reading::new(&group, Start::Latest)).unwrap();
    assert_eq!(values(&fetch(&mut *source, 2)), texts(10, 12), "written after the group began");
}

pub fn drain_ends_where_the_topic_ended(log: &dyn Log) {
    let topic = topic(log, 3);
    for key in ["21", "foobar", "abc"] {
        write(log, &topic, &numbers(Some(key), 0, 5));
    }
    let mut source = reader(log, &topic, &unique("g"));
    source.drain().unwrap();
    write(log, &topic, &numbers(Some("21"), 5, 8));
    let mut seen = 0;
    loop {
        match next(&mut *source) {
            Poll::Messages(fetch) => seen += fetch.batch.len(),
            Poll::End => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, 15);
    assert!(matches!(source.poll(Duration::ZERO).unwrap(), Poll::End), "it stays at its end");
}

pub fn keeps_order_of_100_000_messages(log: &dyn Log) {
    let topic = topic(log, 2);
    let mut writer = log.writer(&topic).unwrap();
    for from in (0..50_000).step_by(5_000) {
        // "21" and "abc" belong to different partitions of two.
        writer.append(&numbers(Some("21"), from, from + 5_000)).unwrap();
        writer.append(&numbers(Some("abc"), from, from + 5_000)).unwrap();
    }
    writer.flush().unwrap();
    let mut source = reader(log, &topic, &unique("g"));
    let fetches = fetch(&mut *source, 100_000);
    for partition in 0..2 {
        let own: Vec<_> = fetches.iter().filter(|fetch| fetch.partition == partition).cloned().collect();
        let offsets: Vec<i64> = own.iter().flat_map(|fetch| fetch.offsets.iter().copied()).collect();
        assert_eq!(offsets, (0..50_000).collect::<Vec<_>>(), "partition {partition}");
        assert!(values(&own) == texts(0, 50_000), "partition {partition} is out of order");
    }
    assert!(fetches.iter().all(|fetch| fetch.batch.len() <= 4096));
}

pub fn cuts_batches(log: &dyn Log) {
    let topic = topic(log, 1);
    let mut writer = log.writer(&topic).unwrap();
    let value = vec![b'x'; 300_000];
    for _ in 0..10 {
        let mut batch = Batch::new();
        batch.push(None, Some(&value), 1);
        writer.append(&batch).unwrap();
    }
    writer.flush().unwrap();
    let fetches = fetch(&mut *reader(log, &topic, &unique("g")), 10);
    assert!(fetches.iter().all(|fetch| fetch.batch.bytes() <= 1 << 20));
}

pub fn holds_to_the_messages_of_a_batch(log: &dyn Log) {
    let topic = topic(log, 1);
    write(log, &topic, &numbers(None, 0, 100));
    let reading = Reading { batch: 7, ..Reading::new(&unique("g"), Start::Earliest) };
    let fetches = fetch(&mut *log.reader(&topic, &reading).unwrap(), 100);
    assert!(fetches.iter().all(|fetch| fetch.batch.len() <= 7));
    assert_eq!(values(&fetches), texts(0, 100));
}

pub fn reads_outside_of_groups(log: &dyn Log) {
    let topic = topic(log, 1);
    let empty = log.read(&topic, 0, 0, 10).unwrap();
    assert_eq!((empty.batch.len(), empty.next), (0, 0));
    write(log, &topic, &numbers(None, 0, 10));
    let middle = log.read(&topic, 0, 3, 4).unwrap();
    assert_eq!((values(std::slice::from_ref(&middle)), middle.next), (texts(3, 7), 7));
    let rest = log.read(&topic, 0, 7, usize::MAX).unwrap();
    assert_eq!((values(std::slice::from_ref(&rest)), rest.next), (texts(7, 10), 10));
    assert_eq!(log.read(&topic, 0, 10, 5).unwrap().batch.len(), 0);
    let error = log.read(&topic, 1, 0, 5).unwrap_err().to_string();
    assert!(error.ends_with(&format!("topic {topic:?} has no partition 1; it has 1")), "{error}");
}

pub fn reads_so_many_bytes_at_a_time(log: &dyn Log) {
    let topic = topic(log, 1);
    let mut batch = Batch::new();
    for _ in 0..20 {
        batch.push(None, Some(&vec![b'x'; 900_000]), 1);
    }
    write(log, &topic, &batch);
    assert_eq!(log.describe(&topic).unwrap().partitions, [(0, 20)]);
    let (mut from, mut reads) = (0, Vec::new());
    while from < 20 {
        let read = log.read(&topic, 0, from, usize::MAX).unwrap();
        reads.push(read.batch.len());
        from = read.next;
    }
    assert_eq!(reads, [9, 9, 2], "8 MiB hold 9 messages");
}

pub fn refuses_a_message_too_large(log: &dyn Log) {
    let topic = topic(log, 1);
    let mut writer = log.writer(&topic).unwrap();
    let mut batch = Batch::new();
    batch.push(Some(b"key"), Some(&vec![b'x'; 17 << 20]), 1);
    let outcome = writer.append(&batch).and_then(|()| writer.flush());
    let Err(LogError::TooLarge { bytes, limit, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(bytes, (17 << 20) + 3);
    assert!(limit < bytes);
    // The writer goes on.
    writer.append(&numbers(None, 0, 1)).unwrap();
    writer.flush().unwrap();
    assert_eq!(values(&[log.read(&topic, 0, 0, 5).unwrap()]), texts(0, 1));
}

pub fn reads_while_another_thread_writes(log: &dyn Log) {
    let topic = topic(log, 1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = log.writer(&topic).unwrap();
            for from in (0..5_000).step_by(100) {
                writer.append(&numbers(None, from, from + 100)).unwrap();
                writer.flush().unwrap();
            }
        });
        let mut source = reader(log, &topic, &unique("g"));
        assert_eq!(values(&fetch(&mut *source, 5_000)), texts(0, 5_000));
    });
}

pub fn goes_back_in_partitions_while_others_go_on(log: &dyn Log) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let topic = topic(log, 3);
    write(log, &topic, &keyed(30_000));
    let ends: Vec<i64> = log.describe(&topic).unwrap().partitions.iter().map(|&(_, end)| end).collect();
    assert!(ends.iter().all(|&end| end > 5_000), "{ends:?}");
    let mut source = reader(log, &topic, &unique("group"));
    let mut expected = vec![0; 3];
    for round in 0..200 {
        if round == 100 {
            source.drain().unwrap();
        }
        match next(&mut *source) {
            Poll::Messages(fetch) => {
                let (at, count) = (fetch.partition as usize, fetch.offsets.len() as i64);
                let offsets: Vec<i64> = (expected[at]..expected[at] + count).collect();
                assert_eq!(fetch.offsets, offsets, "partition {at} in round {round}");
                expected[at] += count;
            }
            Poll::End => assert_eq!(expected, ends),
            other => panic!("{other:?}"),
        }
        for (at, expected) in expected.iter_mut().enumerate() {
            if random.u8(..3) == 0 || *expected == ends[at] {
                *expected = random.i64(0..=*expected);
                source.start(at as i32, Some(*expected)).unwrap();
            }
        }
    }
}

/// Messages with a key each, so that they are in all partitions.
fn keyed(count: usize) -> Batch {
    let mut batch = Batch::new();
    for number in 0..count {
        batch.push(Some(number.to_string().as_bytes()), Some(b"value"), 1);
    }
    batch
}
