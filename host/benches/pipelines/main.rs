//! Whole pipelines on a real broker: the host as its user runs it, beside a native program that does the same without
//! sandbox, checks or checkpoints. CPU time and peak memory are the operating system's.
//!
//! Run by `cargo xtask bench`; a word after it picks what contains it: csv, windows, delivery, workers, state, latency,
//! poison, swap, hostile, parquet, delta, query.
//! `BENCH_MESSAGES` sets how many messages (2,000,000).

mod csv;
mod lake;
mod latency;
mod native;
mod poison;
mod process;
mod program;
mod query;
mod state;
mod swap;
mod topic;
mod windows;

/// A part of the bench, by the word that picks it.
type Part = (&'static str, fn(&topic::Setting));

const PARTS: &[Part] = &[
    ("csv", csv::run),
    ("windows", windows::against_native),
    ("delivery", windows::by_delivery),
    ("workers", windows::by_workers),
    ("state", state::run),
    ("latency", latency::run),
    ("poison", poison::run),
    ("swap", swap::pauses),
    ("hostile", swap::beside_hostile_ones),
    ("parquet", lake::parquet),
    ("delta", lake::delta),
    ("query", query::run),
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    if std::env::args().nth(1).as_deref() == Some("native") {
        return native::main(arguments.nth(1).expect("a job"), arguments);
    }
    let words: Vec<String> = arguments.filter(|word| !word.starts_with('-')).collect();
    let setting = topic::Setting::from_environment();
    for (name, run) in PARTS {
        if words.is_empty() || words.iter().any(|word| name.contains(word.as_str())) {
            run(&setting);
        }
    }
}
