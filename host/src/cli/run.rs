//! `host run`: pipeline files, a thread for each, until all of them have ended.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use crate::cli::control::Listen;
use crate::cli::watch::Watching;
use crate::cli::{Global, error_line, worse};
use crate::config::values::{Period, Via};
use crate::config::{Delivery, Error, Overrides, Pipeline, Sink, Until, error};
use crate::control::handle::Registry;
use crate::control::server::Server;
use crate::error::is_broken_pipe;
use crate::metrics::Counters;
use crate::plugin::Engine;
use crate::progress::{Progress, Style, summary, summary_json};
use crate::stop::{OnSignal, Stop};
use crate::uri::{SinkUri, SourceUri};

const EXAMPLES: &str = "\
Examples:
  host run pipelines/iss-csv.toml
  host run pipelines/iss-csv.toml --from sim:iss --via kafka:///iss-location --minutes 10
  host run pipelines/iss-csv.toml --orbit 1
  host run pipelines/iss-csv.toml --from kafka://localhost:9092/iss-location --workers 4
      Four threads share the topic's partitions; the same command on another machine takes its part of them
  host run pipelines/iss-s3.toml --from sim:iss --via kafka:///iss --to parquet:out/iss
      What the file sends to a bucket goes into a directory; with s3://BUCKET/PATH, into another bucket
  host run pipelines/iss-csv.toml pipelines/iss-windows.toml --watch
      Two pipelines; each plugin is swapped whenever its file changes
  host run pipelines/iss-csv.toml --control 127.0.0.1:7070 --control-token token
      Also asked over HTTP, by who shows what is in the file: host status --control http://127.0.0.1:7070
      --control-token token";

/// How long the station takes around the Earth.
const ORBIT: Duration = Duration::from_secs(95 * 60);

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    /// Pipeline files; several run side by side
    #[arg(required = true, value_name = "FILE.toml")]
    files: Vec<PathBuf>,
    /// Read from here instead
    #[arg(long, value_name = "URI")]
    from: Option<SourceUri>,
    /// Go through this topic instead, or "none"
    #[arg(long, value_name = "URI|none")]
    via: Option<Via>,
    /// Write here instead
    #[arg(long, value_name = "URI")]
    to: Option<SinkUri>,
    /// Time from one poll to the next, such as 5s
    #[arg(long, value_name = "DURATION")]
    every: Option<Period>,
    /// The file of the embedded log
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Threads that share the partitions of topics in Kafka
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    workers: Option<u32>,
    /// "exactly-once" (where it is possible, the default) or "at-least-once"
    #[arg(long, value_name = "HOW")]
    delivery: Option<Delivery>,
    #[command(flatten)]
    length: Length,
    #[command(flatten)]
    listen: Listen,
}

/// How long to run; by default what the file says.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Length {
    /// End after this time, such as 95m
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<Period>,
    /// End after so many orbits of the ISS, 95 minutes each
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=5_000))]
    orbit: Option<u16>,
    /// End after so many minutes
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u32).range(1..=500_000))]
    minutes: Option<u32>,
    /// "end" of what there is now, "stopped" by a signal, or a duration
    #[arg(long, value_name = "WHEN")]
    until: Option<Until>,
}

impl Run {
    pub(super) fn run(self, global: Global) -> anyhow::Result<()> {
        let overrides = Overrides {
            from: self.from,
            via: self.via,
            to: self.to,
            every: self.every,
            until: self.length.until(),
            workers: self.workers.map(|workers| workers as usize),
            delivery: self.delivery,
            log: self.log,
        };
        let several = self.files.len() > 1;
        for (flag, given) in
            [("--from", overrides.from.is_some()), ("--via", overrides.via.is_some()), ("--to", overrides.to.is_some())]
        {
            if several && given {
                return Err(Error::Arguments(format!(
                    "{flag} is for one pipeline, and there are {} files; run that one alone",
                    self.files.len()
                ))
                .into());
            }
        }
        let pipelines =
            self.files.iter().map(|file| Pipeline::read(file, &overrides)).collect::<Result<Vec<_>, _>>()?;
        for (i, pipeline) in pipelines.iter().enumerate() {
            if let Some(j) = pipelines[..i].iter().position(|other| other.name == pipeline.name) {
                let (one, other) = (self.files[j].display(), self.files[i].display());
                return Err(Error::Arguments(format!(
                    "{one} and {other} are both named \"{}\"; give one of them another `name`",
                    pipeline.name
                ))
                .into());
            }
        }
        run(&pipelines, &self.listen, global)
    }
}

impl Length {
    fn until(&self) -> Option<Until> {
        let orbits = self.orbit.map(|n| ORBIT * u32::from(n));
        let minutes = self.minutes.map(|n| Duration::from_secs(60) * n);
        self.duration.map(|period| period.0).or(orbits).or(minutes).map(Until::Elapsed).or_else(|| self.until.clone())
    }
}

/// Runs pipelines side by side. When one fails the others go on; the worst error is returned.
pub(super) fn run(pipelines: &[Pipeline], listen: &Listen, global: Global) -> anyhow::Result<()> {
    let network = listen.network()?;
    pipelines.iter().try_for_each(plugins_exist)?;
    let engine = Engine::new()?;
    let runs: Vec<_> = pipelines.iter().map(|pipeline| (pipeline, Counters::default(), Stop::default())).collect();
    let _on_signal = OnSignal::request(runs.iter().map(|(_, _, stop)| stop.clone()).collect())?;
    let style = if global.json || global.quiet {
        Style::Silent
    } else {
        Style::fitting(pipelines.iter().any(|pipeline| pipeline.sink == Sink::Stdout))
    };
    let shown = runs.iter().map(|(pipeline, counters, _)| (pipeline.name.clone(), counters.clone())).collect();
    let progress = Progress::start(shown, style)?;

    let registry = Arc::new(Registry::default());
    let _server = Server::control(&registry, network)?;
    let _queries =
        pipelines.iter().map(|pipeline| crate::query::serve(pipeline, &registry)).collect::<Result<Vec<_>, _>>()?;
    let _watching = listen.watch.then(|| Watching::start(pipelines, &registry)).transpose()?;
    let start = Instant::now();
    let results = together(&runs, &engine, &registry);
    drop(progress);
    conclude(&runs, results, start.elapsed(), global)?;
    // What was found out can still be asked.
    let stays = |pipeline: &Pipeline| pipeline.queries.as_ref().is_some_and(|queries| queries.stay);
    for (_, _, stop) in runs.iter().filter(|(pipeline, ..)| stays(pipeline)) {
        stop.wait();
    }
    Ok(())
}

/// A pipeline with what it counts and how it is asked to stop.
type Started<'a> = (&'a Pipeline, Counters, Stop);

/// Runs each pipeline in a thread of its own, until all have ended.
fn together(runs: &[Started<'_>], engine: &Engine, registry: &Registry) -> Vec<anyhow::Result<()>> {
    let panicked = "the host itself failed (a panic, told above); please report it";
    std::thread::scope(|scope| {
        let start = |started| {
            let (pipeline, counters, stop): &Started<'_> = started;
            std::thread::Builder::new()
                .name(pipeline.name.clone())
                .spawn_scoped(scope, move || crate::run::run(pipeline, engine, counters, stop, registry))
        };
        let threads: Vec<_> = runs.iter().map(start).collect();
        threads.into_iter().map(|thread| thread?.join().unwrap_or_else(|_| Err(anyhow::anyhow!(panicked)))).collect()
    })
}

/// Tells how each pipeline ended; the worst error is returned, the others are told here.
fn conclude(
    runs: &[Started<'_>],
    results: Vec<anyhow::Result<()>>,
    elapsed: Duration,
    global: Global,
) -> anyhow::Result<()> {
    let mut worst = None;
    for ((pipeline, counters, _), result) in runs.iter().zip(results) {
        let error = result.err().filter(|error| !is_broken_pipe(error));
        summarise(&pipeline.name, counters, elapsed, error.as_ref(), global);
        worst = match error {
            Some(error) if runs.len() > 1 => {
                let error = error.context(format!("pipeline {}", pipeline.name));
                Some(worse(worst, error, global.json))
            }
            Some(error) => Some(error),
            None => worst,
        };
    }
    worst.map_or(Ok(()), Err)
}

fn summarise(name: &str, counters: &Counters, elapsed: Duration, error: Option<&anyhow::Error>, global: Global) {
    if global.json {
        let error = error.map(|error| format!("{error:#}"));
        error_line(&summary_json(name, counters, elapsed, error.as_deref()));
    } else if !global.quiet {
        error_line(&summary(name, counters, elapsed));
    }
}

/// That every plugin file is there: told before anything is compiled, with the nearest name.
pub(super) fn plugins_exist(pipeline: &Pipeline) -> Result<(), Error> {
    let mut plugins = pipeline.line().into_iter().flat_map(|stage| &stage.plugins);
    plugins.try_for_each(|plugin| match std::fs::metadata(&plugin.path) {
        Ok(_) => Ok(()),
        Err(error) => match error::unreadable(&plugin.path, &error) {
            Error::File(text) => Err(Error::File(format!(
                "plugin {text}; the plugins of this project are built with: cargo xtask plugins"
            ))),
            other => Err(other),
        },
    })
}
