//! A swap lasts: over restarts, wherever its partition goes, and until the pipeline file says something else.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use host::log::kafka::Kafka;
use host::log::{Log, Writer};
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
    let shared = Shared::new("taken");
    let machines = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [first, second] = machines.each_ref().map(tempfile::TempDir::path);
    let running = shared.start(first, first);
    operator::status(first, &shared.name, 2);
    shared.send();
    shared.await_versions(&[("1.0.0", 100)]);
    let component = first.join("new.wasm");
    std::fs::copy(plugin("stamp-2"), &component).unwrap();
    assert_eq!(operator::swap(first, &shared.name, &component, &SOON).code, 0);
    std::fs::remove_file(&component).unwrap();
    assert!(running.stop("TERM").success());

    let running = shared.start(second, second);
    let status = operator::status(second, &shared.name, 2);
    assert_eq!(status.plugins[0].version, "1.0.1", "{status:?}");
    assert!(status.tasks.iter().all(|task| task.plugins[0].starts_with("stamp 1.0.1 ")), "{status:?}");
    shared.send();
    shared.await_versions(&[("1.0.0", 100), ("1.0.1", 100)]);
    assert!(running.stop("TERM").success());
}

#[test]
fn two_hosts_of_one_group_are_swapped_one_after_the_other() {
    let shared = Shared::new("both");
    let machines = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [first, second] = machines.each_ref().map(tempfile::TempDir::path);
    // One operator reaches both.
    let _running = [shared.start(first, first), shared.start(second, first)];
    let tasks = || -> Vec<String> {
        let line = operator::line(first, &shared.name);
        line.into_iter().flat_map(|status| status.tasks).flat_map(|task| task.plugins).collect()
    };
    wait_for("each host to have a partition", || {
        let line = operator::line(first, &shared.name);
        (line.len() == 2 && line.iter().all(|status| status.tasks.len() == 1)).then_some(())
    });
    shared.send();
    shared.await_versions(&[("1.0.0", 100)]);
    let swap = ["swap", &shared.name, plugin("stamp-2").to_str().unwrap(), "--json"].map(str::to_owned);
    let swap: Vec<&str> = swap.iter().map(String::as_str).chain(SOON).collect();
    let said = operator::call(first, &swap);
    assert_eq!((said.code, said.out.lines().count()), (0, 2), "{said:?}");
    let after = tasks();
    assert!(after.len() == 2 && after.iter().all(|task| task.starts_with("stamp 1.0.1 ")), "{after:?}");
    shared.send();
    shared.await_versions(&[("1.0.0", 100), ("1.0.1", 100)]);
}

/// Far longer than between two commits, and far shorter than the trial.
const HELD: Duration = Duration::from_secs(1);

/// Partitions that go are committed first: so a version on trial is judged by what it has seen, and either all of that
/// takes effect or the old one does it again.
#[test]
fn a_rebalance_ends_a_trial_one_way_or_the_other() {
    for (name, settings, code) in [("good", [].as_slice(), 0), ("bad", &["--set", "id=nothing"], 1)] {
        let shared = Shared::new(name);
        let machines = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [first, second] = machines.each_ref().map(tempfile::TempDir::path);
        let _running = shared.start(first, first);
        operator::status(first, &shared.name, 2);
        let trial = [&["--trial", "1000000", "--trial-time", "15s"], settings].concat();
        let mut writer = shared.writer();
        send(writer.as_mut());
        let mut sent = 100;
        let (other, swapped) = std::thread::scope(|scope| {
            let swap = scope.spawn(|| operator::swap(first, &shared.name, &plugin("stamp-2"), &trial));
            let mut last = (0, Instant::now());
            wait_for("output that is held back for longer than between two commits, so a trial", || {
                send(writer.as_mut());
                sent += 100;
                let status = operator::line(first, &shared.name).pop()?;
                let kept: i64 = status.tasks.iter().filter_map(|task| task.next).sum();
                if status.changing.is_none() || kept != last.0 {
                    last = (kept, Instant::now());
                }
                assert!(!swap.is_finished(), "the trial was over before it was seen");
                (last.1.elapsed() > HELD).then_some(())
            });
            let other = shared.start(second, second);
            (other, swap.join().unwrap())
        });
        assert_eq!(swapped.code, code, "{swapped:?}");
        operator::status(second, &shared.name, 1);
        send(writer.as_mut());
        sent += 100;
        let values = wait_for("the output", || Some(shared.values()).filter(|values| values.len() >= sent));
        assert_eq!(values.len(), sent, "each message once");
        let new = values.iter().filter(|value| value["version"] == "1.0.1").count();
        assert!(if code == 0 { new > 50 } else { new == 0 }, "{new} of {sent} by the new version");
        assert!(other.stop("TERM").success());
    }
}

/// Sends 100 messages of as many keys, so to both partitions.
fn send(writer: &mut dyn Writer) {
    let mut batch = Batch::new();
    (0..100).for_each(|n| batch.push(Some(format!("k{n}").as_bytes()), Some(br#"{"id":1}"#), n));
    writer.append(&batch).unwrap();
    writer.flush().unwrap();
}

/// A pipeline of `stamp` between two topics of the shared broker, with two partitions.
struct Shared {
    name: String,
    brokers: String,
    log: Kafka,
}

impl Shared {
    fn new(name: &str) -> Self {
        let (name, brokers) = (format!("{name}-{}", std::process::id()), crate::kafka::brokers());
        let log = Kafka::connect(&brokers, &Default::default()).unwrap();
        for end in ["in", "out"] {
            log.create_topic(&format!("{name}.{end}"), 2).unwrap();
        }
        Self { name, brokers, log }
    }

    /// A host on a machine, which is controlled in another directory.
    fn start(&self, machine: &Path, control: &Path) -> Running {
        let Self { name, brokers, .. } = self;
        let text = format!(
            "name = {name:?}\n[source]\nuri = \"kafka://{brokers}/{name}.in\"\nidle = \"1h\"\n{}[sink]\n\
             uri = \"kafka://{brokers}/{name}.out\"\ninterval = \"20ms\"\n[client]\n\"transaction.timeout.ms\" = \"60000\"\n",
            with(&plugin("stamp-1"))
        );
        std::fs::write(machine.join("p.toml"), text).unwrap();
        let mut command = host(machine, &["--quiet", "run", "p.toml"]);
        command.env("XDG_RUNTIME_DIR", control);
        Running::start(command)
    }

    /// Its first flush takes a while.
    fn writer(&self) -> Box<dyn Writer> {
        self.log.writer(&format!("{}.in", self.name)).unwrap()
    }

    fn send(&self) {
        send(self.writer().as_mut());
    }

    /// What came out.
    fn values(&self) -> Vec<serde_json::Value> {
        values(&self.log, &format!("{}.out", self.name))
    }

    /// Waits until there are as many messages as these together, and checks that so many are by each version.
    fn await_versions(&self, expected: &[(&str, usize)]) {
        let count = expected.iter().map(|(_, count)| count).sum();
        let values = wait_for("the output", || Some(self.values()).filter(|values| values.len() >= count));
        let mut found = BTreeMap::new();
        for value in &values {
            *found.entry(value["version"].as_str().unwrap()).or_insert(0) += 1;
        }
        assert!(found.into_iter().eq(expected.iter().copied()), "{values:?}");
    }
}
