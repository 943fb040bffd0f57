//! What only Kafka does for a sink: transactions, and positions in them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use host::checkpoint::{Checkpoint, Identity, Part, Position, Tally, push};
use host::log::kafka::Kafka;
use host::log::{Log, LogError, Reading, Start};
use host::message::Batch;
use host::plugin::Entries;
use host::sink::kafka::{KafkaSink, Options};
use host::sink::{Positions, Sink, SinkError, Step};
use host::source::{Assigned, Poll, Source};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::conformance::{PATIENCE, assigned, started};

/// A group that reads `in` and writes `out`, both of two partitions.
struct Pipeline {
    kafka: Arc<Kafka>,
    group: String,
    input: String,
    output: String,
}

impl Pipeline {
    fn new() -> Self {
        let kafka = Arc::new(Kafka::connect(&crate::kafka::brokers(), &BTreeMap::new()).unwrap());
        let group = format!("transactions-{:016x}", fastrand::u64(..));
        let [input, output] = ["in", "out"].map(|name| format!("{group}.{name}"));
        for topic in [&input, &output] {
            assert!(kafka.create_topic(topic, 2).unwrap());
        }
        Self { kafka, group, input, output }
    }

    fn sink(&self, member: Option<&str>) -> KafkaSink {
        let options = Options {
            group: self.group.clone(),
            topic: Some(self.output.clone()),
            letters: None,
            inputs: 2,
            member: member.map(|member| format!("{}-{member}", self.group)),
            interval: Duration::from_secs(3600),
        };
        KafkaSink::new(self.kafka.clone(), options).unwrap()
    }

    fn source(&self, member: &str) -> Box<dyn Source> {
        let reading = Reading { member: Some(member.to_owned()), ..Reading::new(&self.group, Start::Earliest) };
        self.kafka.reader(&self.input, &reading).unwrap()
    }

    /// A checkpoint with these changes, after which the state is `state`.
    fn part(&self, next: i64, changes: &[(&str, Option<&str>)], state: &[(&str, &str)]) -> Part {
        let (mut entries, mut tally) = (Entries::default(), Tally::default());
        changes.iter().for_each(|(key, value)| push(&mut entries, 0, key.as_bytes(), value.map(str::as_bytes)));
        for (key, value) in state {
            tally.apply(&[&[0], key.as_bytes()].concat(), Some(value.as_bytes()));
        }
        let place = format!("kafka://{}/{}.changelog", crate::kafka::brokers(), self.group);
        let identity =
            Identity { pipeline: "p".into(), source: "s".into(), place, plugins: Vec::new(), exactly_once: true };
        Part { checkpoint: identity.checkpoint(0, next, None, tally.sum()), changes: entries }
    }

    /// The committed values of the output, once there are so many.
    fn visible(&self, count: usize) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut values = Vec::new();
            for partition in 0..2 {
                let read = self.kafka.read(&self.output, partition, 0, usize::MAX).unwrap();
                values
                    .extend(read.batch.values.iter().map(|value| String::from_utf8_lossy(value.unwrap()).into_owned()));
            }
            // A commit is answered a moment before readers see it.
            if values.len() >= count {
                return values;
            }
            assert!(Instant::now() < deadline, "{values:?}");
        }
    }
}

/// Another program's transactions.
fn transactions(name: &str) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", crate::kafka::brokers())
        .set("transactional.id", name)
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

fn messages(values: &[&str]) -> Batch {
    let mut batch = Batch::new();
    values.iter().for_each(|value| batch.push(Some(b"key"), Some(value.as_bytes()), 1));
    batch
}

fn commit(sink: &mut KafkaSink, parts: &[Part], source: &dyn Source) -> Result<Positions, SinkError> {
    sink.commit(Step { parts, letters: &Batch::new(), source })
}

/// The last checkpoint, and the state that goes with it, whose sum is right.
fn restored(sink: &mut KafkaSink) -> (Checkpoint, BTreeMap<String, String>) {
    let last = sink.open(0).unwrap().unwrap();
    let (mut state, mut tally) = (BTreeMap::new(), Tally::default());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    sink.state(&last, &mut |entries| {
        tally.apply_all(entries);
        for (key, value) in entries.iter() {
            match value {
                Some(value) => state.insert(text(&key[1..]), text(value)),
                None => state.remove(&text(&key[1..])),
            };
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(tally.sum(), last.state);
    (last, state)
}

fn interrupted(result: Result<Positions, SinkError>) -> String {
    match result {
        Err(SinkError::Log(LogError::Interrupted { error, .. })) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_zombie_is_fenced_by_its_new_self() {
    let pipeline = Pipeline::new();
    let source = started(pipeline.source("one"));
    let mut zombie = pipeline.sink(Some("one"));
    zombie.write(0, &messages(&["zombie"]), 0).unwrap();
    let mut new = pipeline.sink(Some("one"));
    let error = interrupted(commit(&mut zombie, &[pipeline.part(1, &[], &[])], &*source));
    assert!(error.contains("another worker has taken over"), "{error}");
    new.write(0, &messages(&["new"]), 0).unwrap();
    commit(&mut new, &[pipeline.part(1, &[], &[])], &*source).unwrap();
    assert_eq!(pipeline.visible(1), ["new"]);
}

#[test]
fn positions_are_in_the_step_and_belong_to_the_reader_that_has_the_partition() {
    let pipeline = Pipeline::new();
    let source = started(pipeline.source("one"));
    let mut sink = pipeline.sink(Some("one"));
    sink.write(0, &messages(&["a"]), 0).unwrap();
    let committed = commit(&mut sink, &[pipeline.part(7, &[], &[])], &*source).unwrap();
    assert_eq!(committed, Positions::Committed);
    // The group's member comes back: its former self may not commit any more, though nobody fenced its producer.
    let mut again = pipeline.source("one");
    let position = Position { next: 7, place: sink.place() };
    assert_eq!(assigned(&mut *again)[0], Assigned { partition: 0, position: Some(position.clone()) });
    sink.write(0, &messages(&["b"]), 7).unwrap();
    interrupted(commit(&mut sink, &[pipeline.part(8, &[], &[])], &*source));
    drop((source, sink, again));
    let mut again = pipeline.source("one");
    assert_eq!(assigned(&mut *again)[0].position, Some(position));
    assert_eq!(pipeline.visible(1), ["a"]);
}

/// The member dies in the middle of a transaction, and its partition goes to another one.
#[test]
fn who_takes_a_partition_waits_for_what_is_under_way() {
    let pipeline = Pipeline::new();
    let source = started(pipeline.source("one"));
    let mut first = pipeline.sink(Some("one"));
    let part = pipeline.part(3, &[("k", Some("1")), ("gone", Some("x"))], &[("k", "1"), ("gone", "x")]);
    commit(&mut first, &[part], &*source).unwrap();
    let part = pipeline.part(5, &[("k", Some("2")), ("gone", None)], &[("k", "2")]);
    commit(&mut first, &[part], &*source).unwrap();
    first.write(0, &messages(&["never"]), 5).unwrap();
    // As it were in the middle of its next commit.
    let changelog = format!("{}.changelog", pipeline.group);
    let name = format!("{changelog}-open");
    let dying = transactions(&name);
    dying.begin_transaction().unwrap();
    dying.send(BaseRecord::to(&changelog).partition(0).key("\0k").payload("3")).map_err(|(e, _)| e).unwrap();
    dying.flush(PATIENCE).unwrap();
    std::mem::forget((first, dying));
    let mut second = pipeline.sink(Some("two"));
    let (answer, answered) = channel();
    std::thread::scope(|scope| {
        scope.spawn(move || answer.send(restored(&mut second)).unwrap());
        assert!(answered.recv_timeout(Duration::from_secs(1)).is_err(), "it was not settled");
        // What its new self does at once, and otherwise the broker, when the transaction's time is over.
        transactions(&name);
        let (last, state) = answered.recv_timeout(PATIENCE).unwrap();
        assert_eq!((last.next, state), (5, BTreeMap::from([("k".to_owned(), "2".to_owned())])));
    });
}

#[test]
fn the_last_checkpoint_is_found_behind_much_that_was_aborted() {
    let pipeline = Pipeline::new();
    let source = started(pipeline.source("one"));
    let mut sink = pipeline.sink(Some("one"));
    assert_eq!(sink.open(0).unwrap(), None);
    for next in [1, 2] {
        let part = pipeline.part(next, &[("k", Some("v"))], &[("k", "v")]);
        commit(&mut sink, &[part], &*source).unwrap();
    }
    let changelog = format!("{}.changelog", pipeline.group);
    let other = transactions(&format!("{changelog}-aborted"));
    other.begin_transaction().unwrap();
    for number in 0..3_000 {
        let record = BaseRecord::to(&changelog).partition(0).key("\u{0}k").payload("aborted");
        other.send(record).map_err(|(e, _)| e).unwrap();
        if number % 500 == 499 {
            other.flush(PATIENCE).unwrap();
        }
    }
    other.abort_transaction(PATIENCE).unwrap();
    let (last, state) = restored(&mut sink);
    assert_eq!((last.next, state), (2, BTreeMap::from([("k".to_owned(), "v".to_owned())])));
    assert_eq!(sink.open(1).unwrap(), None, "the other partition has its own");
}

#[test]
fn without_transactions_positions_are_left_to_the_source() {
    let pipeline = Pipeline::new();
    let source = started(pipeline.source("one"));
    let mut sink = pipeline.sink(None);
    assert!(!sink.exactly_once());
    sink.write(0, &messages(&["a"]), 0).unwrap();
    let part = pipeline.part(1, &[("k", Some("v"))], &[("k", "v")]);
    assert_eq!(commit(&mut sink, &[part], &*source).unwrap(), Positions::Open);
    assert_eq!(pipeline.visible(1), ["a"]);
    // What was handed over cannot be taken back, but comes before all that follows.
    sink.write(0, &messages(&["b"]), 1).unwrap();
    sink.abort().unwrap();
    assert_eq!(pipeline.visible(2), ["a", "b"]);
    let mut sink = pipeline.sink(None);
    assert_eq!(restored(&mut sink).0.next, 1);
}

#[test]
fn is_full_at_16_mib_and_an_abort_of_them_leaves_nothing() {
    let pipeline = Pipeline::new();
    let source = started(pipeline.source("one"));
    let mut sink = pipeline.sink(Some("one"));
    for next in 1..4 {
        let since = Instant::now();
        assert!(sink.due(since) > since && !sink.full());
        for _ in 0..17 {
            sink.write(0, &messages(&[&"x".repeat(1_000_000)]), 1).unwrap();
        }
        assert!(sink.due(since) == since && sink.full(), "more than 16 MiB wait for the commit");
        sink.abort().unwrap();
        assert!(sink.due(since) > since && !sink.full());
        // The next transaction is as any other.
        sink.write(0, &messages(&[&next.to_string()]), next - 1).unwrap();
        assert_eq!(commit(&mut sink, &[pipeline.part(next, &[], &[])], &*source).unwrap(), Positions::Committed);
    }
    let mut visible = pipeline.visible(3);
    visible.sort();
    assert_eq!(visible, ["1", "2", "3"]);
}

/// What it undoes is what the broker has undone already.
#[test]
fn an_abort_after_a_fence_is_an_interruption() {
    let pipeline = Pipeline::new();
    let mut sink = pipeline.sink(Some("one"));
    sink.write(0, &messages(&["a"]), 0).unwrap();
    let _second = pipeline.sink(Some("one"));
    let outcome = sink.abort();
    assert!(matches!(outcome, Err(SinkError::Log(LogError::Interrupted { .. }))), "{outcome:?}");
}

/// Fault 13: it stops, nothing is skipped, and the position stays.
#[test]
fn a_message_too_large_stops_and_nothing_takes_effect() {
    let pipeline = Pipeline::new();
    let mut source = started(pipeline.source("one"));
    let mut sink = pipeline.sink(Some("one"));
    let large = "x".repeat(2 << 20);
    let outcome = sink
        .write(0, &messages(&["before", &large, "after"]), 0)
        .and_then(|_| commit(&mut sink, &[pipeline.part(3, &[], &[])], &*source));
    assert!(matches!(outcome, Err(SinkError::Log(LogError::TooLarge { bytes: 2_097_155, .. }))), "{outcome:?}");
    drop(sink);
    assert!(matches!(source.poll(Duration::ZERO), Ok(Poll::Idle)));
    drop(source);
    assert_eq!(assigned(&mut *pipeline.source("one"))[0].position, None);
    let mut sink = pipeline.sink(Some("one"));
    assert_eq!(sink.open(0).unwrap(), None);
    let source = started(pipeline.source("one"));
    sink.write(0, &messages(&["only"]), 0).unwrap();
    commit(&mut sink, &[pipeline.part(1, &[], &[])], &*source).unwrap();
    assert_eq!(pipeline.visible(1), ["only"]);
}
