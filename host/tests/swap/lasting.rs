//! A swap lasts: over restarts, wherever its partition goes, and until the pipeline file says something else.

use std::collections::BTreeMap;
use std::path::Path;

use host::log::Log;
use host::log::kafka::Kafka;
use host::message::Batch;

use super::{Live, SOON, assert_stamped, values, with};
use crate::operator;
use crate::program::{Running, host, plugin, wait_for};

/// The same component with another hash: it has a section of its own at its end.
pub(super) fn other_bytes(component: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(component).unwrap();
    bytes.extend([0, 5, 4]);
    bytes.extend(b"note");
    bytes
}

#[test]
fn a_swap_outlives_restarts_until_the_file_of_the_pipeline_is_another_one() {
    let own = tempfile::tempdir().unwrap();
    let (first, second) = (own.path().join("own.wasm"), own.path().join("new.wasm"));
    std::fs::copy(plugin("stamp-1"), &first).unwrap();
    std::fs::copy(plugin("stamp-2"), &second).unwrap();
    let mut live = Live::start(&with(&first), "kafka:///out");
    live.send(10);
    live.out();
    assert_eq!(live.swap(&second, &SOON).code, 0);
    std::fs::remove_file(&second).unwrap();
    for _ in 0..2 {
        live.restart();
        assert_eq!(live.status().plugins[0].version, "1.0.1");
        live.send(10);
        live.out();
    }
    // A deployment: what the file says now was not known when it was swapped.
    std::fs::write(&first, other_bytes(&plugin("stamp-1"))).unwrap();
    live.restart();
    let status = live.status();
    assert_eq!((&*status.plugins[0].version, status.plugins[0].swapped), ("1.0.0", None));
    live.send(10);
    assert_stamped(&live.out(), &[(10, "1.0.0"), (30, "1.0.1"), (40, "1.0.0")]);
}

/// Kafka to Kafka: the component is in a topic beside the changelog, and so is on the other machine, too.
#[test]
fn whoever_takes_a_partition_over_goes_on_with_the_version_that_was_swapped_in() {
    let brokers = crate::kafka::brokers();
    let name = format!("taken-{}", std::process::id());
    let log = Kafka::connect(&brokers, &Default::default()).unwrap();
    let (from, to) = (format!("{name}.in"), format!("{name}.out"));
    for topic in [&from, &to] {
        log.create_topic(topic, 2).unwrap();
    }
    let send = |count: i64| {
        let mut batch = Batch::new();
        // Of both partitions, for all that is known.
        (0..count).for_each(|n| batch.push(Some(format!("k{n}").as_bytes()), Some(br#"{"id":1}"#), n));
        let mut writer = log.writer(&from).unwrap();
        writer.append(&batch).unwrap();
        writer.flush().unwrap();
    };
    let versions = |count: usize| {
        wait_for("the output", || {
            let mut found = BTreeMap::new();
            for value in values(&log, &to) {
                *found.entry(value["version"].as_str().unwrap().to_owned()).or_insert(0) += 1;
            }
            (found.values().sum::<usize>() >= count).then_some(found)
        })
    };
    let machines = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let start = |machine: &Path| {
        let text = format!(
            "name = {name:?}\n[source]\nuri = \"kafka://{brokers}/{from}\"\nidle = \"1h\"\n{}[sink]\n\
             uri = \"kafka://{brokers}/{to}\"\ninterval = \"20ms\"\n",
            with(&plugin("stamp-1"))
        );
        std::fs::write(machine.join("p.toml"), text).unwrap();
        Running::start(host(machine, &["--quiet", "run", "p.toml"]))
    };
    let first = start(machines[0].path());
    operator::status(machines[0].path(), &name, 2);
    send(100);
    versions(100);
    let component = machines[0].path().join("new.wasm");
    std::fs::copy(plugin("stamp-2"), &component).unwrap();
    assert_eq!(operator::swap(machines[0].path(), &name, &component, &SOON).code, 0);
    std::fs::remove_file(&component).unwrap();
    assert!(first.stop("TERM").success());

    let second = start(machines[1].path());
    let status = operator::status(machines[1].path(), &name, 2);
    assert_eq!(status.plugins[0].version, "1.0.1", "{status:?}");
    assert!(status.tasks.iter().all(|task| task.plugins[0].starts_with("stamp 1.0.1 ")), "{status:?}");
    send(100);
    let found = versions(200);
    assert!(
        found.iter().map(|(version, count)| (&**version, *count)).eq([("1.0.0", 100), ("1.0.1", 100)]),
        "{found:?}"
    );
    assert!(second.stop("TERM").success());
}
