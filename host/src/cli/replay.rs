//! `host replay`: messages that were kept, put through a plugin again, or through two versions that are compared; and a
//! dead letter again. Reads outside of any group, and writes nothing but to standard output.
//!
//! A plugin starts without state in each partition, and all that waits for a time is due at the end.

mod again;
mod history;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;

use crate::cli::dead::At;
use crate::cli::topics::LogFile;
use crate::cli::{Global, error_line, printable};
use crate::compare::Comparison;
use crate::config::set;
use crate::message::{Batch, Fetch};
use crate::metrics::Counters;
use crate::plugin::{Engine, Instance, Limits, Output, PluginError};
use crate::progress::{Progress, Style, summary, summary_json};
use crate::sink::stdout;
use crate::task::END;
use crate::version::Version;

pub(super) use again::Again;
use history::{History, HistoryUri};

const EXAMPLES: &str = "\
Examples:
  host replay --from kafka://localhost:9092/iss@1000..2000 --plugin old.wasm --against new.wasm
      What two versions make of the same messages: equal, changed, added, missing, rejected, and the first differences
  host replay --from kafka:///iss --plugin flatten.wasm --set separator=. --json
      All of a topic through one plugin, as JSON lines
  host replay --dead kafka:///iss.dead@17
      A dead letter: does it still fail, and in the same way?
  host replay --dead jsonl:dead.jsonl@3 --plugin mended.wasm

Exit codes: 0 nothing differs (a dead letter goes through), 1 something differs (it fails again) or a plugin failed,
2 wrong command line or plugin, 3 something outside is missing.";

/// How many rejections are shown.
const SHOWN: usize = 10;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Replay {
    /// What to put through: kafka://BROKER/TOPIC or kafka:///TOPIC (embedded log), with @A..B the offsets from A up to
    /// and without B of every partition (both may be left out), or file:PATH
    #[arg(
        long,
        value_name = "URI[@A..B]",
        required_unless_present = "dead",
        conflicts_with = "dead",
        requires = "plugin"
    )]
    from: Option<HistoryUri>,
    /// Only this partition [default: all of --from, one after the other; 0 of --dead]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// A dead letter: kafka://BROKER/TOPIC@OFFSET, kafka:///TOPIC@OFFSET or jsonl:PATH@LINE, lines counted from 1
    #[arg(long, value_name = "URI@OFFSET")]
    dead: Option<At>,
    /// The plugin; of a dead letter, instead of the one that failed [default: the one of the letter's hash]
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// A setting of the plugin, JSON or text; of a dead letter, upon those that it tells
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The version to compare it with: the new one, where --plugin is the old one
    #[arg(long, value_name = "FILE", conflicts_with = "dead")]
    against: Option<PathBuf>,
    /// A setting of the version to compare it with, upon those of --set
    #[arg(long, value_name = "KEY=VALUE", requires = "against")]
    set_against: Vec<String>,
    /// Of a dead letter: the group whose plugins are looked through [default: that of the pipeline's name]
    #[arg(long, value_name = "NAME", requires = "dead")]
    group: Option<String>,
    #[command(flatten)]
    file: LogFile,
}

impl Replay {
    pub(super) fn run(self, global: Global) -> anyhow::Result<()> {
        if let Some(at) = self.dead {
            let at = At { partition: self.partition.unwrap_or(0), ..at };
            return Again { at, plugin: self.plugin, set: self.set, group: self.group, file: self.file }.run(global);
        }
        let (Some(from), Some(plugin)) = (&self.from, &self.plugin) else {
            anyhow::bail!("--from and --plugin are missing")
        };
        let engine = Engine::new()?;
        let load = |path, settings| {
            let plugin = engine.load(path)?;
            Version::new(plugin, serde_json::Value::Object(settings), Limits::default(), 0)
        };
        let settings = set::settings(&self.set)?;
        let old = load(plugin, settings.clone())?;
        let new = match &self.against {
            None => None,
            Some(path) => {
                let mut settings = settings;
                settings.extend(set::settings(&self.set_against)?);
                Some(load(path, settings)?)
            }
        };
        let mut history = History::open(from, self.partition, &self.file)?;
        let counters = Counters::default();
        let style = if global.json || global.quiet { Style::Silent } else { Style::fitting(new.is_none()) };
        let progress = Progress::start(vec![("replay".to_owned(), counters.clone())], style)?;
        match new {
            Some(new) => compare(&mut history, &old, &new, &counters, progress, global),
            None => print(&mut history, &old, &counters, progress, global),
        }
    }
}

/// Shows what a plugin makes of all messages, and what it rejects.
fn print(
    history: &mut History,
    version: &Version,
    counters: &Counters,
    progress: Progress,
    global: Global,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut rejected = Vec::new();
    while let Some(partition) = history.next_partition() {
        let mut instance = version.open()?;
        while let Some(fetch) = history.next()? {
            count(counters, &fetch);
            let Output { messages, rejected: own, .. } =
                process(&mut instance, &fetch).with_context(|| place(&fetch))?;
            counters.add("rejected by the plugin", own.len() as u64);
            let room = SHOWN - rejected.len();
            rejected.extend(own.into_iter().take(room).map(|rejection| {
                let offset = fetch.offsets[rejection.message as usize];
                format!("partition {partition} offset {offset} is rejected: {}", printable(&rejection.reason))
            }));
            write(&messages, counters)?;
            pass_over_changes(&mut instance)?;
        }
        write(&instance.advance(END).with_context(|| format!("partition {partition}, at the end"))?, counters)?;
    }
    drop(progress);
    let elapsed = start.elapsed();
    if global.json {
        error_line(&summary_json("replay", counters, elapsed, None));
    } else if !global.quiet {
        rejected.iter().for_each(|line| error_line(line));
        error_line(&summary("replay", counters, elapsed));
    }
    Ok(())
}

fn process(instance: &mut Instance, fetch: &Fetch) -> Result<Output, PluginError> {
    instance.locate(fetch.partition, &fetch.offsets)?;
    instance.process(&fetch.batch)
}

fn write(batch: &Batch, counters: &Counters) -> io::Result<()> {
    let mut lines = Vec::new();
    batch.values.iter().for_each(|value| stdout::line(value, &mut lines));
    counters.add("messages out", batch.len() as u64);
    io::stdout().lock().write_all(&lines)
}

/// Shows in what two versions differ; an error where they do.
fn compare(
    history: &mut History,
    old: &Version,
    new: &Version,
    counters: &Counters,
    progress: Progress,
    global: Global,
) -> anyhow::Result<()> {
    let mut comparison = Comparison::new();
    let who = |version: &Version| (version.plugin.title(), version.plugin.hash.to_string());
    comparison.between(who(old), who(new));
    while let Some(partition) = history.next_partition() {
        let (mut one, mut other) = (old.open()?, new.open()?);
        let failed = |comparison: &mut Comparison, place: String, error: PluginError| {
            comparison.failed(&format!("{place}: {error}"));
        };
        while let Some(fetch) = history.next()?.filter(|_| !comparison.has_failed()) {
            count(counters, &fetch);
            let (from_old, took_old) = timed(|| process(&mut one, &fetch));
            let from_old = from_old.with_context(|| place(&fetch))?;
            match timed(|| process(&mut other, &fetch)) {
                (Ok(from_new), took_new) => {
                    comparison.output(partition, &fetch.batch, &fetch.offsets, &from_old, &from_new);
                    comparison.took(fetch.batch.len(), took_old, took_new);
                    comparison.memory(one.memory(), other.memory());
                    pass_over_changes(&mut other).unwrap_or_else(|e| failed(&mut comparison, place(&fetch), e));
                }
                (Err(error), _) => failed(&mut comparison, place(&fetch), error),
            }
            pass_over_changes(&mut one)?;
        }
        if comparison.has_failed() {
            break;
        }
        let at_the_end = || format!("partition {partition}, at the end");
        let from_old = one.advance(END).with_context(at_the_end)?;
        match other.advance(END) {
            Ok(from_new) => comparison.advanced(partition, &from_old, &from_new),
            Err(error) => failed(&mut comparison, at_the_end(), error),
        }
    }
    drop(progress);
    let report = comparison.report();
    let mut out = io::stdout().lock();
    if global.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        write!(out, "{report}")?;
    }
    anyhow::ensure!(!report.differs(), "the two do not make the same of these messages");
    Ok(())
}

fn count(counters: &Counters, fetch: &Fetch) {
    counters.add("messages in", (fetch.batch.len() + fetch.rejected.len()) as u64);
    for rejected in &fetch.rejected {
        counters.add(&format!("rejected by source: {}", rejected.cause), 1);
    }
}

/// Where a batch came from.
fn place(fetch: &Fetch) -> String {
    let (first, last) = (fetch.first(), fetch.offsets.last().copied().unwrap_or(fetch.next));
    format!("partition {}, among the offsets {first} to {last}", fetch.partition)
}

fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let made = call();
    (made, start.elapsed())
}

/// Nobody keeps what changed in the state; it must not pile up.
fn pass_over_changes(instance: &mut Instance) -> Result<(), PluginError> {
    while instance.changes()?.is_some() {}
    Ok(())
}
