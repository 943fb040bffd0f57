//! Versions that change while the stream runs, through the program: what is swapped, refused, rolled back, compared.

mod called_off;
mod canary;
mod lasting;
mod places;
mod refused;
mod rolled_back;
mod state;
mod watch;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use host::control::api::PipelineStatus;
use host::log::Log;
use host::log::embedded::Embedded;
use host::message::Batch;
use serde_json::Value;

use crate::operator::{self, Swapped};
use crate::program::{Running, host, plugin, wait_for};

/// A new version has proved itself after this time, whether or not messages come.
const SOON: [&str; 2] = ["--trial-time", "50ms"];
/// It has not before many messages have come.
const LONG: [&str; 4] = ["--trial", "10000", "--trial-time", "60s"];

/// A pipeline `p` that runs in a directory of its own, and reads the topic `in` of the embedded log there.
struct Live {
    directory: tempfile::TempDir,
    log: Embedded,
    running: Option<Running>,
    /// How many messages.
    sent: Cell<u64>,
}

impl Live {
    /// Runs these plugins (the lines of the pipeline file) into a sink.
    fn start(plugins: &str, sink: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = Embedded::open(&directory.path().join("apogee.db")).unwrap();
        log.create_topic("in", 1).unwrap();
        let text = format!(
            "name = \"p\"\n[source]\nuri = \"kafka:///in\"\nidle = \"1h\"\n{plugins}\n[sink]\nuri = {sink:?}\ninterval = \"20ms\"\n"
        );
        std::fs::write(directory.path().join("p.toml"), text).unwrap();
        let mut live = Self { directory, log, running: None, sent: Cell::new(0) };
        live.begin();
        live
    }

    /// One plugin into the topic `out`.
    fn of(name: &str, settings: &str) -> Self {
        Self::start(&format!("{}{settings}\n", with(&plugin(name))), "kafka:///out")
    }

    fn begin(&mut self) {
        let log = File::options().create(true).append(true).open(self.path().join("host.log")).unwrap();
        let mut command = host(self.path(), &["run", "p.toml"]);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.running = Some(Running::start(command));
        self.status();
    }

    /// Ends the host, which must be a good end.
    fn end(&mut self) {
        assert!(self.running.take().unwrap().stop("TERM").success());
    }

    fn restart(&mut self) {
        self.end();
        self.begin();
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Sends so many messages, keyed by one of two.
    fn send(&self, count: u64) {
        self.send_with(count, |n| format!(r#"{{"id":{n}}}"#));
    }

    fn send_with(&self, count: u64, value: impl Fn(u64) -> String) {
        let mut batch = Batch::new();
        let from = self.sent.replace(self.sent.get() + count);
        (from..from + count).for_each(|n| batch.push(Some(key(n)), Some(value(n).as_bytes()), n as i64));
        let mut writer = self.log.writer("in").unwrap();
        writer.append(&batch).unwrap();
        writer.flush().unwrap();
    }

    /// What came out, once there is something for each message that was sent; more would be a mistake.
    fn out(&self) -> Vec<Value> {
        let count = self.sent.get() as usize;
        let values = wait_for(&format!("{count} messages"), || {
            Some(values(&self.log, "out")).filter(|values| values.len() >= count)
        });
        assert_eq!(values.len(), count, "{values:?}");
        values
    }

    fn swap(&self, component: &Path, more: &[&str]) -> Swapped {
        operator::swap(self.path(), "p", component, more)
    }

    /// Swaps while messages are sent; by default the new version is on trial for ten thousand.
    fn swap_under_load(&self, component: &Path, more: &[&str]) -> Swapped {
        let trial: &[&str] = if more.contains(&"--trial") { &LONG[2..] } else { &LONG };
        let path = self.path();
        std::thread::scope(|scope| {
            let swap = scope.spawn(|| operator::swap(path, "p", component, &[trial, more].concat()));
            wait_for("the swap to end", || {
                self.send(10);
                swap.is_finished().then_some(())
            });
            swap.join().unwrap()
        })
    }

    fn status(&self) -> PipelineStatus {
        operator::status(self.path(), "p", 1)
    }
}

/// When something went wrong, what the host said is shown.
impl Drop for Live {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "what the host said:\n{}",
                std::fs::read_to_string(self.path().join("host.log")).unwrap_or_default()
            );
        }
    }
}

/// The lines of a pipeline file for a component.
fn with(component: &Path) -> String {
    format!("[[plugin]]\nfile = {component:?}\n")
}

fn key(n: u64) -> &'static [u8] {
    if n.is_multiple_of(2) { b"even" } else { b"odd" }
}

/// Everything in a topic, one partition after the other; nothing where there is no such topic.
fn values(log: &dyn Log, topic: &str) -> Vec<Value> {
    let Some(topic) = log.topics().unwrap().into_iter().find(|it| it.name == topic) else { return Vec::new() };
    let mut values = Vec::new();
    for (partition, (mut next, end)) in (0..).zip(topic.partitions) {
        while next < end {
            let fetch = log.read(&topic.name, partition, next, 10_000).unwrap();
            let read = fetch.batch.values.iter().flatten();
            values.extend(read.map(|value| serde_json::from_slice::<Value>(value).unwrap()));
            next = fetch.next;
        }
    }
    values
}

/// That messages are the first ones, each once, counted by key, and made by these versions, each up to a number.
fn assert_stamped(values: &[Value], versions: &[(u64, &str)]) {
    let mut counts: BTreeMap<&[u8], u64> = BTreeMap::new();
    for (n, value) in (0..).zip(values) {
        let count = counts.entry(key(n)).or_default();
        *count += 1;
        let version = versions.iter().find(|(end, _)| n < *end).expect("a version").1;
        let found = (value["id"].as_u64(), value["count"].as_u64(), value["version"].as_str());
        assert_eq!(found, (Some(n), Some(*count), Some(version)), "{value}");
    }
}
