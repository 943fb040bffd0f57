//! (e) State of 1,000,000 keys: built from a topic, and restored from its changelog.

use std::process::Stdio;
use std::time::Instant;

use host::log::Log;

use crate::topic::Setting;
use crate::{process, program};

const KEYS: u64 = 1_000_000;

pub fn run(setting: &Setting) {
    println!("\n(e) State of {KEYS} keys (max-altitude), exactly once, Kafka to Kafka");
    let broker = &setting.broker;
    let topic = setting.fill("state", 1, KEYS, |index, batch| {
        let value = format!(r#"{{"altitude": {:.11}, "id": {index}}}"#, 400.0 + (index % 997) as f64 / 10.0);
        batch.push(Some(format!("station-{index:07}").as_bytes()), Some(value.as_bytes()), 1_714_032_708_000);
    });
    let pipeline = format!(
        r#"
name = "{topic}-max"

[source]
uri = "kafka://{broker}/{topic}"
until = "end"

[[plugin]]
file = "{{plugins}}/max-altitude.wasm"
limits = {{ memory = "1GiB" }}

[sink]
uri = "kafka://{broker}/{topic}-max"
"#
    );
    let directory = tempfile::tempdir().expect("a directory");
    let built = process::run(program::run(directory.path(), &pipeline, &[]));
    println!("built in {:.1?}, {:.1?} of CPU, peak {:.0} MB", built.wall, built.cpu, built.peak as f64 / 1e6);

    let changelog = format!("{topic}-max.changelog");
    let end = |topic: &str| setting.kafka().describe(topic).expect("the topic").partitions[0].1;
    let before = end(&changelog);
    let some = |index: u64, batch: &mut host::message::Batch| {
        let value = format!(r#"{{"altitude": {:.11}, "id": {index}}}"#, 600.0 + index as f64);
        batch.push(Some(format!("station-{:07}", index * 1_000).as_bytes()), Some(value.as_bytes()), 1_714_032_709_000);
    };
    let kafka = setting.kafka();
    let mut writer = kafka.writer(&topic).expect("a writer");
    let mut batch = host::message::Batch::new();
    (0..1_000).for_each(|index| some(index, &mut batch));
    writer.append(&batch).and_then(|()| writer.flush()).expect("1,000 changes");

    let mut command = program::run(directory.path(), &pipeline, &[]);
    // What was restored is told in the log.
    let arguments: Vec<_> = command.get_args().skip(1).map(ToOwned::to_owned).collect();
    let mut loud = std::process::Command::new(command.get_program());
    loud.args(arguments).current_dir(directory.path()).stdout(Stdio::null()).stderr(Stdio::piped());
    command = loud;
    let start = Instant::now();
    let output = command.output().expect("the host");
    let wall = start.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let told = told.lines().find(|line| line.contains("of state restored")).expect("how long the restore took");
    println!("restored: {}", told.split(": partition").last().unwrap_or(told).trim());
    println!(
        "1,000 changed keys of {KEYS}: {} records into the changelog; the whole run {wall:.1?}",
        end(&changelog) - before
    );
}
