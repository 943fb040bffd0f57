//! What the control interface says, as JSON; the commands of the host read it in the same types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::swap::Outcome;

/// Everything that a host runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    pub process: u32,
    /// Seconds since it began.
    pub seconds: u64,
    pub pipelines: Vec<PipelineStatus>,
}

/// One pipeline; of a line of pipelines each has its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineStatus {
    pub name: String,
    /// The pipeline that it is part of: the name that a person knows.
    pub of: String,
    pub paused: bool,
    /// How it ended, where it has.
    pub ended: Option<Ended>,
    pub from: String,
    pub to: String,
    pub delivery: String,
    pub plugins: Vec<PluginStatus>,
    pub tasks: Vec<TaskStatus>,
    pub counters: BTreeMap<String, u64>,
    /// The change that is under way, in words, with the plugin's place.
    pub changing: Option<String>,
    /// What came of the last one.
    pub last_change: Option<Outcome>,
}

/// That nothing runs any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// What ended it; `None` where its input did, or it was asked to.
    pub error: Option<String>,
}

/// A plugin in force: the latest, to which every task comes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginStatus {
    /// Among those of the whole line, counted from 1: what `--plugin` takes.
    pub place: usize,
    pub name: String,
    pub version: String,
    pub hash: String,
    pub settings: serde_json::Value,
    /// Since when it runs instead of what the pipeline file says, in milliseconds since the Unix epoch.
    pub swapped: Option<i64>,
}

/// One partition that is this host's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskStatus {
    pub partition: i32,
    /// Everything before has had its effect.
    pub next: Option<i64>,
    /// Entries of state.
    pub entries: u64,
    /// Name, version and hash of each plugin that is at work, such as `flatten 1.0.0 (0123abcd)`.
    pub plugins: Vec<String>,
}

/// What runs, and what is kept so that it can run again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plugins {
    pub running: Vec<Running>,
    pub kept: Vec<Kept>,
}

/// A plugin in force, with the pipeline that it is part of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Running {
    pub pipeline: String,
    #[serde(flatten)]
    pub plugin: PluginStatus,
}

/// A component that was swapped in or tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub pipeline: String,
    /// SHA-256, in hexadecimal.
    pub hash: String,
    pub bytes: usize,
}

/// What a swap would change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub pipeline: String,
    /// The place of the plugin among those of the whole line, counted from 1.
    pub plugin: usize,
    /// Of each thing that changes: what it is, what it was, what it is to be.
    pub changes: Vec<(String, String, String)>,
}

/// The answer to a swap or a promotion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub plan: Plan,
    /// `None` where only the plan was asked for, or where a canary has begun.
    pub outcome: Option<Outcome>,
}

/// An error, with what to do about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    pub error: String,
}
