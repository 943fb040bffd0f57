//! `cargo xtask`: the project's chores. Says what is missing on the machine before it builds anything.

mod bench;
mod chaos;
mod demo;
mod plugins;
mod setup;
mod test;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::kafka::{self, Broker};
use xtask::minio::{self, Minio};
use xtask::registry::Registry;
use xtask::service::{Detached, Service};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's chores")]
struct Arguments {
    #[command(subcommand)]
    command: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Build everything and run the main job on the simulated ISS
    Demo,
    /// Check and test everything, with a real Kafka broker (or KAFKA_BROKERS)
    Test {
        /// Only the tests whose name contains this; further words go to the test programs
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        filter: Vec<String>,
    },
    /// Build the plugins to plugins/*.wasm
    Plugins {
        /// Also the one in JavaScript
        #[arg(long)]
        all: bool,
    },
    /// Measure
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Kill, pause and cut off hosts and brokers under load, and see that each message counts exactly once
    Chaos(chaos::Chaos),
    /// A Kafka broker on this machine
    #[command(subcommand)]
    Kafka(Kafka),
    /// MinIO, an S3 service, on this machine
    #[command(subcommand)]
    Minio(Run),
    /// Apicurio Registry, a schema registry, on this machine; it keeps what it knows in memory
    #[command(subcommand)]
    Registry(Run),
}

#[derive(Subcommand)]
enum Run {
    /// Start it; it stays until it is stopped
    Start {
        /// 0 is a free one [default: the port by which it is known]
        #[arg(long)]
        port: Option<u16>,
        /// The folder of its data and its log [default: one in cargo's target folder]
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Stop it; its data stay
    Stop {
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum Kafka {
    #[command(flatten)]
    Run(Run),
    /// Run a Kafka tool, for example org.apache.kafka.tools.TopicCommand --bootstrap-server 127.0.0.1:9092 --list
    Tool {
        class: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    let passed = match Arguments::parse().command {
        Chore::Demo => demo::run().map(|()| true),
        Chore::Test { filter } => test::run(&filter),
        Chore::Plugins { all } => plugins(all).map(|()| true),
        Chore::Bench { args } => bench::run(&args).map(|()| true),
        Chore::Chaos(chaos) => chaos::run(&chaos),
        Chore::Kafka(command) => kafka_command(command).map(|()| true),
        Chore::Minio(command) => minio_command(command).map(|()| true),
        Chore::Registry(command) => registry_command(command).map(|()| true),
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn plugins(all: bool) -> Result<()> {
    if all {
        setup::check(&[setup::NODE])?;
    }
    plugins::build(all)
}

fn kafka_command(command: Kafka) -> Result<()> {
    setup::check(&[setup::KAFKA])?;
    match command {
        Kafka::Run(command) => run::<Broker>(command),
        Kafka::Tool { class, args } => Ok(std::io::stdout().write_all(&kafka::tool(&class, args)?)?),
    }
}

fn minio_command(command: Run) -> Result<()> {
    let starts = matches!(command, Run::Start { .. });
    run::<Minio>(command)?;
    if starts {
        println!("bucket {}", minio::BUCKET);
        println!("AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={}", minio::ACCESS_KEY, minio::SECRET_KEY);
    }
    Ok(())
}

fn registry_command(command: Run) -> Result<()> {
    setup::check(&[setup::KAFKA])?;
    run::<Registry>(command)
}

fn run<S: Service>(command: Run) -> Result<()> {
    let folder = |dir: Option<PathBuf>| std::path::absolute(dir.unwrap_or_else(|| xtask::target().join(S::FOLDER)));
    match command {
        Run::Start { port, dir } => {
            let Detached { address, pid } = Detached::start::<S>(&folder(dir)?, port.unwrap_or(S::PORT))?;
            println!("{address}, process {pid}");
            Ok(())
        }
        Run::Stop { dir } => Detached::stop::<S>(&folder(dir)?),
    }
}
