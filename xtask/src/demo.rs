//! The main job on what a fresh machine has: the simulated ISS, the embedded log, CSV files. No Kafka, no internet.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use xtask::{command, root, target};

use crate::{plugins, setup};

/// What `flatten` makes of a position: the columns of `pipelines/iss-csv.toml`.
const SETTINGS: &[&str] = &[
    r#"fields=[{"from":"timestamp","name":"local_time","type":"timestamp","unit":"s"},{"from":"iss_position_longitude","name":"longitude"},{"from":"iss_position_latitude","name":"latitude"}]"#,
    r#"event_time={"field":"timestamp","unit":"s"}"#,
];

/// Polls to the terminal for some seconds, then reads the same topic again into CSV files.
pub fn run() -> Result<()> {
    setup::check(&[setup::HOST])?;
    plugins::build(false)?;
    command::run(command::cargo().args(["build", "--package", "host"]))?;

    // The log of the last demo goes too: the next one begins at the same place.
    let out = root().join("out/demo");
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("cannot empty {}", out.display()))?;
    }
    fs::create_dir_all(&out)?;

    println!("\n1. The simulated ISS, polled each second through a topic, flattened in the sandbox:\n");
    host(&out, "--name demo --from sim:iss --every 1s --for 12s --via kafka:///iss-location --to stdout:")?;
    println!("\n2. The topic keeps what was polled. Read again, into CSV files:\n");
    host(&out, "--name demo-csv --from kafka:///iss-location --until end --to csv:csv")?;
    show(&out.join("csv"))?;
    println!(
        "\nEverything is in out/demo: the CSV files in csv, the topics in apogee.db (any SQLite tool opens it). Next:\n  \
         cargo run -p host -- --help\n  \
         cargo run -p host -- run pipelines/iss-csv.toml --from sim:iss --via kafka:///iss-location --minutes 1\n  \
         cargo run -p host -- run pipelines/iss-csv.toml --orbit 1      (the real station, for one orbit, through the broker of: cargo xtask kafka start)"
    );
    Ok(())
}

fn host(folder: &Path, args: &str) -> Result<()> {
    let plugin = root().join("plugins/flatten.wasm");
    println!("   host --plugin plugins/flatten.wasm {args} --set …\n");
    let mut host = Command::new(target().join("debug/host"));
    host.current_dir(folder).arg("--plugin").arg(plugin).args(args.split(' '));
    for setting in SETTINGS {
        host.args(["--set", setting]);
    }
    command::run(&mut host)
}

/// The files' names and the first lines of the first.
fn show(folder: &Path) -> Result<()> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .with_context(|| format!("the host left no CSV files in {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "csv"));
    files.sort();
    let first = files.first().with_context(|| format!("the host left no CSV files in {}", folder.display()))?;
    for file in &files {
        println!("{}", file.strip_prefix(root()).unwrap_or(file).display());
    }
    for line in fs::read_to_string(first)?.lines().take(4) {
        println!("  {line}");
    }
    Ok(())
}
