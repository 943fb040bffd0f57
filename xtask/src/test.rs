//! Everything that must hold: format, lints, documentation, plugins, and the tests, with real Kafka and S3.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xtask::kafka::Broker;
use xtask::minio::Minio;
use xtask::registry::Registry;
use xtask::{command, root, target};

use crate::{plugins, setup};

/// Runs all; with a `filter`, only the tests that it names and what they need. Says whether all passed.
///
/// The lints that fail do not keep the tests from running, whose own lines are the last.
pub fn run(filter: &[String]) -> Result<bool> {
    let needs = [setup::HOST, setup::NODE, setup::KAFKA, setup::OPENSSL, setup::STRACE, setup::PYTHON, setup::MINIO];
    setup::check(&needs)?;
    let mut steps = Steps::default();
    if filter.is_empty() {
        steps.step("format", || command::run(command::cargo().args(["fmt", "--all", "--check"])));
        steps.step("clippy", || {
            command::run(command::cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
        });
        steps.step("rustdoc", || {
            command::run(command::cargo().env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--workspace", "--no-deps"]))
        });
        steps.step("docker compose", compose);
    }
    steps.needed("plugins", || plugins::build(true))?;
    if filter.is_empty() {
        steps.step("demo", demo);
    }
    let python = steps.needed("python", xtask::python::interpreter)?;
    let broker = steps.needed("kafka", broker)?;
    let minio = steps.needed("minio", minio)?;
    let registry = steps.needed("registry", registry)?;
    steps.print();

    let mut tests = command::cargo();
    tests.args(["test", "--workspace", "--no-fail-fast", "--"]).args(filter).env("APOGEE_PYTHON", python);
    if let Some(broker) = &broker {
        tests.env("KAFKA_BROKERS", broker.address());
    }
    if let Some(minio) = &minio {
        tests.env("S3_ENDPOINT", minio.endpoint());
    }
    if let Some(registry) = &registry {
        tests.env("SCHEMA_REGISTRY", registry.url());
    }
    Ok(tests.status()?.success() && steps.all_passed())
}

/// One broker for all tests; none where `KAFKA_BROKERS` names some.
fn broker() -> Result<Option<Broker>> {
    match std::env::var("KAFKA_BROKERS") {
        Ok(brokers) if !brokers.is_empty() => Ok(None),
        _ => Broker::scratch(&target().join("tmp")).map(Some),
    }
}

/// One S3 service for all tests; none where `S3_ENDPOINT` names one.
fn minio() -> Result<Option<Minio>> {
    match std::env::var("S3_ENDPOINT") {
        Ok(endpoint) if !endpoint.is_empty() => Ok(None),
        _ => Minio::scratch(&target().join("tmp")).map(Some),
    }
}

/// One schema registry for all tests; none where `SCHEMA_REGISTRY` is the URL of one.
fn registry() -> Result<Option<Registry>> {
    match std::env::var("SCHEMA_REGISTRY") {
        Ok(url) if !url.is_empty() => Ok(None),
        _ => Registry::start(&target().join("tmp/registry")).map(Some),
    }
}

/// Whether Compose takes our file; without Compose it cannot be known, and is said so.
fn compose() -> Result<()> {
    let plugin = command::output(Command::new("docker").args(["compose", "version"])).is_ok();
    let mut compose = if plugin { Command::new("docker") } else { Command::new("docker-compose") };
    if plugin {
        compose.arg("compose");
    } else if command::output(Command::new("docker-compose").arg("version")).is_err() {
        eprintln!("docker compose is not on this machine: docker-compose.yml was not checked");
        return Ok(());
    }
    command::output(compose.args(["--file", "docker-compose.yml", "config", "--quiet"]).current_dir(root())).map(drop)
}

/// How long after its builds the demo may take to show the first position.
const FIRST_POSITION: Duration = Duration::from_secs(10);

/// Runs the demo as its user does, and looks at what it shows: positions soon, and rows in the end.
fn demo() -> Result<()> {
    let program = std::env::current_exe().context("this program")?;
    let mut demo = Command::new(program).arg("demo").stdout(Stdio::piped()).spawn().context("the demo")?;
    let lines = BufReader::new(demo.stdout.take().context("the demo's output")?).lines();
    let (mut built, mut first, mut rows) = (None, None, 0);
    for line in lines {
        let line = line.context("the demo's output")?;
        if line.starts_with("1. ") {
            built = Some(Instant::now());
        } else if line.starts_with(r#"{"local_time":"#) {
            first = first.or_else(|| Some(built?.elapsed()));
        } else if line.trim_start().starts_with("20") && line.matches(',').count() == 2 {
            rows += 1;
        }
    }
    anyhow::ensure!(demo.wait().context("the demo")?.success(), "the demo failed");
    let first = first.context("the demo showed no position")?;
    anyhow::ensure!(first <= FIRST_POSITION, "the demo took {first:?} to show a position");
    anyhow::ensure!(rows > 0, "the demo left no rows");
    Ok(())
}

/// What was done, how long it took and whether it passed.
#[derive(Default)]
struct Steps(Vec<(&'static str, Duration, bool)>);

impl Steps {
    /// A step whose failure is shown and remembered, while the next ones go on.
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) {
        if let Err(error) = self.needed(name, work) {
            eprintln!("{name}: {error:#}");
        }
    }

    /// A step without which nothing after it works.
    fn needed<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        eprintln!("\n== {name}");
        let start = Instant::now();
        let done = work();
        self.0.push((name, start.elapsed(), done.is_ok()));
        done
    }

    fn all_passed(&self) -> bool {
        self.0.iter().all(|(_, _, passed)| *passed)
    }

    fn print(&self) {
        eprintln!();
        for (name, time, passed) in &self.0 {
            eprintln!("{name:16}{:7.1} s  {}", time.as_secs_f64(), if *passed { "ok" } else { "FAILED" });
        }
        eprintln!("\n== tests");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_is_remembered_while_the_next_go_on() {
        let mut steps = Steps::default();
        steps.step("bad", || anyhow::bail!("on purpose"));
        steps.step("good", || Ok(()));
        assert_eq!(
            steps.0.iter().map(|(name, _, passed)| (*name, *passed)).collect::<Vec<_>>(),
            [("bad", false), ("good", true)]
        );
        assert!(!steps.all_passed());
    }
}
