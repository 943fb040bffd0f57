//! `host run`: pipeline files, a thread for each, until all of them have ended.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use crate::cli::{Global, error_line, report};
use crate::config::values::{Period, Via};
use crate::config::{Error, Overrides, Pipeline, Sink, Until, error};
use crate::error::{Fault, is_broken_pipe};
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
  host run pipelines/iss-csv.toml pipelines/flights.toml";

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
    #[command(flatten)]
    length: Length,
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
}

impl Run {
    pub(super) fn run(self, global: Global) -> anyhow::Result<()> {
        let overrides = Overrides {
            from: self.from,
            via: self.via,
            to: self.to,
            every: self.every,
            until: self.length.until(),
            log: self.log,
        };
        let several = self.files.len() > 1;
        for (flag, given) in [
            ("--from", overrides.from.is_some()),
            ("--via", overrides.via.is_some()),
            ("--to", overrides.to.is_some()),
        ] {
            if several && given {
                return Err(Error::Arguments(format!(
                    "{flag} is for one pipeline, and there are {} files; run that one alone",
                    self.files.len()
                ))
                .into());
            }
        }
        let pipelines = self
            .files
            .iter()
            .map(|file| Pipeline::read(file)?.with(&overrides))
            .collect::<Result<Vec<_>, _>>()?;
        for (i, pipeline) in pipelines.iter().enumerate() {
            if let Some(j) = pipelines[..i]
                .iter()
                .position(|other| other.name == pipeline.name)
            {
                let (one, other) = (self.files[j].display(), self.files[i].display());
                return Err(Error::Arguments(format!(
                    "{one} and {other} are both named \"{}\"; give one of them another `name`",
                    pipeline.name
                ))
                .into());
            }
        }
        run(&pipelines, global)
    }
}

impl Length {
    fn until(&self) -> Option<Until> {
        let orbits = self.orbit.map(|n| ORBIT * u32::from(n));
        let minutes = self.minutes.map(|n| Duration::from_secs(60) * n);
        self.duration
            .map(|period| period.0)
            .or(orbits)
            .or(minutes)
            .map(Until::Elapsed)
    }
}

/// Runs pipelines side by side. When one fails the others go on; the worst error is returned.
pub(super) fn run(pipelines: &[Pipeline], global: Global) -> anyhow::Result<()> {
    pipelines.iter().try_for_each(plugins_exist)?;
    let engine = Engine::new()?;
    let runs: Vec<_> = pipelines
        .iter()
        .map(|pipeline| (pipeline, Counters::default(), Stop::default()))
        .collect();
    let _on_signal = OnSignal::request(runs.iter().map(|(_, _, stop)| stop.clone()).collect())?;
    let style = if global.json || global.quiet {
        Style::Silent
    } else {
        Style::fitting(
            pipelines
                .iter()
                .any(|pipeline| pipeline.sink == Sink::Stdout),
        )
    };
    let shown = runs
        .iter()
        .map(|(pipeline, counters, _)| (pipeline.name.clone(), counters.clone()))
        .collect();
    let progress = Progress::start(shown, style)?;

    let start = Instant::now();
    let results: Vec<anyhow::Result<()>> = std::thread::scope(|scope| {
        let one = |(pipeline, counters, stop)| {
            move |engine: &Engine| crate::run::run(pipeline, engine, counters, stop)
        };
        let threads: Vec<_> = runs
            .iter()
            .map(|(pipeline, counters, stop)| {
                let (engine, one) = (&engine, one((pipeline, counters, stop)));
                std::thread::Builder::new()
                    .name(pipeline.name.clone())
                    .spawn_scoped(scope, move || one(engine))
            })
            .collect();
        let join =
            |thread: std::io::Result<std::thread::ScopedJoinHandle<'_, anyhow::Result<()>>>| {
                thread?.join().unwrap_or_else(|_| {
                    Err(anyhow::anyhow!(
                        "the host itself failed (a panic, told above); please report it"
                    ))
                })
            };
        threads.into_iter().map(join).collect()
    });
    drop(progress);
    let elapsed = start.elapsed();

    let mut worst: Option<anyhow::Error> = None;
    for ((pipeline, counters, _), result) in runs.iter().zip(results) {
        let result = result.or_else(|error| {
            if is_broken_pipe(&error) {
                Ok(())
            } else {
                Err(error)
            }
        });
        summarise(
            &pipeline.name,
            counters,
            elapsed,
            result.as_ref().err(),
            global,
        );
        let Err(error) = result else { continue };
        let error = if pipelines.len() > 1 {
            error.context(format!("pipeline {}", pipeline.name))
        } else {
            error
        };
        // Only the last error reaches `main`; the others are told here.
        match worst.take() {
            None => worst = Some(error),
            Some(other) => {
                let (told, kept) = if Fault::of(&error) > Fault::of(&other) {
                    (other, error)
                } else {
                    (error, other)
                };
                report(&told, global.json);
                worst = Some(kept);
            }
        }
    }
    worst.map_or(Ok(()), Err)
}

fn summarise(
    name: &str,
    counters: &Counters,
    elapsed: Duration,
    error: Option<&anyhow::Error>,
    global: Global,
) {
    if global.json {
        let error = error.map(|error| format!("{error:#}"));
        error_line(&summary_json(name, counters, elapsed, error.as_deref()));
    } else if !global.quiet {
        error_line(&summary(name, counters, elapsed));
    }
}

/// That every plugin file is there: told before anything is compiled, with the nearest name.
pub(super) fn plugins_exist(pipeline: &Pipeline) -> Result<(), Error> {
    pipeline
        .plugins
        .iter()
        .try_for_each(|plugin| match std::fs::metadata(&plugin.path) {
            Ok(_) => Ok(()),
            Err(error) => match error::unreadable(&plugin.path, &error) {
                Error::File(text) => Err(Error::File(format!(
                    "plugin {text}; the plugins of this project are built with: cargo xtask plugins"
                ))),
                other => Err(other),
            },
        })
}
