//! What a trait promises, checked for every implementation of it.

mod log;
pub mod sink;
mod source;
mod store;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use host::checkpoint::Position;
use host::log::Log;
use host::log::embedded::Embedded;
use host::log::kafka::Kafka;
use host::source::{Assigned, Poll, Source};
use tempfile::TempDir;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A new topic of one partition.
struct Topic {
    log: Box<dyn Log>,
    name: String,
    /// Where an embedded log is.
    _folder: Option<TempDir>,
}

impl Topic {
    fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = Embedded::open(&folder.path().join("log.sqlite")).unwrap();
        Self::new(Box::new(log), Some(folder))
    }

    fn kafka() -> Self {
        Self::new(Box::new(Kafka::connect(&crate::kafka::brokers(), &BTreeMap::new()).unwrap()), None)
    }

    fn new(log: Box<dyn Log>, folder: Option<TempDir>) -> Self {
        // The brokers may hold topics of other tests and runs.
        let name = format!("conformance-{:016x}", fastrand::Rng::new().u64(..));
        assert!(log.create_topic(&name, 1).unwrap());
        Self { log, name, _folder: folder }
    }
}

/// A position that belongs to no checkpoint.
fn position(next: i64) -> Position {
    Position { next, place: String::new() }
}

/// The next thing that is not `Idle`.
fn found(source: &mut dyn Source) -> Poll {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match source.poll(Duration::from_millis(200)).unwrap() {
            Poll::Idle => assert!(Instant::now() < deadline, "nothing came in {PATIENCE:?}"),
            found => return found,
        }
    }
}

/// The partitions that a new reader is given.
fn assigned(source: &mut dyn Source) -> Vec<Assigned> {
    match found(source) {
        Poll::Assigned(assigned) => assigned,
        other => panic!("{other:?} before any partition was assigned"),
    }
}

/// A new reader that goes on where its group stands.
fn started(mut source: Box<dyn Source>) -> Box<dyn Source> {
    for assigned in assigned(&mut *source) {
        source.start(assigned.partition, None).unwrap();
    }
    source
}

/// The next thing that is not `Idle`; partitions that are assigned go on where their group stands.
fn next(source: &mut dyn Source) -> Poll {
    loop {
        match found(source) {
            Poll::Assigned(assigned) => {
                assigned.iter().for_each(|assigned| source.start(assigned.partition, None).unwrap());
            }
            found => return found,
        }
    }
}
