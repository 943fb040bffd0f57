//! `host swap`, `canary`, `promote` and `drop`: another version of a plugin in a stream that runs.

use std::io::{self, Write};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::cli::control::Reach;
use crate::cli::status::words;
use crate::cli::watch::{LOOK, Watched};
use crate::cli::{Global, error_line, printable, report};
use crate::compare::Report;
use crate::config::error::unreadable;
use crate::config::values::{Period, ValueError};
use crate::control::api::{Answer, PipelineStatus, Plan, Status};
use crate::control::client::{ClientError, Host};
use crate::stop::{OnSignal, Stop};
use crate::swap;

const EXAMPLES: &str = "\
Examples:
  host swap iss-csv flatten-2.wasm --plan
      What would change, and whether it may
  host swap iss-csv flatten-2.wasm --set separator=.
      Changes over, if the new version proves itself on the first 1,000 messages
  host swap iss-csv flatten-2.wasm --canary 10000
      Both see the next 10,000 messages, and only the old one's output counts; look with: host canary iss-csv
  host swap iss-csv target/flatten.wasm --watch
      Swaps each time that the file changes

Exit codes: 0 the new version is at work, 1 it was rolled back, 2 refused, 3 no host runs that pipeline.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Swap {
    /// The pipeline's name
    pipeline: String,
    /// The component to run from now on
    #[arg(value_name = "NEW.wasm")]
    component: PathBuf,
    /// Which plugin it replaces: a name, or a place counted from 1 [default: the one of the same name]
    #[arg(long, value_name = "NAME|N")]
    plugin: Option<String>,
    /// A setting that is to be another one, JSON or text
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Only compare it with the present version, over so many messages or so long
    #[arg(long, value_name = "N|DURATION", conflicts_with = "watch")]
    canary: Option<Canary>,
    #[command(flatten)]
    trial: Trial,
    /// Only say what would change
    #[arg(long, conflicts_with = "watch")]
    plan: bool,
    /// Swap again each time that the file changes, until Ctrl-C
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    reach: Reach,
}

/// When the new version has proved itself.
#[derive(Debug, Args)]
struct Trial {
    /// The new version has proved itself after so many messages [default: 1000] …
    #[arg(long, value_name = "N")]
    trial: Option<u64>,
    /// … or after this long, at most 60s [default: 1s]; until then its output is held back
    #[arg(long, value_name = "DURATION")]
    trial_time: Option<Period>,
    /// The most that it may reject beyond the old one, from 0 to 1 [default: 0.1]
    #[arg(long, value_name = "SHARE")]
    rejects: Option<f64>,
}

/// How long two versions are compared.
#[derive(Debug, Clone, Copy)]
struct Canary(swap::Canary);

impl FromStr for Canary {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.parse() {
            Ok(messages) => Ok(Self(swap::Canary::Messages(messages))),
            Err(_) => match text.parse() {
                Ok(Period(time)) => Ok(Self(swap::Canary::Time(time))),
                Err(ValueError(what)) => Err(ValueError(format!("{what}; or a number of messages, such as 10000"))),
            },
        }
    }
}

type Query = Vec<(&'static str, String)>;

impl Swap {
    pub(super) fn run(self, global: Global) -> anyhow::Result<()> {
        if self.watch {
            return self.keep_swapping(global);
        }
        let component = std::fs::read(&self.component).map_err(|error| unreadable(&self.component, &error))?;
        self.swap(&component, global)
    }

    /// Asks each host in turn, and stops where one does not come to run the new version.
    fn swap(&self, component: &[u8], global: Global) -> anyhow::Result<()> {
        let mut hosts = self.reach.running(&self.pipeline)?;
        // Whoever has no partition gets the version with the first one that comes.
        let has_some = |(_, status): &(Host, Status)| has_partitions(status, &self.pipeline);
        if self.canary.is_none() && hosts.iter().any(has_some) {
            hosts.retain(has_some);
        }
        for (number, (host, _)) in hosts.iter().enumerate() {
            self.swap_at(host, component, global).map_err(|error| match number {
                0 => error,
                done => error.context(format!(
                    "{} of {} hosts run the new version, {} does not; see: host status {}",
                    done,
                    hosts.len(),
                    host.name,
                    self.pipeline
                )),
            })?;
        }
        Ok(())
    }

    fn swap_at(&self, host: &Host, component: &[u8], global: Global) -> anyhow::Result<()> {
        let mut query = self.trial.query();
        query.extend(self.plugin.iter().map(|plugin| ("plugin", plugin.clone())));
        query.extend(self.set.iter().map(|set| ("set", set.clone())));
        let what = match self.canary {
            Some(Canary(swap::Canary::Messages(messages))) => {
                query.push(("messages", messages.to_string()));
                "canary"
            }
            Some(Canary(swap::Canary::Time(time))) => {
                query.push(("ms", time.as_millis().to_string()));
                "canary"
            }
            None => "swap",
        };
        let path = ["pipelines", self.pipeline.as_str(), what];
        if self.plan || !global.json {
            let only = [query.as_slice(), &[("plan", "true".to_owned())]].concat();
            let answer: Answer = host.post(&path, &only, Some(component))?;
            if global.json {
                writeln!(io::stdout(), "{}", serde_json::to_string(&answer)?)?;
            } else {
                show(&answer.plan)?;
            }
        }
        if self.plan {
            return Ok(());
        }
        if !global.json && !global.quiet && self.canary.is_none() {
            error_line(&format!("trying it at {} …", host.name));
        }
        let answer: Answer = host.post(&path, &query, Some(component))?;
        conclude(&answer, &self.pipeline, global)
    }

    /// The file is swapped in as it is, and then each time that it changes.
    fn keep_swapping(&self, global: Global) -> anyhow::Result<()> {
        let stop = Stop::default();
        let _on_signal = OnSignal::request(vec![stop.clone()])?;
        let mut file = Watched::new(&self.component);
        std::fs::metadata(&file.path).map_err(|error| unreadable(&file.path, &error))?;
        while !stop.requested() {
            if let Some(component) = file.look()
                && let Err(error) = self.swap(&component, global)
            {
                report(&error, global.json);
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Trial {
    fn query(&self) -> Query {
        let mut query = Vec::new();
        query.extend(self.trial.map(|messages| ("trial", messages.to_string())));
        query.extend(self.trial_time.map(|Period(time)| ("trial_ms", time.as_millis().to_string())));
        query.extend(self.rejects.map(|rejects| ("rejects", rejects.to_string())));
        query
    }
}

#[derive(Debug, Args)]
pub(super) struct OfCanary {
    /// The pipeline's name
    pipeline: String,
    #[command(flatten)]
    reach: Reach,
}

impl OfCanary {
    /// What has been seen so far.
    pub(super) fn report(self, global: Global) -> anyhow::Result<()> {
        let path = ["pipelines", self.pipeline.as_str(), "canary"];
        for report in self.reach.each(&self.pipeline, |host| host.get::<Report>(&path))? {
            if global.json {
                writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)?;
            } else {
                write!(io::stdout(), "{report}")?;
            }
        }
        Ok(())
    }

    pub(super) fn end(self, global: Global) -> anyhow::Result<()> {
        let path = ["pipelines", self.pipeline.as_str(), "drop"];
        for status in self.reach.each(&self.pipeline, |host| host.post::<PipelineStatus>(&path, &[], None))? {
            if global.json {
                writeln!(io::stdout(), "{}", serde_json::to_string(&status)?)?;
            } else {
                writeln!(io::stdout(), "{}: the canary has ended", printable(&status.name))?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  host promote iss-csv\n  host promote iss-csv --trial 10000 --json")]
pub(super) struct Promote {
    /// The pipeline's name
    pipeline: String,
    #[command(flatten)]
    trial: Trial,
    #[command(flatten)]
    reach: Reach,
}

impl Promote {
    pub(super) fn run(self, global: Global) -> anyhow::Result<()> {
        let path = ["pipelines", self.pipeline.as_str(), "promote"];
        let hosts = self.reach.running(&self.pipeline)?;
        let some = hosts.iter().any(|(_, status)| has_partitions(status, &self.pipeline));
        for (host, status) in hosts {
            if some && !has_partitions(&status, &self.pipeline) {
                // Whatever it had of a canary; that there is none is no error.
                match host.post::<PipelineStatus>(&["pipelines", &self.pipeline, "drop"], &[], None) {
                    Err(ClientError::Refused(_)) => {}
                    dropped => drop(dropped?),
                }
                continue;
            }
            conclude(&host.post(&path, &self.trial.query(), None)?, &self.pipeline, global)?;
        }
        Ok(())
    }
}

fn has_partitions(status: &Status, pipeline: &str) -> bool {
    status.pipelines.iter().any(|found| found.of == pipeline && !found.tasks.is_empty())
}

fn show(plan: &Plan) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}, plugin {}:", printable(&plan.pipeline), plan.plugin)?;
    let width = plan.changes.iter().map(|(what, _, _)| what.chars().count()).max().unwrap_or_default();
    for (what, old, new) in &plan.changes {
        writeln!(out, "  {:width$}  {} -> {}", printable(what), printable(old), printable(new))?;
    }
    if plan.changes.is_empty() {
        writeln!(out, "  nothing changes")?;
    }
    Ok(())
}

/// Says what came of it; what did not come about is an error.
fn conclude(answer: &Answer, pipeline: &str, global: Global) -> anyhow::Result<()> {
    if global.json {
        writeln!(io::stdout(), "{}", serde_json::to_string(answer)?)?;
    }
    let Some(outcome) = &answer.outcome else {
        if !global.json {
            writeln!(io::stdout(), "both see the same messages now; look with: host canary {}", printable(pipeline))?;
        }
        return Ok(());
    };
    match outcome {
        swap::Outcome::Adopted { .. } if global.json => {}
        swap::Outcome::Adopted { .. } => writeln!(io::stdout(), "{}", words(outcome))?,
        swap::Outcome::Refused { .. } => return Err(ClientError::Refused(words(outcome)).into()),
        swap::Outcome::RolledBack { .. } | swap::Outcome::Compared(_) | swap::Outcome::Dropped => {
            anyhow::bail!("{}", words(outcome))
        }
    }
    Ok(())
}
