//! How a worker changes over to another version of a plugin, and back (see `swap.rs`).

use std::time::{Duration, Instant};

use super::{Loop, Worker};
use crate::beside::{Beside, Side};
use crate::chain::Stage;
use crate::checkpoint::{Checkpoint, Part};
use crate::compare::Comparison;
use crate::prepare::{Origin, Preparing};
use crate::supervise::is_interrupted;
use crate::swap::{Aim, Canary, Claim, Outcome, Proposal, Trial};
use crate::task::Task;
use crate::version::Version;

/// A change does not wait longer than this for a commit that would come anyway.
const SOON: Duration = Duration::from_millis(200);

/// The change that a worker is at.
pub(super) enum Change {
    None,
    /// Somebody else's proposal, which this worker may take on later.
    Waiting,
    /// To be prepared.
    Wanted(Aimed),
    Preparing(Aimed, Preparing),
    /// The new version is at work, and nothing of it has had an effect.
    Trial(Aimed, OnTrial),
    /// The new version sees what the old one does; what it had seen at the last checkpoint.
    Canary(Aimed, Canary, Box<Comparison>),
}

/// What is to change, and for whom.
pub(super) struct Aimed {
    slot: usize,
    version: Version,
    /// `None` where the version was tried by another worker, and is followed.
    claim: Option<Claim>,
    began: Instant,
}

/// A new version that has to prove itself.
pub(super) struct OnTrial {
    rule: Trial,
    since: Instant,
    messages: u64,
    pause: Duration,
}

impl Change {
    /// So many messages went through.
    pub fn saw(&mut self, messages: usize) {
        if let Self::Trial(_, trial) = self {
            trial.messages += messages as u64;
        }
    }

    pub fn is_on_trial(&self) -> bool {
        matches!(self, Self::Trial(..))
    }

    /// When a commit is due because of it, instead of when it would be.
    pub fn due(&self) -> Option<Instant> {
        match self {
            Self::Trial(_, trial) if trial.messages >= trial.rule.messages => Some(trial.since),
            Self::Trial(_, trial) => Some(trial.since + trial.rule.time),
            _ => None,
        }
    }

    /// Why a version on trial is not to be kept, of whose output the sink has `refused` so many messages.
    pub fn failed(&self, refused: u64) -> Option<String> {
        let Self::Trial(Aimed { claim: Some(claim), .. }, trial) = self else { return None };
        let report = claim.proposal.comparison().report();
        let more = refused + report.rejected_by_new_only.saturating_sub(report.rejected_by_old_only);
        (more as f64 > trial.rule.rejects * report.messages as f64).then(|| {
            format!(
                "of {} messages it rejected {more} more than the version before, where {} of them are the most",
                report.messages, trial.rule.rejects
            )
        })
    }

    /// Why what is on trial is not to be committed after all. From here on it cannot be called off.
    pub fn called_off(&self) -> Option<String> {
        let Self::Trial(Aimed { claim: Some(claim), .. }, _) = self else { return None };
        (!claim.proposal.decide()).then(|| "it was called off".to_owned())
    }

    fn claim(&self) -> Option<&Claim> {
        match self {
            Self::None | Self::Waiting => None,
            Self::Wanted(aimed) | Self::Preparing(aimed, _) | Self::Trial(aimed, _) | Self::Canary(aimed, ..) => {
                aimed.claim.as_ref()
            }
        }
    }

    /// Whether new instances wait to be put to work.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Preparing(_, preparing) if preparing.is_ready())
    }
}

impl Loop<'_> {
    /// Goes on with the change that is under way, or takes one on.
    pub(super) fn look_for_changes(&mut self) -> anyhow::Result<()> {
        let changes = self.worker.handle.versions.changes();
        if self.seen != Some(changes) || matches!(self.change, Change::Waiting) {
            self.seen = Some(changes);
            self.look()?;
        }
        match std::mem::replace(&mut self.change, Change::None) {
            Change::Wanted(aimed) => self.prepare(aimed),
            Change::Canary(aimed, canary, seen) => self.look_at_canary(aimed, canary, seen),
            change => {
                self.change = change;
                if self.change.is_ready() && !self.suspects.any() { self.come_to_a_checkpoint() } else { Ok(()) }
            }
        }
    }

    /// Sees what is proposed, what was called off, and what other workers have adopted.
    fn look(&mut self) -> anyhow::Result<()> {
        let over = self.change.claim().is_some_and(|claim| claim.proposal.is_done());
        if over && self.change.is_on_trial() {
            return self.roll_back("it was called off".to_owned());
        }
        if over {
            self.leave_beside();
            self.change = Change::None;
        }
        if !matches!(self.change, Change::None | Change::Waiting) {
            return Ok(());
        }
        let proposal = self.worker.handle.versions.proposal();
        if let Some(proposal) = &proposal
            && let Some(outcome) = self.found_out(proposal)
        {
            proposal.conclude_unclaimed(outcome);
        }
        self.change = match proposal.filter(|proposal| !proposal.is_done()) {
            None => self.behind().map_or(Change::None, Change::Wanted),
            // Who has no partition leaves it to those who have.
            Some(proposal) if self.tasks.is_empty() => {
                if !self.worker.handle.has_tasks() {
                    proposal.nobody();
                }
                Change::Waiting
            }
            Some(proposal) => match proposal.claim() {
                None => self.behind().map_or(Change::Waiting, Change::Wanted),
                Some(claim) => {
                    let (slot, version) = (proposal.slot, proposal.version.clone());
                    Change::Wanted(Aimed { slot, version, claim: Some(claim), began: Instant::now() })
                }
            },
        };
        Ok(())
    }

    /// What came of a swap by what the checkpoints say: an attempt may have come to its commit without hearing of it.
    fn found_out(&self, proposal: &Proposal) -> Option<Outcome> {
        let current = &self.worker.handle.versions.current()[proposal.slot];
        if !matches!(proposal.aim, Aim::Swap(_)) || current.since() < proposal.version.since() {
            return None;
        }
        Some(if current.mark() == proposal.version.mark() {
            Outcome::Adopted { pause: 0, messages: 0 }
        } else {
            Outcome::Refused { reason: "another version was swapped in elsewhere, later".to_owned() }
        })
    }

    /// The first plugin of which a task runs an earlier version than the latest.
    fn behind(&self) -> Option<Aimed> {
        let current = self.worker.handle.versions.current();
        let is_behind = |slot: usize, version: &Version| {
            !self.unfit.contains(&(slot, version.since()))
                && self.tasks.values().any(|task| task.version(slot).since() < version.since())
        };
        let (slot, version) = current.into_iter().enumerate().find(|(slot, version)| is_behind(*slot, version))?;
        Some(Aimed { slot, version, claim: None, began: Instant::now() })
    }

    /// Begins to open the new version beside the old one.
    fn prepare(&mut self, aimed: Aimed) -> anyhow::Result<()> {
        let Aimed { slot, version, claim, .. } = &aimed;
        if let Some(claim) = claim {
            claim.proposal.undecided();
            let who = |version: &Version| (version.plugin.title(), version.plugin.hash.to_string());
            let old = &self.worker.handle.versions.current()[*slot];
            claim.proposal.comparison().between(who(old), who(version));
        }
        let mut origins = Vec::new();
        for (&partition, task) in &self.tasks {
            let last = task.last().filter(|_| version.plugin.has_state());
            // Kept by the version that the checkpoint says: the one at work may have kept nothing yet.
            let kept_by = |last: &Checkpoint| last.kept_by(version.number).map(str::to_owned);
            let kept = match last.and_then(|last| Some((last, kept_by(last)?))) {
                Some((last, kept_by)) => Some((kept_by, self.worker.sink.kept(last)?)),
                None => None,
            };
            origins.push(Origin { partition, kept });
        }
        let preparing = Preparing::start(version, origins)?;
        self.change = Change::Preparing(aimed, preparing);
        Ok(())
    }

    /// Changes over now where nothing is open, and else with a commit: the next one, if that comes soon.
    fn come_to_a_checkpoint(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        if self.tasks.values().all(|task| task.open().is_none()) {
            return self.change_over();
        }
        if self.due().is_none_or(|due| due > start + SOON) {
            self.commit()?;
            if let Change::Trial(_, trial) = &mut self.change {
                trial.pause = start.elapsed();
            }
        }
        Ok(())
    }

    /// Everything that was processed has taken effect with these checkpoints. `ready` is whether a new version had
    /// caught up before.
    pub(super) fn committed(&mut self, parts: Vec<Part>, ready: bool) -> anyhow::Result<()> {
        if let Change::Preparing(_, preparing) = &mut self.change {
            parts.iter().for_each(|part| preparing.kept(part));
        }
        let Worker { handle, number, .. } = &self.worker;
        for Part { checkpoint, .. } in parts {
            let partition = checkpoint.partition;
            if let Some(task) = self.tasks.get_mut(&partition) {
                task.committed(checkpoint);
                handle.tell(*number, partition, task);
            }
        }
        match std::mem::replace(&mut self.change, Change::None) {
            Change::Trial(aimed, trial) => self.adopt(&aimed, &trial),
            change => self.change = change,
        }
        if let Change::Canary(Aimed { claim: Some(claim), .. }, _, seen) = &mut self.change {
            **seen = claim.proposal.comparison().clone();
        }
        if ready && !self.suspects.any() { self.change_over() } else { Ok(()) }
    }

    /// Puts the new instances to work, or beside the old ones. Nothing is open.
    fn change_over(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        let Change::Preparing(aimed, preparing) = std::mem::replace(&mut self.change, Change::None) else {
            return Ok(());
        };
        let Aimed { slot, version, claim, .. } = &aimed;
        let instances = match preparing.finish() {
            Ok(instances) => instances,
            Err(error) => {
                self.refuse(&aimed, &error);
                return Ok(());
            }
        };
        for (partition, instance) in instances {
            let Some(task) = self.tasks.get_mut(&partition) else { continue };
            let comparison = claim.as_ref().map(|claim| claim.proposal.comparison.clone());
            match (claim.as_ref().map(|claim| claim.proposal.aim), comparison) {
                (Some(Aim::Canary(_)), Some(comparison)) => {
                    let beside = Beside::new(Side::New, partition, instance, comparison);
                    task.stage(*slot).beside = Some(beside);
                    continue;
                }
                (Some(Aim::Swap(_)), Some(comparison)) => {
                    let stage = Stage { version: version.clone(), instance, beside: None };
                    let old = task.change(*slot, stage);
                    task.stage(*slot).beside = Some(Beside::new(Side::Old, partition, old.instance, comparison));
                }
                _ => drop(task.change(*slot, Stage { version: version.clone(), instance, beside: None })),
            }
            // The change itself is to be in a checkpoint, whether or not a message comes.
            task.touch();
        }
        let since = Instant::now();
        self.change = match claim.as_ref().map(|claim| claim.proposal.aim) {
            None => Change::None,
            Some(Aim::Swap(rule)) => {
                let pause = since - start;
                Change::Trial(aimed, OnTrial { rule, since, messages: 0, pause })
            }
            Some(Aim::Canary(canary)) => {
                let seen = claim.as_ref().map(|claim| claim.proposal.comparison().clone()).unwrap_or_default();
                let began = if seen.messages() == 0 { since } else { aimed.began };
                Change::Canary(Aimed { began, ..aimed }, canary, Box::new(seen))
            }
        };
        // Of several plugins each may be behind.
        self.seen = None;
        Ok(())
    }

    /// The new version cannot begin, and the old one goes on.
    fn refuse(&mut self, Aimed { slot, version, claim, .. }: &Aimed, error: &anyhow::Error) {
        let (pipeline, reason) = (&self.worker.identity.pipeline, format!("{error:#}"));
        self.seen = None;
        match claim {
            Some(claim) => claim.proposal.conclude(Outcome::Refused { reason }),
            None if is_interrupted(error) => tracing::warn!("{pipeline}: {reason}; trying again"),
            None => {
                self.unfit.insert((*slot, version.since()));
                tracing::error!("{pipeline}: {} is at work elsewhere, but not here: {reason}", version.plugin.title());
            }
        }
    }

    /// The new version has proved itself.
    fn adopt(&mut self, Aimed { slot, version, claim, .. }: &Aimed, trial: &OnTrial) {
        self.leave_beside();
        self.worker.handle.versions.adopt(*slot, version.clone());
        let (pipeline, pause) = (&self.worker.identity.pipeline, u64::try_from(trial.pause.as_micros()));
        tracing::info!("{pipeline}: {} is at work, after {} messages on trial", version.plugin.title(), trial.messages);
        if let Some(claim) = claim {
            let pause = pause.unwrap_or(u64::MAX);
            claim.proposal.conclude(Outcome::Adopted { pause, messages: trial.messages });
        }
    }

    /// The new version has failed: the old one goes on from the checkpoint before, and nothing of the new one has had an
    /// effect.
    pub(super) fn roll_back(&mut self, reason: String) -> anyhow::Result<()> {
        let change = std::mem::replace(&mut self.change, Change::None);
        if let Change::Trial(Aimed { version, claim, .. }, _) = &change {
            let pipeline = &self.worker.identity.pipeline;
            tracing::warn!("{pipeline}: {} is taken back: {reason}", version.plugin.title());
            if let Some(claim) = claim {
                claim.proposal.conclude(Outcome::RolledBack { reason });
            }
        }
        self.suspects.end();
        self.seen = None;
        self.go_back()
    }

    /// Ends a canary that has seen enough, or has failed.
    fn look_at_canary(&mut self, aimed: Aimed, canary: Canary, seen: Box<Comparison>) -> anyhow::Result<()> {
        let report = aimed.claim.as_ref().and_then(|claim| {
            let comparison = claim.proposal.comparison();
            let enough = match canary {
                Canary::Messages(messages) => comparison.messages() >= messages,
                Canary::Time(time) => aimed.began.elapsed() >= time,
            };
            (enough || comparison.has_failed()).then(|| comparison.report())
        });
        match (report, &aimed.claim) {
            (Some(report), Some(claim)) => {
                self.leave_beside();
                self.seen = None;
                claim.proposal.conclude(Outcome::Compared(Box::new(report)));
            }
            _ => self.change = Change::Canary(aimed, canary, seen),
        }
        Ok(())
    }

    /// The tasks are other ones than they were: what was prepared for them is prepared anew.
    pub(super) fn tasks_changed(&mut self) {
        self.seen = None;
        self.change = match std::mem::replace(&mut self.change, Change::None) {
            // Another worker has them now, and can try it on messages.
            Change::Wanted(_) | Change::Preparing(..) | Change::Canary(..) if self.tasks.is_empty() => Change::Waiting,
            Change::Preparing(aimed, _) => Change::Wanted(aimed),
            Change::Canary(aimed, _, seen) => {
                self.leave_beside();
                // What was undone is seen again.
                if let Some(claim) = &aimed.claim {
                    *claim.proposal.comparison() = *seen;
                }
                Change::Wanted(aimed)
            }
            change => change,
        };
    }

    fn leave_beside(&mut self) {
        self.tasks.values_mut().for_each(Task::leave_beside);
    }
}
