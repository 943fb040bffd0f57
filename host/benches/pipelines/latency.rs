//! (h) From produce to committed output, at 10 messages a second with the default settings.

use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use host::log::kafka::Kafka;
use host::log::{Log, Reading, Start, Writer};
use host::message::Batch;
use host::source::{Poll, Source};

use crate::program;
use crate::topic::Setting;

const MESSAGES: usize = 300;
const EVERY: Duration = Duration::from_millis(100);

pub fn run(setting: &Setting) {
    println!("\n(h) From produce to committed output, {MESSAGES} messages, 10 a second, default settings");
    for (name, delivery) in [("exactly once", "exactly-once"), ("at least once", "at-least-once")] {
        let mut latencies = measure(setting, delivery);
        latencies.sort();
        let at = |share: usize| latencies[latencies.len() * share / 100].as_secs_f64() * 1e3;
        println!("{name:>22}: p50 {:.0} ms, p99 {:.0} ms", at(50), at(99));
    }
}

fn measure(setting: &Setting, delivery: &str) -> Vec<Duration> {
    let broker = &setting.broker;
    let topic = setting.fill(&format!("latency-{delivery}"), 1, 0, |_, _| ());
    let into = format!("{topic}-out");
    let kafka = setting.kafka();
    kafka.create_topic(&into, 1).expect("a topic");
    let pipeline = format!(
        r#"
name = "{into}"

[source]
uri = "kafka://{broker}/{topic}"

[[plugin]]
file = "{{plugins}}/flatten.wasm"

[sink]
uri = "kafka://{broker}/{into}"
delivery = "{delivery}"
"#
    );
    let directory = tempfile::tempdir().expect("a directory");
    let mut running = program::run(directory.path(), &pipeline, &[]).stdin(Stdio::null()).spawn().expect("the host");
    // The first ones find the host starting.
    let mut probe = Probe::new(&kafka, &topic, &into);
    probe.measure(20);
    let latencies = probe.measure(MESSAGES);
    running.kill().and_then(|()| running.wait()).expect("the host's end");
    latencies
}

/// Whoever sends a message and waits for what becomes of it.
pub struct Probe {
    writer: Box<dyn Writer>,
    reader: Box<dyn Source>,
}

impl Probe {
    pub fn new(kafka: &Kafka, topic: &str, into: &str) -> Self {
        let reading = Reading::new(&format!("{into}-reader"), Start::Earliest);
        let writer = kafka.writer(topic).expect("a writer");
        Self { writer, reader: kafka.reader(into, &reading).expect("a reader") }
    }

    /// How long each of so many messages takes, 10 a second.
    pub fn measure(&mut self, messages: usize) -> Vec<Duration> {
        let mut latencies = Vec::new();
        let (mut sent, mut next) = (0, Instant::now());
        while latencies.len() < messages {
            if sent < messages && next <= Instant::now() {
                next += EVERY;
                sent += 1;
                self.send();
            }
            match self.reader.poll(Duration::from_millis(1)).expect("the output") {
                Poll::Assigned(assigned) => {
                    assigned.iter().for_each(|a| self.reader.start(a.partition, None).expect("a start"));
                }
                Poll::Messages(fetch) => {
                    let now = micros();
                    for value in fetch.batch.values.iter().flatten() {
                        let value: serde_json::Value = serde_json::from_slice(value).expect("JSON");
                        let sent = u128::from(value["sent"].as_u64().expect("when it was sent"));
                        latencies.push(Duration::from_micros((now - sent) as u64));
                    }
                }
                _ => {}
            }
        }
        latencies
    }

    fn send(&mut self) {
        let mut batch = Batch::new();
        let now = micros();
        batch.push(None, Some(format!(r#"{{"sent": {now}}}"#).as_bytes()), i64::try_from(now / 1_000).unwrap_or(0));
        self.writer.append(&batch).and_then(|()| self.writer.flush()).expect("a message");
    }
}

fn micros() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_micros()
}
