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
    /// How many messages there were before each of the last ones that failed.
    at: VecDeque<u64>,
    /// How many have had their effect.
    messages: u64,
}

/// A plugin fails too often.
#[derive(Debug, thiserror::Error)]
#[error(
    "{failed} of the last {last} messages made a plugin fail, where {most} of {of} are the most; the pipeline stops \
     rather than go on without them, and reads the last ones again when it is run again. At offset {offset} of partition \
     {partition}: {error}. Mend the plugin, or raise `most` in [failures]",
    most = rule.most, of = rule.of
)]
pub struct TooMany {
    rule: Rule,
    failed: usize,
    last: u64,
    partition: i32,
    offset: i64,
    error: String,
}

/// A message made a plugin fail, and the policy is to stop.
#[derive(Debug, thiserror::Error)]
#[error(
    "offset {offset} of partition {partition}: {error}. The pipeline stops before it, because `policy` in [failures] is \
     \"stop\": mend the plugin, or go on without this message with \"dead-letter\" or \"skip\""
)]
pub struct Stopped {
    pub partition: i32,
    pub offset: i64,
    pub error: PluginError,
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

    /// What has had no effect comes again.
    pub fn look_again(&mut self) {
        while self.at.pop_back_if(|at| *at >= self.messages).is_some() {}
    }

    /// A message made a plugin fail, so many `after` what has had its effect.
    pub fn failed(&mut self, after: u64, partition: i32, offset: i64, error: &PluginError) -> Result<(), TooMany> {
        let (rule, at) = (self.rule, self.messages + after);
        // The one that stops a pipeline has been looked for, too.
        if rule.policy == Policy::Stop {
            return Ok(());
        }
        self.at.push_back(at);
        while self.at.pop_front_if(|early| *early + u64::from(rule.of) <= at).is_some() {}
        let failed = self.at.len();
        if failed <= rule.most as usize {
            return Ok(());
        }
        let last = u64::from(rule.of).min(at + 1);
        Err(TooMany { rule, failed, last, partition, offset, error: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(most: u32, of: u32) -> Failures {
        Failures::new(Rule { policy: Policy::DeadLetter, most, of })
    }

    /// Whether a failure after so many messages is one too many.
    fn is_too_many(failures: &mut Failures, after: u64) -> bool {
        failures.failed(after, 0, after as i64, &PluginError::Engine("it trapped".to_owned())).is_err()
    }

    #[test]
    fn so_many_of_the_last_messages_may_fail() {
        let mut failures = failures(2, 10);
        assert!(![0, 5, 10, 19].into_iter().any(|after| is_too_many(&mut failures, after)));
        // 10 and 19 are among the last ten before 20 no more than before 19.
        assert!(!is_too_many(&mut failures, 20));
        assert!(is_too_many(&mut failures, 28));
    }

    #[test]
    fn a_plugin_that_always_fails_is_stopped_after_the_most_and_one() {
        let mut failures = failures(10, 1_000);
        assert_eq!((0..).position(|after| is_too_many(&mut failures, after)), Some(10));
    }

    #[test]
    fn what_was_undone_counts_once() {
        let mut failures = failures(2, 10);
        for _ in 0..5 {
            failures.look_again();
            assert!(!is_too_many(&mut failures, 3) && !is_too_many(&mut failures, 4));
        }
        failures.went_well(5);
        failures.look_again();
        assert!(is_too_many(&mut failures, 0), "what has had its effect was forgotten");
    }

    #[test]
    fn the_error_says_where_and_what_to_do() {
        let error = PluginError::Engine("gone".to_owned());
        let error = failures(0, 1_000).failed(4, 1, 7, &error).unwrap_err().to_string();
        assert_eq!(
            error,
            "1 of the last 5 messages made a plugin fail, where 0 of 1000 are the most; the pipeline stops rather than go \
             on without them, and reads the last ones again when it is run again. At offset 7 of partition 1: the sandbox \
             cannot start: gone. Mend the plugin, or raise `most` in [failures]"
        );
    }
}
