//! (p) What messages cost that make a plugin fail, beside the same pipeline without any.

use std::path::Path;
use std::process::Command;

use crate::topic::{Setting, open_notify};
use crate::{process, program};

/// Of each run: its name, how the plugin fails, its limits, and one message in how many.
const RUNS: [(&str, &str, &str, u64); 4] = [
    ("without", "trap", "", u64::MAX),
    ("trap", "trap", "", 100_000),
    ("memory", "allocate", "memory = \"64MiB\"", 1_000_000),
    ("endless loop, 200 ms", "loop-in-process", "call = \"200ms\"", 1_000_000),
];

pub fn run(setting: &Setting) {
    let messages = setting.messages;
    println!("\n(p) Poison among {messages} messages, Kafka to Kafka, exactly once");
    println!(
        "{:>22} {:>12} {:>8} {:>12} {:>14} {:>20}",
        "", "one in", "letters", "messages/s", "of without", "ms for each of them"
    );
    let mut without = f64::NAN;
    for (name, how, limits, one_in) in RUNS {
        let topic = setting.fill(&format!("poison-{how}-{one_in}"), 1, messages, |index, batch| {
            // In the middle of as many, so that the last one is not the end.
            if index % one_in == one_in / 2 {
                batch.push(None, Some(b"poison"), 0);
            } else {
                open_notify(index, batch);
            }
        });
        let poison = (messages + one_in / 2) / one_in;
        let seconds = (0..3).map(|round| seconds(setting, &topic, round, how, limits, poison)).fold(f64::MAX, f64::min);
        if poison == 0 {
            without = seconds;
        }
        let one_in = if poison == 0 { "-".to_owned() } else { one_in.to_string() };
        let each = if poison == 0 { 0.0 } else { (seconds - without) * 1e3 / poison as f64 };
        let (speed, share) = (messages as f64 / seconds, without / seconds);
        println!("{name:>22} {one_in:>12} {poison:>8} {speed:>12.0} {share:>14.2} {each:>20.0}");
    }
}

/// How long a run takes, of which the outcome is looked at.
fn seconds(setting: &Setting, topic: &str, round: u32, how: &str, limits: &str, poison: u64) -> f64 {
    let directory = tempfile::tempdir().expect("a directory");
    let name = format!("{topic}-{round}");
    let used = process::run(command(setting, topic, &name, how, limits, directory.path()));
    let letters = std::fs::read_to_string(directory.path().join("letters.jsonl")).unwrap_or_default();
    assert_eq!(letters.lines().count() as u64, poison, "letters of {name}");
    used.wall.as_secs_f64()
}

fn command(
    Setting { broker, .. }: &Setting,
    topic: &str,
    name: &str,
    how: &str,
    limits: &str,
    directory: &Path,
) -> Command {
    let pipeline = format!(
        r#"
name = "{name}"
dead_letters = "jsonl:letters.jsonl"

[source]
uri = "kafka://{broker}/{topic}"
until = "end"

[[plugin]]
file = "{{plugins}}/hostile.wasm"
[plugin.settings]
how = "{how}"
marked = true
[plugin.limits]
{limits}

[sink]
uri = "kafka://{broker}/{name}.out"
"#
    );
    program::run(directory, &pipeline, &[])
}
