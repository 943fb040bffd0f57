//! A change of versions while the stream runs: what is asked, who does it, and what came of it.
//!
//! A worker opens the new version beside the old one, on another thread, gives it a copy of the state, and lets it catch
//! up. Then, at a checkpoint, it changes over, and holds the next checkpoint until the new version has proved itself: that
//! checkpoint, which carries the new hash, is the change. Until then whatever happens leads back to the old version at the
//! checkpoint before (Invariant 7).

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::compare::{Comparison, Report};
use crate::version::Version;

/// How often a change that was interrupted (a broker that went, partitions that were lost) is tried again.
const ATTEMPTS: u32 = 3;
/// How long a swap waits for a worker with partitions: where there are none, no message shows what it is worth.
const NOBODY: Duration = Duration::from_secs(30);

/// When a new version has proved itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// After so many messages …
    pub messages: u64,
    /// … or this long, whichever comes first. Output is held back until then.
    pub time: Duration,
    /// The most that it may reject beyond what the old one does, as a share of the messages.
    pub rejects: f64,
}

impl Default for Trial {
    fn default() -> Self {
        Self { messages: 1_000, time: Duration::from_secs(1), rejects: 0.1 }
    }
}

/// How long two versions are compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Canary {
    Messages(u64),
    Time(Duration),
}

/// What a version is opened beside another one for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aim {
    /// To take its place.
    Swap(Trial),
    /// To be compared with it.
    Canary(Canary),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The new version is at work.
    Adopted {
        /// For how many microseconds no message was processed because of it.
        pause: u64,
        /// How many messages it had processed when it had proved itself.
        messages: u64,
    },
    /// The old version is at work again, from the checkpoint before; nothing of the new one had an effect.
    RolledBack { reason: String },
    /// The old version never ceased to be at work.
    Refused { reason: String },
    /// The comparison has come to its end.
    Compared(Box<Report>),
    /// It was called off.
    Dropped,
}

/// A version that is to be tried by the workers of one pipeline: by one of them, and then, when it proved itself, by all.
pub struct Proposal {
    /// The place of the plugin.
    pub slot: usize,
    pub version: Version,
    pub aim: Aim,
    /// What both versions make of the same messages.
    pub comparison: Arc<Mutex<Comparison>>,
    progress: Mutex<Progress>,
    done: Condvar,
}

struct Progress {
    /// Whether a worker is at it.
    claimed: bool,
    /// Since when none is.
    free: Instant,
    /// Whether a worker has begun to commit it, and not found out what came of that.
    deciding: bool,
    attempts: u32,
    outcome: Option<Outcome>,
}

impl Proposal {
    pub fn new(slot: usize, version: Version, aim: Aim) -> Arc<Self> {
        let free = Instant::now();
        let progress = Progress { claimed: false, free, deciding: false, attempts: 0, outcome: None };
        let (comparison, progress, done) = (Arc::default(), Mutex::new(progress), Condvar::new());
        Arc::new(Self { slot, version, aim, comparison, progress, done })
    }

    /// Takes it on, if nobody has: a worker with partitions.
    pub fn claim(self: &Arc<Self>) -> Option<Claim> {
        let mut progress = self.progress();
        if progress.claimed || progress.outcome.is_some() {
            return None;
        }
        if progress.attempts == ATTEMPTS {
            let reason = format!("it was interrupted {ATTEMPTS} times; see the host's log, and try again");
            drop(progress);
            self.conclude(Outcome::Refused { reason });
            return None;
        }
        progress.claimed = true;
        progress.attempts += 1;
        // What an interrupted attempt saw had no effect, and is seen again.
        *self.comparison() = Comparison::default();
        Some(Claim { proposal: self.clone() })
    }

    /// Says what came of it; the first one to say so is heard.
    pub fn conclude(&self, outcome: Outcome) {
        self.progress().outcome.get_or_insert(outcome);
        self.done.notify_all();
    }

    /// No worker has a partition. Where that lasts, a swap is refused.
    pub fn nobody(&self) {
        let lasts = |progress: &Progress| !progress.claimed && progress.free.elapsed() > NOBODY;
        if matches!(self.aim, Aim::Swap(_)) && lasts(&self.progress()) {
            let reason = "this host has no partition of it to try it on; a partition brings the version that it runs";
            self.call_off(Outcome::Refused { reason: reason.to_owned() });
        }
    }

    /// Says what came of it where no worker is at it, who would say more.
    pub fn conclude_unclaimed(&self, outcome: Outcome) {
        let mut progress = self.progress();
        if !progress.claimed {
            progress.outcome.get_or_insert(outcome);
            self.done.notify_all();
        }
    }

    /// Begins to commit it, from where on it cannot be called off; false where it was before.
    pub fn decide(&self) -> bool {
        let mut progress = self.progress();
        progress.deciding = progress.outcome.is_none();
        progress.deciding
    }

    /// It is known that no commit of it has had an effect.
    pub fn undecided(&self) {
        self.progress().deciding = false;
    }

    /// Concludes it, where no worker has begun to commit it; says whether it is concluded.
    pub fn call_off(&self, outcome: Outcome) -> bool {
        let mut progress = self.progress();
        if !progress.deciding {
            progress.outcome.get_or_insert(outcome);
            self.done.notify_all();
        }
        progress.outcome.is_some()
    }

    pub fn outcome(&self) -> Option<Outcome> {
        self.progress().outcome.clone()
    }

    pub fn is_done(&self) -> bool {
        self.progress().outcome.is_some()
    }

    /// Waits for the outcome, for so long at most.
    pub fn wait(&self, most: Duration) -> Option<Outcome> {
        let waiting = self.done.wait_timeout_while(self.progress(), most, |progress| progress.outcome.is_none());
        waiting.unwrap_or_else(PoisonError::into_inner).0.outcome.clone()
    }

    pub fn comparison(&self) -> MutexGuard<'_, Comparison> {
        self.comparison.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That a worker is at it. Dropped without an outcome, it is open to others again, unless the worker panicked: what the
/// version did to it once it would do again.
pub struct Claim {
    pub proposal: Arc<Proposal>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = "the host itself failed at it (a panic, told in its log); please report it".to_owned();
            self.proposal.conclude(Outcome::Refused { reason });
        }
        let mut progress = self.proposal.progress();
        (progress.claimed, progress.free) = (false, Instant::now());
    }
}
