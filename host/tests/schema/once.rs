//! kill -9 in the middle of a run: with schemas, too, each message comes out once.

use std::path::Path;

use host::log::Log;
use serde_json::json;

use super::{Place, avro, record};
use crate::program::{Running, host, run_ok, wait_for};

const MESSAGES: usize = 30_000;

/// Every tenth message does not fit. Those that do are written as Avro, and read again.
#[test]
fn each_message_comes_out_once_however_often_the_host_is_killed() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let schema = record(&json!([{"name": "n", "type": "int"}]));
    let place = Place::new(&[("r.avsc", &schema)]);
    let messages: Vec<String> =
        (0..MESSAGES).map(|n| if n % 10 == 3 { format!("{{\"m\":{n}}}") } else { format!("{{\"n\":{n}}}") }).collect();
    let messages: Vec<(&str, Option<&[u8]>)> =
        messages.iter().map(|message| ("key", Some(message.as_bytes()))).collect();
    place.put("in", &messages);
    for topic in ["avro", "json", "write.dead"] {
        place.log().create_topic(topic, 1).unwrap();
    }
    let fit = MESSAGES - MESSAGES / 10;
    let sink = "\"kafka:///avro\"\n[sink.schema]\navro = \"r.avsc\"";
    let write = place.pipeline("write", "\"kafka:///in\"", sink);
    let read = place.pipeline("read", "\"kafka:///avro\"\n[source.schema]\navro = \"r.avsc\"", "\"kafka:///json\"");
    let mut kills = 0;
    for (file, topic) in [(&write, "avro"), (&read, "json")] {
        kills += killed(&place, file, topic, fit, &mut random);
        run_ok(place.path(), &["run", file, "--until", "end"]);
    }
    assert!(kills > 0);
    let numbers = || (0..MESSAGES).filter(|n| n % 10 != 3).map(|n| json!({"n": n}));
    let written = place.values("avro");
    assert!(written.iter().map(|value| avro(&schema, value.as_ref().unwrap())).eq(numbers()), "{}", written.len());
    let found = place.values("json");
    let json =
        |value: &Option<Vec<u8>>| -> serde_json::Value { serde_json::from_slice(value.as_ref().unwrap()).unwrap() };
    assert!(found.iter().map(json).eq(numbers()), "{}", found.len());
    assert_eq!(place.values("write.dead").len(), MESSAGES / 10);
}

/// Runs a pipeline again and again, killed at random, until it has written all; says how often it was.
fn killed(place: &Place, file: &str, topic: &str, messages: usize, random: &mut fastrand::Rng) -> usize {
    let log = place.log();
    let written = || usize::try_from(log.describe(topic).unwrap().partitions[0].1).unwrap();
    let path: &Path = place.path();
    let mut kills = 0;
    while written() < messages {
        let enough = (written() + random.usize(0..8_000)).min(messages - 1);
        let running = Running::start(host(path, &["run", file]));
        wait_for("output", || (written() > enough).then_some(()));
        // The last one may have ended by itself.
        kills += usize::from(!running.stop("KILL").success());
    }
    kills
}
