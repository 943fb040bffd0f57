//! Counters by name: what came in, what went out, and what did not, by cause.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Counters that many threads add to. A batch adds once, so a lock is cheap enough.
#[derive(Debug, Clone, Default)]
pub struct Counters(Arc<Mutex<BTreeMap<String, u64>>>);

impl Counters {
    pub fn add(&self, name: &str, n: u64) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counters.get_mut(name) {
            Some(counter) => *counter += n,
            None => drop(counters.insert(name.to_owned(), n)),
        }
    }

    pub fn get(&self, name: &str) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied().unwrap_or(0)
    }

    /// Every counter, by name.
    pub fn snapshot(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
