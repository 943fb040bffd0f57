//! What the workers of a pipeline and those who ask about it share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::Pipeline;
use crate::control::api::{Answer, Ended, PipelineStatus, Plan, PluginStatus, TaskStatus};
use crate::control::plan;
use crate::control::questions::{Questions, Unanswered};
use crate::metrics::Counters;
use crate::plugin::PluginError;
use crate::swap::{Aim, Canary, Outcome, Proposal, Trial};
use crate::task::Task;
use crate::version::Version;
use crate::versions::Versions;

/// How long whoever asked for a swap waits for it at most; it goes on without them.
const PATIENCE: Duration = Duration::from_secs(120);

/// Every pipeline that runs in this process, by name.
#[derive(Default)]
pub struct Registry {
    /// For each name, its line of pipelines, first to last.
    pipelines: Mutex<BTreeMap<String, Vec<Arc<Handle>>>>,
    /// Those that were asked to begin.
    begun: Mutex<BTreeSet<String>>,
}

/// One pipeline of a line.
pub struct Handle {
    pub pipeline: Pipeline,
    /// The name of the line.
    pub of: String,
    pub versions: Versions,
    pub counters: Counters,
    paused: AtomicBool,
    /// How it ended, where it has. Whoever proposes something holds it, so that nothing is proposed to nobody.
    ended: Mutex<Option<Ended>>,
    /// By worker and partition.
    tasks: Mutex<BTreeMap<(usize, i32), TaskStatus>>,
    /// The canary that was asked for last.
    canary: Mutex<Option<Arc<Proposal>>>,
    pub questions: Questions,
}

/// What somebody wants to run instead.
pub struct Wanted {
    /// Which plugin is to be replaced: its name, or its place counted from 1. By default the one of the same name.
    pub plugin: Option<String>,
    pub component: Vec<u8>,
    /// `KEY=VALUE`, as on the command line, upon the settings of the present one.
    pub set: Vec<String>,
}

/// Why what was asked is not done. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such pipeline or plugin.
    #[error("{0}")]
    Unknown(String),
    /// Something else is under way.
    #[error("{0}")]
    Busy(String),
    /// Nobody is there any more to do it.
    #[error("{0}")]
    Ended(String),
    /// It would break what is there.
    #[error("{0}")]
    Unfit(String),
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error(transparent)]
    Log(#[from] crate::log::LogError),
}

impl Registry {
    pub fn add(&self, handle: &Arc<Handle>) {
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        pipelines.entry(handle.of.clone()).or_default().push(handle.clone());
    }

    /// All pipelines, by name.
    pub fn all(&self) -> Vec<Arc<Handle>> {
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).values().flatten().cloned().collect()
    }

    /// The line of that name.
    pub fn line(&self, name: &str) -> Result<Vec<Arc<Handle>>, Refused> {
        let pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        pipelines.get(name).cloned().ok_or_else(|| {
            let names: Vec<&str> = pipelines.keys().map(String::as_str).collect();
            Refused::Unknown(format!("no pipeline {name:?} runs here; there is {}", names.join(", ")))
        })
    }

    /// Lets a pipeline begin that waits to be asked.
    pub fn begin(&self, name: &str) {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    pub fn has_begun(&self, name: &str) -> bool {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// Asks the live state of a plugin in the line of that name; an answer for each partition, in their order.
    pub fn ask(&self, name: &str, plugin: &str, question: &str, time: Duration) -> Result<Vec<String>, Unanswered> {
        for handle in self.line(name).map_err(|error| Unanswered::Nobody(error.to_string()))? {
            let versions = handle.versions.current();
            if let Some(slot) = versions.iter().position(|version| version.plugin.description.name == plugin) {
                return handle.ask(slot, question, time);
            }
        }
        Err(Unanswered::Nobody(format!("pipeline {name} has no plugin {plugin} any more")))
    }

    /// Says what would change; and where, with what.
    pub fn plan(&self, name: &str, wanted: &Wanted) -> Result<(Plan, Change), Refused> {
        let line = self.line(name)?;
        let plugin = line[0].versions.engine().take_in(&wanted.component)?;
        let (handle, slot) = plan::place(&line, wanted.plugin.as_deref(), &plugin)?;
        handle.runs()?;
        let current = handle.versions.current();
        let settings = plan::settings(&current[slot].settings, &wanted.set)?;
        let Version { limits, number, .. } = &current[slot];
        let version = Version::new(plugin, settings, limits.clone(), *number)?;
        let plan = plan::plan(&handle, slot, &current, &version)?;
        let upon = current[slot].since();
        Ok((plan, Change { handle, slot, version, upon }))
    }
}

/// A change that was found to be possible.
pub struct Change {
    pub handle: Arc<Handle>,
    slot: usize,
    version: Version,
    /// Since when the version has been at work that it was planned for.
    upon: i64,
}

impl Change {
    /// Keeps the component, and lets the workers change over. Waits until they have, or have not.
    pub fn swap(self, component: &[u8], trial: Trial) -> Result<Outcome, Refused> {
        if let Some(longest) = self.handle.pipeline.longest_open().filter(|longest| trial.time > *longest) {
            return Err(Refused::Unfit(format!(
                "pipeline {}: a trial of {:?} holds a transaction open for longer than is safe; make it {longest:?} or less \
                 (--trial-time), or raise `transaction.timeout.ms` in [client]",
                self.handle.pipeline.name, trial.time
            )));
        }
        let proposal = self.propose(component, Aim::Swap(trial))?;
        if let Some(outcome) = proposal.wait(PATIENCE) {
            return Ok(outcome);
        }
        let reason = format!("no worker came to it within {PATIENCE:?}; is the pipeline stuck? It is called off");
        if !proposal.call_off(Outcome::Refused { reason }) {
            proposal.wait(PATIENCE);
        }
        self.handle.versions.changed();
        proposal.outcome().ok_or_else(|| {
            Refused::Busy(format!(
                "pipeline {}: the change is being committed, which takes long; see what comes of it: host status",
                self.handle.pipeline.name
            ))
        })
    }

    /// Keeps the component, and begins to compare it with the present version.
    pub fn canary(self, component: &[u8], canary: Canary) -> Result<(), Refused> {
        let proposal = self.propose(component, Aim::Canary(canary))?;
        *self.handle.canary() = Some(proposal);
        Ok(())
    }

    fn propose(&self, component: &[u8], aim: Aim) -> Result<Arc<Proposal>, Refused> {
        let Self { handle, slot, version, upon } = self;
        handle.runs()?;
        handle.versions.store().put(component)?;
        let version = Version { swapped: Some(handle.versions.swapped(*slot)), ..version.clone() };
        let proposal = Proposal::new(*slot, version, aim);
        handle.propose(&proposal)?;
        if ![*upon, proposal.version.since()].contains(&handle.versions.current()[*slot].since()) {
            let what = "another version was swapped in since this change was planned; look at it, and try again";
            proposal.conclude(Outcome::Refused { reason: what.to_owned() });
            handle.versions.changed();
            return Err(Refused::Busy(format!("pipeline {}: {what}", handle.pipeline.name)));
        }
        Ok(proposal)
    }
}

impl Handle {
    pub fn new(pipeline: &Pipeline, of: &str, versions: Versions, counters: Counters) -> Arc<Self> {
        Arc::new(Self {
            pipeline: pipeline.clone(),
            of: of.to_owned(),
            versions,
            counters,
            paused: AtomicBool::new(false),
            ended: Mutex::default(),
            tasks: Mutex::default(),
            canary: Mutex::default(),
            questions: Questions::default(),
        })
    }

    /// The place of a plugin among those of the whole line, counted from 1.
    pub fn place(&self, slot: usize) -> usize {
        let before = self.pipeline.line();
        let before = before.iter().take(before.len().saturating_sub(1));
        before.map(|stage| stage.plugins.len()).sum::<usize>() + slot + 1
    }

    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// While it is paused, no message is processed; what was is committed.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
    }

    /// It has ended: nobody does what is asked of it any more.
    pub fn end(&self, error: Option<String>) {
        let mut ended = self.ended();
        *ended = Some(Ended { error });
        let Some(proposal) = self.versions.proposal() else { return };
        if !proposal.call_off(Outcome::Refused { reason: "the pipeline has ended".to_owned() }) {
            let reason = "the pipeline has ended while it was committed; its next run shows which version holds";
            proposal.conclude(Outcome::Refused { reason: reason.to_owned() });
        }
    }

    /// Refuses where it has ended.
    pub fn runs(&self) -> Result<(), Refused> {
        self.still_runs(self.ended().as_ref())
    }

    fn still_runs(&self, ended: Option<&Ended>) -> Result<(), Refused> {
        let Some(Ended { error }) = ended else { return Ok(()) };
        let how = error.as_ref().map(|error| format!(" with an error: {error}")).unwrap_or_default();
        Err(Refused::Ended(format!("pipeline {} has ended{how}", self.pipeline.name)))
    }

    fn ended(&self) -> MutexGuard<'_, Option<Ended>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The canary that was asked for last, under way or ended.
    pub fn comparison(&self) -> Option<(Arc<Proposal>, crate::compare::Report)> {
        let proposal = self.canary().clone()?;
        let report = match proposal.outcome() {
            Some(Outcome::Compared(report)) => *report,
            _ => proposal.comparison().report(),
        };
        Some((proposal, report))
    }

    /// Ends the canary, if there is one.
    pub fn drop_canary(&self) -> Result<(), Refused> {
        let canary = self.canary().take().ok_or_else(|| self.no_canary())?;
        canary.conclude(Outcome::Dropped);
        self.versions.changed();
        Ok(())
    }

    /// Ends the canary, and swaps its version in.
    pub fn promote(self: &Arc<Self>, trial: Trial) -> Result<Answer, Refused> {
        let canary = self.canary().clone().ok_or_else(|| self.no_canary())?;
        self.runs()?;
        let (slot, version, current) = (canary.slot, canary.version.clone(), self.versions.current());
        let plan = plan::plan(self, slot, &current, &version)?;
        self.drop_canary()?;
        let component = self.versions.store().get(&version.plugin.hash)?;
        let upon = current[slot].since();
        let outcome = Change { handle: self.clone(), slot, version, upon }.swap(&component, trial)?;
        Ok(Answer { plan, outcome: Some(outcome) })
    }

    pub(super) fn no_canary(&self) -> Refused {
        let name = &self.of;
        Refused::Unknown(format!(
            "pipeline {name} has no canary; begin one with: host swap {name} NEW.wasm --canary 10000"
        ))
    }

    fn propose(&self, proposal: &Arc<Proposal>) -> Result<(), Refused> {
        let ended = self.ended();
        self.still_runs(ended.as_ref())?;
        self.versions.propose(proposal).map_err(|other| {
            let what = match other.aim {
                Aim::Swap(_) => "a swap is under way; wait for it",
                Aim::Canary(_) => "a canary is under way; end it with `host promote` or `host drop`",
            };
            Refused::Busy(format!("pipeline {}: {what}", self.pipeline.name))
        })
    }

    /// Whether any worker has a partition.
    pub fn has_tasks(&self) -> bool {
        !self.tasks.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Asks a plugin in every partition that is this host's.
    fn ask(&self, slot: usize, question: &str, time: Duration) -> Result<Vec<String>, Unanswered> {
        let there = || -> BTreeSet<i32> {
            let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.keys().map(|(_, partition)| *partition).collect()
        };
        let nobody = || self.runs().map_err(|error| Unanswered::Nobody(format!("{error}, and its live state with it")));
        self.questions.ask(slot, question, time, there, nobody)
    }

    /// What it ended with, where that was an error.
    pub fn failed(&self) -> Option<String> {
        self.ended().as_ref().and_then(|ended| ended.error.clone())
    }

    /// Tells how a task of a worker stands.
    pub fn tell(&self, worker: usize, partition: i32, task: &Task) {
        let status = TaskStatus {
            partition,
            next: task.last().map(|last| last.next),
            entries: task.entries(),
            plugins: task.versions().iter().map(short).collect(),
        };
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).insert((worker, partition), status);
    }

    /// Tells that a worker has none of these partitions any more; without any, none at all.
    pub fn forget(&self, worker: usize, partitions: Option<&[i32]>) {
        let gone = |key: &(usize, i32)| key.0 == worker && partitions.is_none_or(|gone| gone.contains(&key.1));
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| !gone(key));
    }

    pub fn status(&self) -> PipelineStatus {
        let plugin = |(slot, version): (usize, &Version)| PluginStatus {
            place: self.place(slot),
            name: version.plugin.description.name.clone(),
            version: version.plugin.description.version.clone(),
            hash: version.plugin.hash.to_string(),
            settings: version.settings.clone(),
            swapped: version.swapped.as_ref().map(|swapped| swapped.since),
        };
        let proposal = self.versions.proposal();
        let changing = proposal.as_ref().filter(|proposal| !proposal.is_done()).map(|proposal| {
            let what = match proposal.aim {
                Aim::Swap(_) => "swap",
                Aim::Canary(_) => "canary",
            };
            format!("{what} of plugin {} to {}", self.place(proposal.slot), short(&proposal.version))
        });
        let Pipeline { name, source, sink, delivery, .. } = &self.pipeline;
        PipelineStatus {
            name: name.clone(),
            of: self.of.clone(),
            paused: self.is_paused(),
            ended: self.ended().clone(),
            from: self.pipeline.reads().map_or_else(|| source.shown(), ToString::to_string),
            to: sink.to_string(),
            delivery: delivery.to_string(),
            plugins: self.versions.current().iter().enumerate().map(plugin).collect(),
            tasks: self.tasks.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect(),
            counters: self.counters.own(),
            changing,
            last_change: proposal.and_then(|proposal| proposal.outcome()),
        }
    }

    fn canary(&self) -> MutexGuard<'_, Option<Arc<Proposal>>> {
        self.canary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Name, version and the beginning of the hash.
fn short(version: &Version) -> String {
    format!("{} ({})", version.plugin.title(), &version.plugin.hash[..8])
}
