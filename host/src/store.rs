//! Components by content, kept in a topic: so that a version that was swapped in is there after a restart, and wherever
//! its partitions go.

use std::sync::Arc;

use crate::log::{Log, LogError};

/// The components of one group, in the compacted topic `GROUP.plugins` of the log that it reads.
pub struct Store {
    log: Arc<dyn Log>,
    topic: String,
}

impl Store {
    /// Nothing is created before the first [`put`](Self::put).
    pub fn new(log: Arc<dyn Log>, group: &str) -> Self {
        Self { log, topic: format!("{group}.plugins") }
    }

    /// Keeps a component, durably, and gives its hash (SHA-256, in hexadecimal). One that is there is not written again.
    pub fn put(&self, component: &[u8]) -> Result<String, LogError> {
        let _ = (&self.log, &self.topic, component);
        todo!()
    }

    /// A component that was kept; its content is checked against its hash.
    pub fn get(&self, hash: &str) -> Result<Vec<u8>, LogError> {
        let _ = hash;
        todo!()
    }

    /// The hashes and sizes of all that is kept.
    pub fn list(&self) -> Result<Vec<(String, usize)>, LogError> {
        todo!()
    }
}
