//! Which version of each plugin a pipeline runs, and which one is to take its place.
//!
//! The pipeline file says where to begin. From there on the checkpoints do: each names the version that made it, and a
//! partition goes on with the one of its last checkpoint, wherever it goes. A swap lasts until the file says something
//! else than it did. Of two swaps the later one holds, and a task that runs an earlier version changes over at its next
//! checkpoint (Invariant 7).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::checkpoint::{Checkpoint, Mark, Swapped};
use crate::plugin::Engine;
use crate::store::Store;
use crate::swap::Proposal;
use crate::version::Version;

/// The versions of one pipeline in this process.
pub struct Versions {
    /// What the pipeline file says.
    file: Vec<Version>,
    engine: Engine,
    store: Store,
    now: Mutex<Now>,
    /// Counts changes, so that workers see them without a lock.
    changes: AtomicU64,
}

struct Now {
    /// The latest of each plugin.
    current: Vec<Version>,
    proposal: Option<Arc<Proposal>>,
}

impl Versions {
    pub fn new(file: Vec<Version>, engine: Engine, store: Store) -> Self {
        let now = Mutex::new(Now { current: file.clone(), proposal: None });
        Self { file, engine, store, now, changes: AtomicU64::new(0) }
    }

    pub fn file(&self) -> &[Version] {
        &self.file
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The latest version of each plugin.
    pub fn current(&self) -> Vec<Version> {
        self.now().current.clone()
    }

    /// That the one at `slot` is swapped now: later than all that is at work, whatever the clock says that another host
    /// went by.
    pub fn swapped(&self, slot: usize) -> Swapped {
        let swapped = Version::swapped_for(&self.file[slot]);
        let since = swapped.since.max(self.now().current[slot].since().saturating_add(1));
        Swapped { since, ..swapped }
    }

    /// A number that is another one after every change.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// What is to be tried.
    pub fn proposal(&self) -> Option<Arc<Proposal>> {
        self.now().proposal.clone()
    }

    /// Asks the workers to try something; nothing is asked while something else is tried.
    pub fn propose(&self, proposal: &Arc<Proposal>) -> Result<(), Arc<Proposal>> {
        let mut now = self.now();
        match &now.proposal {
            Some(other) if !other.is_done() => Err(other.clone()),
            _ => {
                now.proposal = Some(proposal.clone());
                drop(now);
                self.changed();
                Ok(())
            }
        }
    }

    /// From now on this is the latest version of the plugin at `slot`.
    pub fn adopt(&self, slot: usize, version: Version) {
        let mut now = self.now();
        if now.current[slot].since() < version.since() {
            now.current[slot] = version;
        }
        drop(now);
        self.changed();
    }

    pub fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// The versions that a task goes on with from its last checkpoint.
    pub fn of(&self, last: Option<&Checkpoint>) -> anyhow::Result<Vec<Version>> {
        let Some(last) = last else { return Ok(self.current()) };
        let mut versions = self.file.clone();
        if last.plugins.len() != versions.len() {
            return Ok(versions);
        }
        for (slot, (version, mark)) in versions.iter_mut().zip(&last.plugins).enumerate() {
            let Some(swapped) = &mark.swapped else { continue };
            if version.is_what_was(swapped) {
                *version = self.bring(slot, mark, swapped)?;
            }
        }
        Ok(versions)
    }

    /// The version that a checkpoint names.
    fn bring(&self, slot: usize, mark: &Mark, swapped: &Swapped) -> anyhow::Result<Version> {
        let current = self.now().current[slot].clone();
        let is_it = |version: &Version| *version.plugin.hash == *mark.hash && version.settings == mark.settings;
        let mut version = match [current, self.file[slot].clone()].into_iter().find(is_it) {
            Some(version) => version,
            None => {
                let component = self.store.get(&mark.hash)?;
                let plugin = self.engine.take_in(&component)?;
                let Version { limits, number, .. } = &self.file[slot];
                Version::new(plugin, mark.settings.clone(), limits.clone(), *number)?
            }
        };
        version.swapped = Some(swapped.clone());
        if self.now().current[slot].since() < version.since() {
            tracing::info!("{} was swapped in before and goes on", version.plugin.title());
            self.adopt(slot, version.clone());
        }
        Ok(version)
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
