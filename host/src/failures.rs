//! What becomes of a message that a plugin fails on, and when there are too many of them.

use std::collections::VecDeque;

use crate::plugin::PluginError;

/// What becomes of a message that a plugin traps on, or reaches a limit with, once it stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// It goes to the dead letters, in the same checkpoint as its offset.
    #[default]
    DeadLetter,
    /// The pipeline stops before it.
    Stop,
    /// It is counted, and nothing else.
    Skip,
}

/// The policy of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub policy: Policy,
    /// The most messages …
    pub most: u32,
    /// … of so many that may fail before the pipeline stops rather than go on without them.
    pub of: u32,
}

impl Default for Rule {
    fn default() -> Self {
        Self { policy: Policy::DeadLetter, most: 10, of: 1_000 }
    }
}

/// The failures of one worker, which live as long as it does, through everything that is undone.
#[derive(Debug)]
pub struct Failures {
    rule: Rule,
    /// How many messages there were when each of the last ones failed.
    at: VecDeque<u64>,
    messages: u64,
}

/// A plugin fails too often.
#[derive(Debug, thiserror::Error)]
#[error(
    "{failed} of the last {of} messages made a plugin fail, where {most} are the most: stopped before the next one; the last failure: {last}; mend the plugin, or raise `most` in [failures]"
)]
pub struct TooMany {
    failed: usize,
    of: u64,
    most: u32,
    last: String,
}

impl Failures {
    pub fn new(rule: Rule) -> Self {
        Self { rule, at: VecDeque::new(), messages: 0 }
    }

    pub fn policy(&self) -> Policy {
        self.rule.policy
    }

    /// So many messages more have had their effect.
    pub fn went_well(&mut self, messages: u64) {
        self.messages += messages;
    }

    /// One message more made a plugin fail.
    pub fn failed(&mut self, error: &PluginError) -> Result<(), TooMany> {
        let _ = error;
        todo!()
    }
}
