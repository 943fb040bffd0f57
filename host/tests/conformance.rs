//! What a trait promises, checked for every implementation of it.

mod log;
mod sink;
mod source;

use std::collections::BTreeMap;
use std::time::Duration;

use host::log::Log;
use host::log::embedded::Embedded;
use host::log::kafka::Kafka;
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
