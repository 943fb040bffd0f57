//! The conservation test in its long form: the same scenarios as among the tests, with more of everything.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use xtask::kafka::Broker;
use xtask::{command, root, target};

use crate::{plugins, setup};

/// Each is a module of `host/tests/chaos`, with `_` for `-`.
const SCENARIOS: [&str; 13] = [
    "kills-kafka",
    "kills-flatten",
    "kills-csv",
    "brokers",
    "members",
    "zombie",
    "network",
    "s3-kills",
    "shutdown",
    "determinism",
    "trap",
    "swaps",
    "swap-kills",
];

#[derive(Args)]
pub struct Chaos {
    /// Which one [default: all, one after the other]
    #[arg(value_parser = PossibleValuesParser::new(SCENARIOS))]
    scenario: Option<String>,
    /// What a run printed, to have the same again
    #[arg(long)]
    seed: Option<u64>,
    /// As short as among the tests
    #[arg(long)]
    short: bool,
}

/// Says whether all scenarios passed.
pub fn run(chaos: &Chaos) -> Result<bool> {
    setup::check(&[setup::HOST, setup::NODE, setup::KAFKA, setup::MINIO])?;
    plugins::build(true)?;
    let mut build = cargo();
    command::run(build.arg("--no-run"))?;
    let broker = match std::env::var("KAFKA_BROKERS") {
        Ok(brokers) if !brokers.is_empty() => None,
        _ => Some(Broker::scratch(&target().join("tmp"))?),
    };
    let chosen = SCENARIOS.iter().filter(|name| chaos.scenario.as_deref().is_none_or(|chosen| chosen == **name));
    let mut outcomes = Vec::new();
    for scenario in chosen {
        let start = Instant::now();
        let passed = self::scenario(scenario, chaos, broker.as_ref())?;
        outcomes.push((scenario, start.elapsed(), passed));
    }
    eprintln!();
    for (scenario, took, passed) in &outcomes {
        eprintln!("{scenario:16}{:7.1} s  {}", took.as_secs_f64(), if *passed { "ok" } else { "FAILED" });
    }
    Ok(outcomes.iter().all(|(_, _, passed)| *passed))
}

/// Runs the tests of one module, one at a time, with all that they say.
fn scenario(name: &str, chaos: &Chaos, broker: Option<&Broker>) -> Result<bool> {
    let module = module(name);
    if !root().join(format!("host/tests/chaos/{module}.rs")).exists() {
        bail!("host/tests/chaos/{module}.rs is not there: the scenario {name} has another name by now");
    }
    let mut tests = cargo();
    tests.args(["--", "--nocapture", "--test-threads=1"]).arg(format!("chaos::{module}::"));
    if let Some(broker) = broker {
        tests.env("KAFKA_BROKERS", broker.address());
    }
    if let Some(seed) = chaos.seed {
        tests.env("CHAOS_SEED", seed.to_string());
    }
    if !chaos.short {
        tests.env("CHAOS_LONG", "1");
    }
    Ok(tests.status()?.success())
}

fn cargo() -> Command {
    let mut cargo = command::cargo();
    cargo.args(["test", "--package", "host", "--test", "host"]);
    cargo
}

fn module(scenario: &str) -> String {
    scenario.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_a_module_and_the_other_way_round() {
        let text = std::fs::read_to_string(root().join("host/tests/chaos.rs")).unwrap();
        let modules: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).collect();
        for scenario in SCENARIOS {
            assert!(modules.contains(&&*module(scenario)), "{scenario}");
        }
        let says_so = |module: &&&str| {
            let text = std::fs::read_to_string(root().join(format!("host/tests/chaos/{module}.rs"))).unwrap();
            text.contains(&format!("Chance::of({:?})", module.replace('_', "-")))
        };
        assert_eq!(modules.iter().filter(says_so).count(), SCENARIOS.len());
    }
}
