//! (h) From produce to committed output, at 10 messages a second with the default settings.

use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use host::log::{Log, Reading, Start};
use host::message::Batch;
use host::source::Poll;

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
    let mut reader = kafka.reader(&into, &Reading::new(&format!("{into}-reader"), Start::Earliest)).expect("a reader");
    let mut writer = kafka.writer(&topic).expect("a writer");
    let mut latencies = Vec::new();
    let (mut sent, mut next) = (0, Instant::now());
    // The first ones find the host starting.
    let warm = 20;
    while latencies.len() < MESSAGES + warm {
        if sent < MESSAGES + warm && next <= Instant::now() && sent <= latencies.len() + warm {
            next += EVERY;
            sent += 1;
            let mut batch = Batch::new();
            let now = micros();
            batch.push(None, Some(format!(r#"{{"sent": {now}}}"#).as_bytes()), i64::try_from(now / 1_000).unwrap_or(0));
            writer.append(&batch).and_then(|()| writer.flush()).expect("a message");
        }
        match reader.poll(Duration::from_millis(1)).expect("the output") {
            Poll::Assigned(assigned) => {
                assigned.iter().for_each(|assigned| reader.start(assigned.partition, None).expect("a start"));
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
    running.kill().and_then(|()| running.wait()).expect("the host's end");
    latencies.split_off(warm)
}

fn micros() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_micros()
}
