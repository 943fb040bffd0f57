//! A panic of the host itself in the middle of its work (fault 54): the worker starts again, no offset has moved without
//! its output, and nothing is lost or repeated.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use host::checkpoint::{Checkpoint, Identity, Position};
use host::config::{Overrides, Pipeline};
use host::control::handle::Handle;
use host::dead_letter::DeadLetters;
use host::failures::{Failures, Rule};
use host::load;
use host::log::embedded::Embedded;
use host::log::{Log, Reading, Start};
use host::message::Batch;
use host::metrics::{Counters, Tentative};
use host::plugin::Engine;
use host::rejects::Rejects;
use host::sink::embedded::EmbeddedSink;
use host::sink::{Kept, Positions, Refused, Sink, SinkError, Step};
use host::source::{Group, Poll, Source, SourceError};
use host::stop::Order;
use host::store::Store;
use host::supervise::supervise;
use host::versions::Versions;
use host::worker::{self, Worker};

use crate::program::plugin;

const MESSAGES: usize = 10_000;

/// Where the host is to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Poll,
    BeforeCommit,
    AfterCommit,
}

/// Fails at the third call.
struct Fault {
    at: Option<At>,
    calls: AtomicUsize,
}

impl Fault {
    fn reach(&self, at: At) {
        let third = self.at == Some(at) && self.calls.fetch_add(1, Ordering::Relaxed) == 2;
        assert!(!third, "injected at {at:?}");
    }
}

struct Faulty<T: ?Sized>(Arc<Fault>, Box<T>);

impl Source for Faulty<dyn Source> {
    fn poll(&mut self, wait: Duration) -> Result<Poll, SourceError> {
        self.0.reach(At::Poll);
        self.1.poll(wait)
    }

    fn start(&mut self, partition: i32, next: Option<i64>) -> Result<(), SourceError> {
        self.1.start(partition, next)
    }

    fn commit(&mut self, partition: i32, position: &Position) -> Result<(), SourceError> {
        self.1.commit(partition, position)
    }

    fn group(&self) -> Option<Group> {
        self.1.group()
    }

    fn hold(&mut self, held: bool) {
        self.1.hold(held);
    }

    fn drain(&mut self) -> Result<(), SourceError> {
        self.1.drain()
    }
}

impl Sink for Faulty<dyn Sink> {
    fn place(&self) -> String {
        self.1.place()
    }

    fn exactly_once(&self) -> bool {
        self.1.exactly_once()
    }

    fn open(&mut self, partition: i32) -> Result<Option<Checkpoint>, SinkError> {
        self.1.open(partition)
    }

    fn kept(&self, last: &Checkpoint) -> Result<Kept, SinkError> {
        self.1.kept(last)
    }

    fn write(&mut self, partition: i32, batch: &Batch, first: i64) -> Result<Vec<Refused>, SinkError> {
        self.1.write(partition, batch, first)
    }

    fn due(&self, since: Instant) -> Instant {
        self.1.due(since)
    }

    fn full(&self) -> bool {
        self.1.full()
    }

    fn abort(&mut self) -> Result<(), SinkError> {
        self.1.abort()
    }

    fn commit(&mut self, step: Step<'_>) -> Result<Positions, SinkError> {
        self.0.reach(At::BeforeCommit);
        let positions = self.1.commit(step)?;
        self.0.reach(At::AfterCommit);
        Ok(positions)
    }

    fn close(&mut self, partition: i32) -> Result<(), SinkError> {
        self.1.close(partition)
    }
}

/// What a pipeline file would say.
fn pipeline(folder: &Path) -> Pipeline {
    let file = folder.join("p.toml");
    let text = format!(
        "[source]\nuri = \"kafka:///in\"\nuntil = \"end\"\nbatch = 500\n[[plugin]]\nfile = {:?}\n[sink]\nuri = \"kafka:///out\"",
        plugin("stamp-1")
    );
    std::fs::write(&file, text).unwrap();
    Pipeline::read(&file, &Overrides::default()).unwrap()
}

#[test]
fn a_panic_costs_nothing_but_time() {
    let folder = tempfile::tempdir().unwrap();
    let log = Embedded::open(&folder.path().join("apogee.db")).unwrap();
    log.create_topic("in", 1).unwrap();
    log.create_topic("out", 1).unwrap();
    let mut writer = log.writer("in").unwrap();
    for id in 0..MESSAGES {
        let mut batch = Batch::new();
        batch.push(Some(format!("k{}", id % 7).as_bytes()), Some(format!("{{\"id\":{id}}}").as_bytes()), 1);
        writer.append(&batch).unwrap();
    }
    writer.flush().unwrap();

    let (engine, pipeline) = (Engine::new().unwrap(), pipeline(folder.path()));
    let file = load::plugins(&pipeline, &engine).unwrap();
    let store = Store::new(Arc::new(log.clone()), "p");
    let counters = Counters::default();
    let handle = Handle::new(&pipeline, "p", Versions::new(file, engine, store), counters.clone());
    let mut failures = Failures::new(Rule::default());
    let mut faults = vec![At::AfterCommit, At::Poll, At::BeforeCommit];
    let mut work = |at: Option<At>| {
        let fault = Arc::new(Fault { at, calls: AtomicUsize::new(0) });
        // Each batch is due at once, so that there are many commits.
        let sink = EmbeddedSink::new(log.clone(), "p", Some("out"), Some("p.dead"), Duration::ZERO)?;
        let identity = Identity {
            pipeline: "p".into(),
            source: "in".into(),
            place: sink.place(),
            plugins: Vec::new(),
            exactly_once: true,
        };
        let worker = Worker {
            number: 0,
            handle: &handle,
            source: Box::new(Faulty(
                fault.clone(),
                log.reader("in", &Reading { batch: 500, ..Reading::new("p", Start::Earliest) })?,
            )),
            sink: Box::new(Faulty(fault, Box::new(sink) as Box<dyn Sink>)),
            identity,
            rejects: Rejects {
                pipeline: "p".into(),
                source: "in".into(),
                counters: Tentative::new(counters.clone()),
                dead_letters: DeadLetters::with_the_sink(),
                refused: 0,
            },
            failures: &mut failures,
            idle: Duration::from_secs(60),
            close: false,
        };
        worker::run(worker, || Order::Drain)
    };
    // Three in a row are too many for one run; another one goes on.
    supervise("p", &counters, false, &|| Order::Go, || work(faults.pop())).unwrap_err();
    assert_eq!(faults, [], "each fault was met");
    work(None).unwrap();

    let mut counts = BTreeMap::<i64, i64>::new();
    let (mut next, mut ids) = (0, Vec::new());
    loop {
        let fetch = log.read("out", 0, next, 4096).unwrap();
        if fetch.batch.is_empty() {
            break;
        }
        next = fetch.next;
        for value in &fetch.batch.values {
            let row: serde_json::Value = serde_json::from_slice(value.unwrap()).unwrap();
            let id = row["id"].as_i64().unwrap();
            let count = counts.entry(id % 7).or_default();
            *count += 1;
            assert_eq!(row["count"].as_i64(), Some(*count), "the state is exact at {id}");
            ids.push(id);
        }
    }
    assert!(ids.into_iter().eq(0..MESSAGES as i64), "each once, in order");
}
