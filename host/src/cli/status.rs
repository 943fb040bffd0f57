//! `host status`, `pause`, `resume` and `plugin list`: what runs, and whether it is to.

use std::io::{self, Write};

use clap::Args;

use crate::cli::control::Reach;
use crate::cli::{Global, printable};
use crate::control::api::{Ended, PipelineStatus, PluginStatus, Plugins, Status as Running, TaskStatus};
use crate::swap::Outcome;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  host status\n  host status iss-csv --json")]
pub(super) struct Status {
    /// Only this pipeline
    pipeline: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

impl Status {
    pub(super) fn run(self, global: Global) -> anyhow::Result<()> {
        let hosts = match &self.pipeline {
            Some(pipeline) => self.reach.running(pipeline)?,
            None => self.reach.hosts()?,
        };
        let mut out = io::stdout().lock();
        for (_, mut status) in hosts {
            status.pipelines.retain(|found| self.pipeline.as_ref().is_none_or(|asked| found.of == *asked));
            if global.json {
                writeln!(out, "{}", serde_json::to_string(&status)?)?;
            } else {
                show(&status, &mut out)?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Pause {
    /// The pipeline's name
    pipeline: String,
    #[command(flatten)]
    reach: Reach,
}

impl Pause {
    pub(super) fn run(self, paused: bool, global: Global) -> anyhow::Result<()> {
        let what = if paused { "pause" } else { "resume" };
        let path = ["pipelines", &self.pipeline, what];
        let mut out = io::stdout().lock();
        for pipelines in self.reach.each(&self.pipeline, |host| host.post::<Vec<PipelineStatus>>(&path, &[], None))? {
            if global.json {
                writeln!(out, "{}", serde_json::to_string(&pipelines)?)?;
            } else {
                let outcome =
                    if paused { "pauses; go on with: host resume" } else { "goes on; stop again: host pause" };
                writeln!(out, "{} {outcome} {}", printable(&self.pipeline), printable(&self.pipeline))?;
            }
        }
        Ok(())
    }
}

/// What runs, and what is kept to run again.
pub(super) fn plugins(reach: &Reach, global: Global) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    for (host, status) in reach.hosts()? {
        let plugins: Plugins = host.get(&["plugins"])?;
        if global.json {
            writeln!(out, "{}", serde_json::to_string(&plugins)?)?;
            continue;
        }
        writeln!(out, "host {}", status.process)?;
        for running in &plugins.running {
            writeln!(out, "  {}  runs  {}", printable(&running.pipeline), title(&running.plugin))?;
        }
        for kept in &plugins.kept {
            let (pipeline, hash) = (printable(&kept.pipeline), printable(&kept.hash));
            writeln!(out, "  {pipeline}  keeps  {hash}  {} bytes", kept.bytes)?;
        }
    }
    Ok(())
}

fn show(status: &Running, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "host {}, version {}, for {} s", status.process, printable(&status.version), status.seconds)?;
    for pipeline in &status.pipelines {
        let PipelineStatus { name, from, to, delivery, .. } = pipeline;
        let state = match &pipeline.ended {
            None if pipeline.paused => "paused",
            None => "running",
            Some(Ended { error: None }) => "ended",
            Some(Ended { error: Some(_) }) => "failed",
        };
        let (name, from, to) = (printable(name), printable(from), printable(to));
        writeln!(out, "\n{name}  {state}  {from} -> {to}  {}", printable(delivery))?;
        if let Some(Ended { error: Some(error) }) = &pipeline.ended {
            writeln!(out, "  {}", printable(error))?;
        }
        for plugin in &pipeline.plugins {
            writeln!(out, "  plugin {}  {}", plugin.place, title(plugin))?;
        }
        if let Some(changing) = &pipeline.changing {
            writeln!(out, "  under way: {}", printable(changing))?;
        }
        if let Some(outcome) = &pipeline.last_change {
            writeln!(out, "  last change: {}", words(outcome))?;
        }
        for TaskStatus { partition, next, entries, plugins } in &pipeline.tasks {
            let next = next.map_or("the beginning".to_owned(), |next| next.to_string());
            let plugins = printable(&plugins.join(", "));
            writeln!(out, "  partition {partition}  at {next}  {entries} entries of state  {plugins}")?;
        }
        for (name, count) in &pipeline.counters {
            writeln!(out, "  {}  {count}", printable(name))?;
        }
    }
    Ok(())
}

fn title(plugin: &PluginStatus) -> String {
    let hash: String = plugin.hash.chars().take(8).collect();
    let title = printable(&format!("{} {} ({hash})", plugin.name, plugin.version));
    match plugin.swapped.and_then(|since| jiff::Timestamp::from_millisecond(since).ok()) {
        Some(since) => format!("{title}, swapped in at {since:.0}"),
        None => title,
    }
}

/// What came of a change.
pub(super) fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Adopted { pause, messages } => {
            format!("adopted after {messages} messages; the pause was {:.1} ms", *pause as f64 / 1000.0)
        }
        Outcome::RolledBack { reason } => format!("rolled back, the version before runs on: {}", printable(reason)),
        Outcome::Refused { reason } => format!("refused, the version before runs on: {}", printable(reason)),
        Outcome::Compared(report) => format!("compared over {} messages", report.messages),
        Outcome::Dropped => "called off".to_owned(),
    }
}
