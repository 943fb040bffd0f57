//! Everything that must hold: format, lints, documentation, plugins, and the tests with a real Kafka broker.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use xtask::kafka::Broker;
use xtask::{command, root, target};

use crate::{plugins, setup};

/// Runs all; with a `filter`, only the tests that it names and what they need. Says whether all passed.
///
/// The lints that fail do not keep the tests from running, whose own lines are the last.
pub fn run(filter: &[String]) -> Result<bool> {
    setup::check(&[setup::HOST, setup::NODE, setup::KAFKA, setup::OPENSSL])?;
    let mut steps = Steps::default();
    if filter.is_empty() {
        steps.step("format", || command::run(cargo().args(["fmt", "--all", "--check"])));
        steps.step("clippy", || {
            command::run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
        });
        steps.step("rustdoc", || {
            command::run(cargo().env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--workspace", "--no-deps"]))
        });
        steps.step("docker compose", compose);
    }
    steps.needed("plugins", || plugins::build(true))?;
    let broker = steps.needed("kafka", broker)?;
    steps.print();

    let mut tests = cargo();
    tests.args(["test", "--workspace", "--no-fail-fast", "--"]).args(filter);
    if let Some(broker) = &broker {
        tests.env("KAFKA_BROKERS", broker.address());
    }
    Ok(tests.status()?.success() && steps.all_passed())
}

fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root());
    cargo
}

/// One broker for all tests; none where `KAFKA_BROKERS` names some.
fn broker() -> Result<Option<Broker>> {
    match std::env::var("KAFKA_BROKERS") {
        Ok(brokers) if !brokers.is_empty() => Ok(None),
        _ => Broker::scratch(&target().join("tmp")).map(Some),
    }
}

/// Whether Docker takes our file; without Docker it cannot be known, and is said so.
fn compose() -> Result<()> {
    if command::output(Command::new("docker").args(["compose", "version"])).is_err() {
        eprintln!("docker compose is not on this machine: docker-compose.yml was not checked");
        return Ok(());
    }
    command::output(
        Command::new("docker")
            .args(["compose", "--file"])
            .arg(Path::new("docker-compose.yml"))
            .args(["config", "--quiet"])
            .current_dir(root()),
    )
    .map(drop)
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
