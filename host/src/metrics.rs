//! Counters by name: what came in, what went out, and what did not, by cause.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counters that many threads add to. A batch adds once, so a lock is cheap enough.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// By whose they are, then by name.
    counts: Arc<Mutex<BTreeMap<String, BTreeMap<String, u64>>>>,
    /// The name of an earlier stage; nothing for the pipeline itself.
    whose: String,
}

impl Counters {
    /// Counters of an earlier stage, kept beside those of the pipeline: what goes from one to the next counts in both.
    pub fn of_stage(&self, stage: &str) -> Self {
        Self { counts: self.counts.clone(), whose: stage.to_owned() }
    }

    pub fn add(&self, name: &str, n: u64) {
        let mut counts = self.counts();
        let own = match counts.get_mut(&self.whose) {
            Some(own) => own,
            None => counts.entry(self.whose.clone()).or_default(),
        };
        match own.get_mut(name) {
            Some(counter) => *counter += n,
            None => drop(own.insert(name.to_owned(), n)),
        }
    }

    /// Undoes an `add`.
    fn take_back(&self, name: &str, n: u64) {
        let mut counts = self.counts();
        let Some(own) = counts.get_mut(&self.whose) else { return };
        if let Some(counter) = own.get_mut(name) {
            *counter = counter.saturating_sub(n);
            if *counter == 0 {
                own.remove(name);
            }
        }
    }

    pub fn get(&self, name: &str) -> u64 {
        self.counts().get(&self.whose).and_then(|own| own.get(name)).copied().unwrap_or(0)
    }

    /// Every counter of this stage alone, by name.
    pub fn own(&self) -> BTreeMap<String, u64> {
        self.counts().get(&self.whose).cloned().unwrap_or_default()
    }

    /// Every counter, by name; those of earlier stages as `STAGE: NAME`.
    pub fn snapshot(&self) -> BTreeMap<String, u64> {
        let counts = self.counts();
        let named =
            |whose: &str, name: &str| if whose.is_empty() { name.to_owned() } else { format!("{whose}: {name}") };
        let all = counts.iter().flat_map(|(whose, own)| own.iter().map(move |(name, n)| (named(whose, name), *n)));
        all.collect()
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<String, u64>>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts of what has not taken effect yet: shown at once, and taken back when it never does.
#[derive(Debug, Default)]
pub struct Tentative {
    shown: Counters,
    open: BTreeMap<String, u64>,
}

impl Tentative {
    pub fn new(shown: Counters) -> Self {
        Self { shown, open: BTreeMap::new() }
    }

    pub fn add(&mut self, name: &str, n: u64) {
        self.shown.add(name, n);
        match self.open.get_mut(name) {
            Some(counter) => *counter += n,
            None => drop(self.open.insert(name.to_owned(), n)),
        }
    }

    /// How many of these have not taken effect.
    pub fn pending(&self, name: &str) -> u64 {
        self.open.get(name).copied().unwrap_or(0)
    }

    /// Nothing that was counted will take effect.
    pub fn undo(&mut self) {
        self.open.iter().filter(|(_, n)| **n > 0).for_each(|(name, n)| self.shown.take_back(name, *n));
        self.open.clear();
    }

    /// All that was counted has taken effect.
    pub fn commit(&mut self) {
        self.open.values_mut().for_each(|counter| *counter = 0);
    }
}

impl Drop for Tentative {
    fn drop(&mut self) {
        self.undo();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_takes_effect_is_not_counted() {
        let counters = Counters::default();
        let mut tentative = Tentative::new(counters.clone());
        tentative.add("messages in", 3);
        tentative.commit();
        tentative.add("messages in", 4);
        tentative.add("rejected", 1);
        assert_eq!((counters.get("messages in"), counters.get("rejected")), (7, 1));
        drop(tentative);
        assert_eq!(counters.snapshot(), [("messages in".to_owned(), 3)].into());
    }

    #[test]
    fn a_stage_has_its_own_beside_those_of_the_pipeline() {
        let counters = Counters::default();
        let stage = counters.of_stage("p.1");
        counters.add("rejected by it: trap", 1);
        stage.add("messages in", 2);
        assert_eq!((counters.get("messages in"), stage.get("messages in")), (0, 2));
        assert_eq!(stage.own(), [("messages in".to_owned(), 2)].into());
        assert_eq!(counters.own(), [("rejected by it: trap".to_owned(), 1)].into());
        let all = [("p.1: messages in".to_owned(), 2), ("rejected by it: trap".to_owned(), 1)];
        assert_eq!((counters.snapshot(), stage.snapshot()), (all.clone().into(), all.into()));
    }
}
