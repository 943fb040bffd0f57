//! (i) How long a stream stands still when a version changes; (j) what a plugin that misbehaves costs the pipeline
//! beside it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use host::control::api::Answer;
use host::log::Log;
use host::message::Batch;
use host::plugin::{Engine, Limits};
use host::swap::Outcome;

use crate::latency::Probe;
use crate::program;
use crate::topic::Setting;

const SWAPS: usize = 200;
/// Messages a second, while versions change.
const LOAD: u32 = 2_000;
const KEYS: u64 = 100_000;

pub fn pauses(setting: &Setting) {
    println!("\n(i) For how long no message is processed because of a swap, {SWAPS} swaps at {LOAD} messages a second");
    let directory = tempfile::tempdir().expect("a directory");
    let other = directory.path().join("flatten.wasm");
    std::fs::write(&other, other_bytes(&component("flatten"))).expect("a component");
    measure(setting, "flatten, without state", [component("flatten"), other], 0);
    measure(setting, "stamp, 100,000 keys", ["stamp-1", "stamp-2"].map(component), KEYS);
}

/// Two versions that take turns; there are so many keys before they do.
fn measure(setting: &Setting, name: &str, versions: [PathBuf; 2], keys: u64) {
    let topic = setting.fill(&format!("swap-{keys}"), 1, keys.max(1), |index, batch| message(index, keys, batch));
    let host = Host::start(setting, &[(&topic, &versions[0], "")]);
    host.has_read(&topic, keys.max(1));
    let load = Load::start(setting, &topic, move |index, batch| message(index, keys, batch));
    let (mut pauses, mut took) = (Vec::new(), Vec::new());
    for round in 1..=SWAPS {
        let start = Instant::now();
        match host.swap(&topic, &versions[round % 2], &["--trial", "50"]) {
            Some(Outcome::Adopted { pause, .. }) => pauses.push(Duration::from_micros(pause)),
            other => panic!("swap {round} came to {other:?}"),
        }
        took.push(start.elapsed());
    }
    load.end();
    println!("{name:>22}: pause {}; the whole swap {}", spread(&mut pauses), spread(&mut took));
}

fn message(index: u64, keys: u64, batch: &mut Batch) {
    let key = format!("key-{:07}", index * 7_919 % keys.max(1));
    batch.push(Some(key.as_bytes()), Some(format!(r#"{{"id": {index}}}"#).as_bytes()), 1_714_032_708_000);
}

/// Messages of each measurement, 10 a second.
const PROBES: usize = 150;
/// Measurements of each kind, in turn.
const ROUNDS: usize = 4;
const ECHO: &str = "settings.how = \"echo\"\nlimits.call = \"200ms\"\nlimits.memory = \"64MiB\"\n";

pub fn beside_hostile_ones(setting: &Setting) {
    println!("\n(j) From produce to committed output, beside a pipeline at {LOAD} messages a second in the same host");
    let [own, other] = ["hostile-own", "hostile-other"]
        .map(|name| setting.fill(name, 1, 1, |_, batch| batch.push(None, Some(br#"{"sent": 0}"#), 0)));
    let plugins = [component("flatten"), component("hostile")];
    let host = Host::start(setting, &[(&own, &plugins[0], ""), (&other, &plugins[1], ECHO)]);
    let load = Load::start(setting, &other, |index, batch| message(index, 1_000, batch));
    let mut probe = Probe::new(&setting.kafka(), &own, &format!("{own}-out"));
    probe.measure(21);
    let ways = ways(&plugins[1]);
    let (mut calm, mut hostile, mut done) = (Vec::new(), Vec::new(), Done::default());
    for _ in 0..ROUNDS {
        calm.extend(probe.measure(PROBES));
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for how in ways.iter().cycle().skip(done.swaps).take_while(|_| !ended.load(Ordering::Relaxed)) {
                    done.add(host.misbehave(&other, &plugins[1], how));
                }
            });
            hostile.extend(probe.measure(PROBES));
            ended.store(true, Ordering::Relaxed);
        });
    }
    load.end();
    assert!(done.swaps >= ways.len(), "only {} of {} ways had their turn", done.swaps, ways.len());
    let [calm_99, hostile_99] = [&mut calm, &mut hostile].map(|latencies| {
        latencies.sort();
        at(latencies, 99)
    });
    println!("{:>22}: {}", "nothing but load", spread(&mut calm));
    println!("{:>22}: {}", "hostile ones", spread(&mut hostile));
    println!("{done:?} of {} ways: p99 {:.2} times that without", ways.len(), hostile_99 / calm_99);
}

/// What the swaps came to.
#[derive(Debug, Default)]
struct Done {
    swaps: usize,
    refused: usize,
    rolled_back: usize,
    adopted: usize,
}

impl Done {
    fn add(&mut self, outcome: Option<Outcome>) {
        self.swaps += 1;
        match outcome {
            Some(Outcome::RolledBack { .. }) => self.rolled_back += 1,
            Some(Outcome::Adopted { .. }) => self.adopted += 1,
            _ => self.refused += 1,
        }
    }
}

/// Every way to misbehave, as the plugin lists them where it is asked for one that it does not know.
fn ways(hostile: &Path) -> Vec<String> {
    let plugin = Engine::new().and_then(|engine| engine.load(hostile)).expect("the hostile plugin");
    let refusal = plugin.open(&serde_json::json!({ "how": "?" }), &Limits::default()).map(|_| ()).expect_err("a list");
    let refusal = refusal.to_string();
    let (_, list) = refusal.split_once("expected one of ").expect("a list of the ways");
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A host with pipelines from topics into others of the same name and `-out`.
struct Host {
    directory: tempfile::TempDir,
    process: Child,
    kafka: host::log::kafka::Kafka,
}

impl Host {
    /// Of each pipeline its topic, its component, and further lines about that.
    fn start(setting: &Setting, pipelines: &[(&str, &Path, &str)]) -> Self {
        let (broker, kafka) = (&setting.broker, setting.kafka());
        let directory = tempfile::tempdir().expect("a directory");
        let mut command: Option<Command> = None;
        for (topic, component, lines) in pipelines {
            kafka.create_topic(&format!("{topic}-out"), 1).expect("a topic");
            let text = format!(
                "name = \"{topic}\"\n[source]\nuri = \"kafka://{broker}/{topic}\"\nidle = \"1h\"\n[[plugin]]\n\
                 file = {component:?}\n{lines}\n[sink]\nuri = \"kafka://{broker}/{topic}-out\"\n"
            );
            match &mut command {
                None => command = Some(program::run(directory.path(), &text, &[])),
                Some(command) => {
                    let file = directory.path().join(format!("{topic}.toml"));
                    std::fs::write(&file, text).expect("a pipeline file");
                    command.arg(file);
                }
            }
        }
        let mut command = command.expect("a pipeline");
        command.env("XDG_RUNTIME_DIR", directory.path()).stdin(Stdio::null()).stdout(Stdio::null());
        Self { process: command.spawn().expect("the host"), directory, kafka }
    }

    /// Waits until as many messages have come out.
    fn has_read(&self, topic: &str, messages: u64) {
        let start = Instant::now();
        let end = || self.kafka.describe(&format!("{topic}-out")).expect("the output").partitions[0].1;
        // Marks of transactions take offsets, too.
        while (end() as u64) < messages {
            assert!(start.elapsed() < Duration::from_secs(120), "{topic} was not read");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn swap(&self, pipeline: &str, component: &Path, more: &[&str]) -> Option<Outcome> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_host"));
        command.args(["swap", pipeline]).arg(component).arg("--json").args(more);
        let output = command.env("XDG_RUNTIME_DIR", self.directory.path()).output().expect("the command");
        // Adopted, rolled back, or refused; nothing else is an answer.
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code().is_some_and(|code| code < 3), "{}: {said}", output.status);
        let answers = String::from_utf8_lossy(&output.stdout).into_owned();
        let answer = answers.lines().find_map(|line| serde_json::from_str::<Answer>(line).ok());
        answer.and_then(|answer| answer.outcome)
    }

    /// Swaps in one that misbehaves, and where it gets through, the good one again.
    fn misbehave(&self, pipeline: &str, hostile: &Path, how: &str) -> Option<Outcome> {
        let outcome = self.swap(pipeline, hostile, &["--set", &format!("how={how}"), "--trial", "50"]);
        if matches!(outcome, Some(Outcome::Adopted { .. })) {
            self.swap(pipeline, hostile, &["--set", "how=echo", "--trial", "50"]);
        }
        outcome
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A thread that sends messages until it is told to end.
struct Load {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Load {
    fn start(setting: &Setting, topic: &str, message: impl Fn(u64, &mut Batch) + Send + 'static) -> Self {
        let mut writer = setting.kafka().writer(topic).expect("a writer");
        let ended = Arc::new(AtomicBool::new(false));
        let asked = ended.clone();
        let thread = std::thread::spawn(move || {
            let (start, mut sent) = (Instant::now(), 0);
            while !asked.load(Ordering::Relaxed) {
                let mut batch = Batch::new();
                // As many as there are each five milliseconds.
                (sent..sent + u64::from(LOAD / 200)).for_each(|index| message(index, &mut batch));
                sent += batch.len() as u64;
                writer.append(&batch).and_then(|()| writer.flush()).expect("a message");
                let next = start + Duration::from_secs(sent) / LOAD;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        Self { ended, thread }
    }

    fn end(self) {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load");
    }
}

fn component(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../plugins/{name}.wasm"))
}

/// The same component with another hash: it has a section of its own at its end.
fn other_bytes(component: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(component).expect("a component");
    bytes.extend([0, 5, 4]);
    bytes.extend(b"note");
    bytes
}

fn spread(durations: &mut [Duration]) -> String {
    durations.sort();
    format!("p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", at(durations, 50), at(durations, 99), at(durations, 100))
}

/// Milliseconds, of sorted ones.
fn at(durations: &[Duration], percent: usize) -> f64 {
    durations[(durations.len() * percent / 100).min(durations.len() - 1)].as_secs_f64() * 1e3
}
