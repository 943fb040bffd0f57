//! Questions to plugins that run: whoever asks waits, the workers answer between two batches, each for its partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often whoever waits looks whether the partitions are still the same.
const LOOK: Duration = Duration::from_millis(50);

/// What is asked of the workers of one pipeline, the latest last.
#[derive(Default)]
pub struct Questions {
    open: Mutex<Vec<Arc<Question>>>,
    /// How many there are, so that a worker sees at no cost that there is none.
    count: AtomicUsize,
}

/// A question to the plugin at one place of the chain.
pub struct Question {
    pub slot: usize,
    pub text: String,
    /// By partition.
    answers: Mutex<BTreeMap<i32, Result<String, String>>>,
    answered: Condvar,
}

/// Why there is no answer. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// Nobody is there to answer, or not yet.
    #[error("{0}")]
    Nobody(String),
    /// The plugin has answered with an error, or failed.
    #[error("{0}")]
    Refused(String),
    #[error(
        "the plugin did not answer within {0:?}; is the pipeline busy? Raise `time` of this [[query]], or ask again"
    )]
    Late(Duration),
}

impl Question {
    /// Whether there is no answer of this partition yet.
    pub fn waits_for(&self, partition: i32) -> bool {
        !self.answers().contains_key(&partition)
    }

    /// Takes the answer of a partition.
    pub fn answer(&self, partition: i32, answer: Result<String, String>) {
        self.answers().insert(partition, answer);
        self.answered.notify_all();
    }

    fn answers(&self) -> MutexGuard<'_, BTreeMap<i32, Result<String, String>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Questions {
    /// Those that wait for answers.
    pub fn all(&self) -> Vec<Arc<Question>> {
        if self.count.load(Ordering::Acquire) == 0 { Vec::new() } else { self.open().clone() }
    }

    /// Asks, and waits for an answer of each partition that is `there`, for so long and while somebody is there.
    pub(super) fn ask(
        &self,
        slot: usize,
        text: &str,
        time: Duration,
        there: impl Fn() -> BTreeSet<i32>,
        nobody: impl Fn() -> Result<(), Unanswered>,
    ) -> Result<Vec<String>, Unanswered> {
        let question = Question { slot, text: text.to_owned(), answers: Mutex::default(), answered: Condvar::new() };
        let question = Arc::new(question);
        self.open().push(question.clone());
        self.count.fetch_add(1, Ordering::AcqRel);
        let end = Instant::now() + time;
        let answers = loop {
            let there = there();
            let mut answers = question.answers();
            answers.retain(|partition, _| there.contains(partition));
            if !there.is_empty() && answers.len() == there.len() {
                break Ok(std::mem::take(&mut *answers));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Err(if there.is_empty() {
                    Unanswered::Nobody("no partition is at work here; ask again".to_owned())
                } else {
                    Unanswered::Late(time)
                });
            }
            drop(question.answered.wait_timeout(answers, left.min(LOOK)).unwrap_or_else(PoisonError::into_inner));
            if let Err(nobody) = nobody() {
                break Err(nobody);
            }
        };
        self.open().retain(|open| !Arc::ptr_eq(open, &question));
        self.count.fetch_sub(1, Ordering::AcqRel);
        answers?.into_values().collect::<Result<_, _>>().map_err(Unanswered::Refused)
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Question>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
