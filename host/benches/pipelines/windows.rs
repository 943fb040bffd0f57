//! Window counts of wheretheiss.at messages of about 300 bytes, 30 s, from a topic into a topic.

use std::path::Path;
use std::process::Command;

use host::log::Log;

use crate::process::Used;
use crate::topic::{Setting, where_the_iss_at};
use crate::{native, process, program};

const BY_VISIBILITY: &str = r#"{ window = "30s", by = ["visibility"], aggregates = ["count", "max(altitude)"] }"#;
const BY_STATION: &str = r#"{ window = "30s", by = ["id"], aggregates = ["count", "max(altitude)"] }"#;

/// (d) End to end, exactly once, beside a native program without sandbox and checkpoints.
pub fn against_native(setting: &Setting) {
    let messages = setting.messages;
    println!("\n(d) Window counts by visibility over {messages} messages, exactly once, Kafka to Kafka");
    let topic = setting.fill("windows", 1, messages, where_the_iss_at);
    heading();
    for round in 0..3 {
        let host = counts(setting, &topic, &format!("host-{round}"), BY_VISIBILITY, "exactly-once", 1);
        row("host", messages, &host);
        let into = format!("{topic}-native-{round}");
        setting.kafka().create_topic(&into, 1).expect("a topic");
        let group = format!("{topic}-native-{round}");
        let native = native::command("windows", &setting.broker, &topic, &group, Path::new(&into));
        row("native", messages, &process::run(native));
    }
}

/// (f) What exactly once costs: the same pipeline with and without transactions, at the default interval.
pub fn by_delivery(setting: &Setting) {
    let messages = setting.messages;
    println!("\n(f) The same, by delivery");
    let topic = setting.fill("delivery", 1, messages, where_the_iss_at);
    heading();
    let mut fastest = [0.0_f64; 2];
    for round in 0..3 {
        for (fastest, delivery) in fastest.iter_mut().zip(["exactly-once", "at-least-once"]) {
            let run = counts(setting, &topic, &format!("{delivery}-{round}"), BY_VISIBILITY, delivery, 1);
            row(delivery, messages, &run);
            *fastest = fastest.max(run.speed(messages));
        }
    }
    println!("best of each: exactly once at {:.2} of the speed of at least once", fastest[0] / fastest[1]);
}

/// (g) The same by station, over four partitions: one worker and two.
pub fn by_workers(setting: &Setting) {
    let messages = setting.messages;
    println!("\n(g) Window counts by station over 4 partitions, exactly once, by workers");
    let topic = setting.fill("workers", 4, messages, where_the_iss_at);
    heading();
    let mut fastest = [0.0_f64; 2];
    for round in 0..3 {
        for (fastest, workers) in fastest.iter_mut().zip([1, 2]) {
            let run = counts(setting, &topic, &format!("{workers}-{round}"), BY_STATION, "exactly-once", workers);
            row(&format!("{workers} worker(s)"), messages, &run);
            *fastest = fastest.max(run.speed(messages));
        }
    }
    println!("best of each: two workers at {:.2} times the speed of one", fastest[1] / fastest[0]);
}

fn heading() {
    println!("{:>22} {:>12} {:>20} {:>12}", "", "messages/s", "CPU-s per million", "peak MB");
}

fn row(name: &str, messages: u64, run: &Used) {
    let (speed, cpu) = (run.speed(messages), run.cpu_per_million(messages));
    println!("{name:>22} {speed:>12.0} {cpu:>20.3} {:>12.0}", run.peak as f64 / 1e6);
}

/// One run of window counts into a topic of its own, which must then hold results.
fn counts(setting: &Setting, topic: &str, run: &str, settings: &str, delivery: &str, workers: usize) -> Used {
    let directory = tempfile::tempdir().expect("a directory");
    let into = format!("{topic}-{run}");
    let command = pipeline(setting, topic, &into, settings, delivery, workers, directory.path());
    let used = process::run(command);
    let found = setting.kafka().read(&into, 0, 0, 1).expect("the results");
    assert!(!found.batch.is_empty(), "no window came out into {into}");
    used
}

fn pipeline(
    Setting { broker, .. }: &Setting,
    topic: &str,
    into: &str,
    settings: &str,
    delivery: &str,
    workers: usize,
    directory: &Path,
) -> Command {
    let pipeline = format!(
        r#"
name = "{into}"
workers = {workers}

[source]
uri = "kafka://{broker}/{topic}"
until = "end"

[[plugin]]
file = "{{plugins}}/window-counts.wasm"
settings = {settings}

[sink]
uri = "kafka://{broker}/{into}"
delivery = "{delivery}"
"#
    );
    program::run(directory, &pipeline, &[])
}
