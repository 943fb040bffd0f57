//! Counters by name: what came in, what went out, and what did not, by cause.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Counters that many threads add to. A batch adds once, so a lock is cheap enough.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    counts: Arc<Mutex<BTreeMap<String, u64>>>,
    /// Whose they are, before each name: `STAGE: `; nothing for those of the pipeline itself.
    whose: String,
}

impl Counters {
    /// Counters of an earlier stage, kept beside those of the pipeline: what goes from one to the next counts in both.
    pub fn of_stage(&self, stage: &str) -> Self {
        Self { counts: self.counts.clone(), whose: format!("{stage}: ") }
    }

    pub fn add(&self, name: &str, n: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let own = (!self.whose.is_empty()).then(|| format!("{}{name}", self.whose));
        let name = own.as_deref().unwrap_or(name);
        match counts.get_mut(name) {
            Some(counter) => *counter += n,
            None => drop(counts.insert(name.to_owned(), n)),
        }
    }

    pub fn get(&self, name: &str) -> u64 {
        let name = format!("{}{name}", self.whose);
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).get(&name).copied().unwrap_or(0)
    }

    /// Every counter, by name; those of earlier stages as `STAGE: NAME`.
    pub fn snapshot(&self) -> BTreeMap<String, u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
