//! A table as a stream, while others change it.

use std::fs;
use std::time::Duration;

use host::log::embedded::Embedded;
use host::sink::SinkError;
use host::source::delta::{DeltaSource, Options, Start, identity};
use host::source::{Poll, Source, SourceError};
use host::uri::Location;

use super::Bench;

fn options(bench: &Bench, start: Start) -> Options {
    Options { table: Location::Directory(bench.table()), start }
}

fn source(bench: &Bench, group: &str, start: Start) -> DeltaSource {
    let positions = Embedded::open(&bench.folder.path().join("log.db")).unwrap();
    let mut source = DeltaSource::open(&options(bench, start), &Default::default(), positions, group).unwrap();
    assert!(matches!(source.poll(Duration::ZERO).unwrap(), Poll::Assigned(_)));
    source.start(0, None).unwrap();
    source
}

/// The numbers of all that is there now, in the order in which they come.
fn numbers(mut source: DeltaSource) -> Result<Vec<i64>, SourceError> {
    source.drain()?;
    let mut numbers = Vec::new();
    loop {
        match source.poll(Duration::from_millis(100))? {
            Poll::Messages(fetch) => numbers.extend(fetch.batch.values.iter().map(|row| {
                let row: serde_json::Value = serde_json::from_slice(row.unwrap()).unwrap();
                row["n"].as_i64().unwrap()
            })),
            Poll::End => return Ok(numbers),
            Poll::Idle => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Five versions of ten rows, behind the creation and the claim.
fn table() -> Bench {
    let bench = Bench::new();
    let mut writer = bench.writer("g");
    writer.open().unwrap();
    (0..5).for_each(|at| writer.append(at * 10, at * 10 + 10).unwrap());
    bench
}

#[test]
fn it_begins_where_it_is_told() {
    let bench = table();
    let of = |start| numbers(source(&bench, "r", start)).unwrap();
    assert_eq!(of(Start::Earliest), (0..50).collect::<Vec<_>>());
    assert_eq!(of(Start::Version(4)), (20..50).collect::<Vec<_>>());
    assert_eq!(of(Start::Latest), [0; 0]);
    // What is added from the first beginning on, also where it ended before it had read anything.
    let after = || numbers(source(&bench, "late", Start::Latest)).unwrap();
    assert_eq!(after(), [0; 0]);
    let mut writer = bench.writer("g");
    writer.open().unwrap();
    writer.append(50, 60).unwrap();
    assert_eq!(after(), (50..60).collect::<Vec<_>>());
}

#[test]
fn what_only_moves_is_passed_over_and_what_is_taken_away_ends_it() {
    let bench = table();
    bench.change("compact", &[]);
    bench.change("append", &[r#"[{"n": 50, "t": "foreign"}]"#]);
    assert_eq!(numbers(source(&bench, "r", Start::Earliest)).unwrap(), (0..51).collect::<Vec<_>>());
    bench.change("delete", &["n = 7"]);
    let error = numbers(source(&bench, "r", Start::Earliest)).unwrap_err().to_string();
    assert!(error.contains("version 9 takes rows away"), "{error}");
    assert!(error.contains("under another `group`, with `version = 10` in [source]"), "{error}");
    assert_eq!(numbers(source(&bench, "another", Start::Version(10))).unwrap(), [0; 0]);
}

#[test]
fn without_its_first_versions_it_begins_with_all_of_the_first_that_can_be_told() {
    let bench = table();
    bench.change("checkpoint", &[]);
    let mut writer = bench.writer("g");
    writer.open().unwrap();
    writer.append(50, 60).unwrap();
    let entry = |version| bench.table().join(format!("_delta_log/{version:020}.json"));
    (0..6).for_each(|version| fs::remove_file(entry(version)).unwrap());
    let all = numbers(source(&bench, "r", Start::Earliest)).unwrap();
    let mut sorted = all.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..60).collect::<Vec<_>>());
    assert_eq!(numbers(source(&bench, "r", Start::Earliest)).unwrap(), all, "in the same order each time");

    let error = numbers(source(&bench, "late", Start::Version(5))).unwrap_err().to_string();
    assert!(error.contains("the entry of version 5 was removed before it was read"), "{error}");
    // The next one is gone, too.
    let error = numbers(source(&bench, "later", Start::Version(3))).unwrap_err().to_string();
    assert!(error.contains("the entry of version 3 was removed before it was read"), "{error}");
}

/// A number that is free because what was there has expired is not taken for the next one.
#[test]
fn who_slept_while_the_log_was_cut_off_goes_on_from_the_last_checkpoint() {
    let bench = Bench::new();
    let (mut sleeper, mut other) = (bench.writer("g"), bench.writer("other"));
    sleeper.open().unwrap();
    sleeper.append(0, 5).unwrap();
    other.open().unwrap();
    (0..3).for_each(|at| other.append(100 + at, 101 + at).unwrap());
    bench.change("checkpoint", &[]);
    let entry = |version| bench.table().join(format!("_delta_log/{version:020}.json"));
    (0..6).for_each(|version| fs::remove_file(entry(version)).unwrap());

    let error = sleeper.append(5, 10).unwrap_err();
    assert!(matches!(error, SinkError::Interrupted { .. }), "{error}");
    let mut again = bench.writer("g");
    assert_eq!(again.open().unwrap(), 5);
    again.append(5, 10).unwrap();
    assert_eq!(bench.numbers(), (0..10).chain(100..103).collect::<Vec<_>>());
}

#[test]
fn another_table_in_its_place_is_another_source() {
    let bench = table();
    let told = |bench: &Bench| identity(&options(bench, Start::Earliest), &Default::default());
    let first = told(&bench).unwrap();
    assert_eq!(told(&bench).unwrap(), first);
    fs::remove_dir_all(bench.table()).unwrap();
    let error = told(&bench).unwrap_err().to_string();
    assert!(error.contains("there is no table; name one that is there"), "{error}");
    bench.writer("g").open().unwrap();
    assert_ne!(told(&bench).unwrap(), first);
}
