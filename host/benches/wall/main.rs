//! What the sandbox costs: the crossing alone, `flatten` and `window-counts` in the sandbox beside the same code native,
//! state: taking what changed and giving it back; and what a schema costs. Run by `cargo xtask bench`; never a test, because these machines are noisy.

mod schemas;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use apogee_sdk::wire;
use host::message::{Batch, Column};
use host::plugin::{Engine, Instance, Limits};
use serde::Deserialize;
use serde_json::{Value, json};

/// Each figure is the best of this many rounds: the least disturbed one.
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(100);

fn main() {
    // Words pick parts of the other bench; this one is picked by its name.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if !words.is_empty() && !words.iter().any(|word| word == "wall") {
        return;
    }
    let engine = Engine::new().expect("an engine");
    crossing(&engine);
    flatten(&engine);
    windows(&engine);
    state(&engine);
    schemas::measure();
}

fn crossing(engine: &Engine) {
    println!("(a) The crossing: a batch of Open Notify messages in, the same batch out, ns a message");
    println!("{:>12} {:>12} {:>18}", "batch", "sandbox", "native copy twice");
    let mut echo = open(engine, "hostile", &json!({ "how": "echo" }));
    for size in [1, 100, 1_000] {
        let batch = batch(size, OPEN_NOTIFY);
        let sandbox = time(size, || drop(black_box(echo.process(&batch).expect("an echo"))));
        let native = time(size, || drop(black_box(batch.clone().clone())));
        println!("{size:>12} {sandbox:>12.1} {native:>18.1}");
    }
}

const OPEN_NOTIFY: &str = r#"{"iss_position": {"longitude": "-85.6433", "latitude": "-15.3433"}, "timestamp": 1690000000, "message": "success"}"#;
const WHERE_THE_ISS_AT: &str = r#"{"name": "iss", "id": 25544, "latitude": -48.947826322504, "longitude": 125.29514904266, "altitude": 433.83561822897, "velocity": 27538.217323796, "visibility": "daylight", "footprint": 4577.1935346024, "timestamp": 1714032708, "daynum": 2460425.8415278, "solar_lat": 13.394772525764, "solar_lon": 56.529414593886, "units": "kilometers"}"#;

fn flatten(engine: &Engine) {
    const SIZE: usize = 1_000;
    println!("\n(b) flatten, batches of {SIZE}, ns a message (crossing and epoch checks included)");
    println!(
        "{:>16} {:>10} {:>12} {:>14} {:>14} {:>16}",
        "shape", "sandbox", "same native", "serde_json", "x same native", "x serde_json"
    );
    let open_notify = json!({ "fields": [
        { "from": "timestamp", "name": "local_time", "type": "timestamp", "unit": "s" },
        { "from": "iss_position_longitude", "name": "longitude" },
        { "from": "iss_position_latitude", "name": "latitude" },
    ] });
    row::<OpenNotify>(engine, "Open Notify", OPEN_NOTIFY, &open_notify, SIZE);
    row::<WhereTheIssAt>(engine, "wheretheiss.at", WHERE_THE_ISS_AT, &json!({}), SIZE);
}

fn row<T: for<'a> Deserialize<'a>>(engine: &Engine, shape: &str, message: &str, settings: &Value, size: usize) {
    let batch = batch(size, message);
    let mut instance = open(engine, "flatten", settings);
    let sandbox = time(size, || drop(black_box(instance.process(&batch).expect("a flattened batch"))));
    let native = native::<flatten::Flatten>(settings, &batch, 0);
    let serde = time(size, || {
        for value in &batch.values {
            black_box(serde_json::from_slice::<T>(value.unwrap_or_default()).expect("a typed struct"));
        }
    });
    println!(
        "{shape:>16} {sandbox:>10.0} {native:>12.0} {serde:>14.0} {:>14.2} {:>16.2}",
        sandbox / native,
        sandbox / serde
    );
}

/// Windows of 30 s over a message each second.
fn windows(engine: &Engine) {
    const SIZE: usize = 1_000;
    println!("\n(i) window-counts by visibility, count and max(altitude), 30 s, batches of {SIZE}, ns a message");
    println!("{:>16} {:>10} {:>12}", "shape", "sandbox", "same native");
    let settings = json!({ "window": "30s", "by": ["visibility"], "aggregates": ["count", "max(altitude)"] });
    let mut batch = batch(SIZE, WHERE_THE_ISS_AT);
    batch.timestamps = (0..SIZE as i64).map(|second| second * 1_000).collect();
    let native = native::<window_counts::WindowCounts>(&settings, &batch, SIZE as i64 * 1_000);
    let mut instance = open(engine, "window-counts", &settings);
    let sandbox = time(SIZE, || {
        batch.timestamps.iter_mut().for_each(|time| *time += SIZE as i64 * 1_000);
        drop(black_box(instance.process(&batch).expect("windows")));
    });
    println!("{:>16} {sandbox:>10.0} {native:>12.0}", "wheretheiss.at");
}

/// A million keys: all of them taken and given back once, and what a checkpoint takes where few have changed.
fn state(engine: &Engine) {
    const KEYS: i64 = 1_000_000;
    println!("\n(j) state of {KEYS} keys in max-altitude, ns an entry");
    let settings = json!({ "field": "v" });
    let mut instance = open(engine, "max-altitude", &settings);
    let put = |instance: &mut Instance, keys: i64, value: i64| {
        for from in (0..keys).step_by(1_000) {
            let mut batch = Batch::new();
            for key in from..from + 1_000 {
                batch.push(
                    Some(format!("key-{key:09}").as_bytes()),
                    Some(format!("{{\"v\":{value}}}").as_bytes()),
                    key,
                );
            }
            instance.process(&batch).expect("new highest values");
        }
    };
    let take = |instance: &mut Instance| {
        let start = Instant::now();
        let parts: Vec<_> = std::iter::from_fn(|| instance.changes().expect("changes")).collect();
        let entries: usize = parts.iter().map(|part| part.len()).sum();
        (parts, start.elapsed().as_nanos() as f64 / entries as f64)
    };
    put(&mut instance, KEYS, 1);
    let (parts, all) = take(&mut instance);
    put(&mut instance, 10_000, 2);
    let (_, few) = take(&mut instance);
    let version = env!("CARGO_PKG_VERSION");
    let start = Instant::now();
    let mut other = open(engine, "max-altitude", &settings);
    parts.iter().for_each(|part| other.restore(version, part).expect("its own state"));
    let back = start.elapsed().as_nanos() as f64 / KEYS as f64;
    println!("{:>16} {:>16} {:>16}", "all changed", "10,000 changed", "given back");
    println!("{all:>16.0} {few:>16.0} {back:>16.0}");
}

/// The plugin's own code without the sandbox, on batches that are there already, each `step` ms after the one before.
fn native<T: apogee_sdk::Transform>(settings: &Value, batch: &Batch, step: i64) -> f64 {
    const BATCHES: usize = 200;
    let column = |column: &Column| wire::Column { bytes: column.bytes.clone(), lengths: column.lengths.clone() };
    let mut plugin: T = apogee_sdk::open(&settings.to_string()).expect("a plugin, native");
    let mut best = f64::INFINITY;
    let mut later = 0;
    for _ in 0..ROUNDS {
        let batches: Vec<_> = std::iter::repeat_with(|| {
            later += step;
            wire::Batch {
                keys: column(&batch.keys),
                values: column(&batch.values),
                timestamps: batch.timestamps.iter().map(|time| time + later).collect(),
                headers: Vec::new(),
            }
        })
        .take(BATCHES)
        .collect();
        let start = Instant::now();
        for batch in batches {
            drop(black_box(apogee_sdk::process(&mut plugin, batch)));
        }
        best = best.min(start.elapsed().as_nanos() as f64 / (BATCHES * batch.len()) as f64);
    }
    best
}

fn open(engine: &Engine, name: &str, settings: &Value) -> Instance {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../plugins/{name}.wasm"));
    engine.load(&path).and_then(|plugin| plugin.open(settings, &Limits::default())).expect("a built plugin")
}

fn batch(size: usize, message: &str) -> Batch {
    let mut batch = Batch::new();
    for index in 0..size {
        // Digits vary, as they do in a stream, so that no branch is learned by heart.
        let digits = format!("{:04}", index % 10_000);
        let message = message.replace("6433", &digits).replace("32504", &format!("3{digits}"));
        batch.push(None, Some(message.as_bytes()), 1_690_000_000_000 + index as i64);
    }
    batch
}

/// Nanoseconds for each of `size` messages.
fn time(size: usize, mut work: impl FnMut()) -> f64 {
    work();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let (start, mut calls) = (Instant::now(), 0_u32);
        while start.elapsed() < ROUND {
            work();
            calls += 1;
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(calls) / size as f64);
    }
    best
}

/// The Open Notify reply, as a person would write it down for serde.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only the reading is measured")]
struct OpenNotify {
    iss_position: Position,
    timestamp: i64,
    message: String,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only the reading is measured")]
struct Position {
    longitude: String,
    latitude: String,
}

/// The wheretheiss.at reply.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only the reading is measured")]
struct WhereTheIssAt {
    name: String,
    id: u32,
    latitude: f64,
    longitude: f64,
    altitude: f64,
    velocity: f64,
    visibility: String,
    footprint: f64,
    timestamp: i64,
    daynum: f64,
    solar_lat: f64,
    solar_lon: f64,
    units: String,
}
