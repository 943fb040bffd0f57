//! The benches: our own crates optimised, the dependencies as they are already built.

use anyhow::Result;
use xtask::kafka::Broker;
use xtask::{command, target};

use crate::{plugins, setup};

/// Crates whose speed is measured; the settings of the profile are raised for these alone.
const MEASURED: &[&str] = &["host", "flatten", "apogee-json", "apogee-sdk", "window-counts"];

/// Builds the plugins and runs the host's benches; `args` go to them.
pub fn run(args: &[String]) -> Result<()> {
    setup::check(&[setup::HOST, setup::KAFKA])?;
    plugins::build(false)?;
    let broker = match std::env::var("KAFKA_BROKERS") {
        Ok(brokers) if !brokers.is_empty() => None,
        _ => Some(Broker::scratch(&target().join("tmp"))?),
    };
    let mut cargo = command::cargo();
    if let Some(broker) = &broker {
        cargo.env("KAFKA_BROKERS", broker.address());
    }
    cargo.env("CARGO_INCREMENTAL", "0").args(["bench", "--package", "host", "--profile", "dev"]);
    for name in MEASURED {
        for setting in ["opt-level=3", "codegen-units=1", "debug-assertions=false", "overflow-checks=false"] {
            cargo.arg("--config").arg(format!("profile.dev.package.{name}.{setting}"));
        }
    }
    command::run(cargo.arg("--").args(args))
}
