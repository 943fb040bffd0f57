//! Fault 10: a plugin that is slower than the client's patience keeps its partition.

use std::time::{Duration, Instant};

use host::log::Log;
use host::log::kafka::Kafka;
use host::message::Batch;

use crate::program::{plugin, run};

/// The shortest session that the broker takes; as long may go by between two polls, by the settings.
const SHORTEST: Duration = Duration::from_secs(1);
const MESSAGES: usize = 3;
/// Lines that the plugin writes for each batch, so that it takes some seconds.
const LINES: u32 = 80_000;

/// Each message is a batch of its own, and takes the plugin longer than the group is told to wait. Were the partition
/// given away, messages that were not committed would come again.
#[test]
fn a_plugin_slower_than_the_poll_interval_keeps_its_partition() {
    let (directory, brokers) = (tempfile::tempdir().unwrap(), crate::kafka::brokers());
    let name = format!("slow-{:016x}", fastrand::u64(..));
    let log = Kafka::connect(&brokers, &Default::default()).unwrap();
    for topic in [&name, &format!("{name}.out")] {
        log.create_topic(topic, 1).unwrap();
    }
    let mut batch = Batch::new();
    (0..MESSAGES).for_each(|number| batch.push(None, Some(number.to_string().as_bytes()), 1));
    let mut writer = log.writer(&name).unwrap();
    writer.append(&batch).unwrap();
    writer.flush().unwrap();

    let milliseconds = SHORTEST.as_millis();
    let file = format!(
        "name = {name:?}\n\
         [source]\nuri = \"kafka://{brokers}/{name}\"\nbatch = 1\nuntil = \"end\"\n\
         [client]\n\"session.timeout.ms\" = \"{milliseconds}\"\n\"heartbeat.interval.ms\" = \"200\"\n\
         \"max.poll.interval.ms\" = \"{milliseconds}\"\n\
         [[plugin]]\nfile = {:?}\n[plugin.settings]\nhow = \"log-flood\"\ncount = {LINES}\n\
         [plugin.limits]\ncall = \"60s\"\nlog_lines = 1\n\
         [sink]\nuri = \"kafka://{brokers}/{name}.out\"\n",
        plugin("hostile")
    );
    std::fs::write(directory.path().join("slow.toml"), file).unwrap();
    let start = Instant::now();
    let output = run(directory.path(), &["run", "slow.toml"]);
    let took = start.elapsed();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(took > SHORTEST * MESSAGES as u32, "the plugin was not slow: {took:?}");
    assert!(stderr.contains("max.poll.interval.ms is 1000 and would give a partition away"), "{stderr}");
    assert!(
        stderr.contains("who may take 60s for a batch (`call` in [plugin.limits]); 70000 is used instead"),
        "{stderr}"
    );
    assert!(!stderr.contains("interrupted") && !stderr.contains("another worker"), "{stderr}");
    let summary = format!("{MESSAGES} messages in, {MESSAGES} out, 0 rejected");
    assert!(stderr.contains(&summary), "{stderr}");
    let values = log.read(&format!("{name}.out"), 0, 0, usize::MAX).unwrap().batch.values;
    let values: Vec<_> = values.iter().map(|value| String::from_utf8_lossy(value.unwrap()).into_owned()).collect();
    assert_eq!(values, ["0", "1", "2"]);
}
