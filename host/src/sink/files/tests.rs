//! The sink as its worker drives it, with crashes left to `host/tests/crash.rs`.

mod sorted;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::*;
use crate::checkpoint::{Identity, Tally};
use crate::log::embedded::Embedded;
use crate::log::{Log, Reading, Start};
use crate::plugin::Entries;
use crate::sink::csv::Csv;
use crate::source::Source;

const LONG: Duration = Duration::from_secs(3600);

/// A directory for output, and a source for the commits to name.
struct Bench {
    out: PathBuf,
    source: Box<dyn Source>,
    _folder: tempfile::TempDir,
}

/// A sink with the state that its worker would have in mind.
struct Writer<'a> {
    bench: &'a Bench,
    sink: FileSink<Csv>,
    tally: Tally,
    next: i64,
}

impl Bench {
    fn new() -> Self {
        // In memory where that is, because some tests wait for a thousand disks.
        let memory = tempfile::tempdir_in("/dev/shm");
        let folder = memory.or_else(|_| tempfile::tempdir()).unwrap();
        let log = Embedded::open(&folder.path().join("log.db")).unwrap();
        log.create_topic("t", 1).unwrap();
        let source = log.reader("t", &Reading::new("g", Start::Earliest)).unwrap();
        Self { out: folder.path().join("out"), source, _folder: folder }
    }

    /// Another one with the same output.
    fn beside(out: &Path) -> Self {
        Self { out: out.to_owned(), ..Self::new() }
    }

    fn partition(&self) -> PathBuf {
        self.out.join(".apogee/g/0")
    }

    fn sink(&self, group: &str) -> FileSink<Csv> {
        let rolling = Rolling { every: LONG, size: 50, interval: LONG * 2 };
        FileSink::new(&self.out, group, Csv::new(vec!["n".to_owned()], false), rolling).unwrap()
    }

    /// A sink with partition 0, gone on from its checkpoint.
    fn open(&self, group: &str) -> Result<Writer<'_>, SinkError> {
        let mut sink = self.sink(group);
        let last = sink.open(0)?;
        let mut writer = Writer { bench: self, sink, tally: Tally::default(), next: 0 };
        if let Some(last) = last {
            writer.next = last.next;
            let tally = &mut writer.tally;
            writer.sink.state(&last, &mut |entries| {
                tally.apply_all(entries);
                ControlFlow::Continue(())
            })?;
            assert_eq!(tally.sum(), last.state, "a wrong state");
        }
        Ok(writer)
    }

    /// The rows that a reader finds, in the order of the first offsets in the files' names.
    fn rows(&self) -> Vec<i64> {
        let mut files = BTreeMap::new();
        for path in self.finished() {
            let name = path.file_stem().unwrap().to_str().unwrap();
            let first: i64 = name.rsplit('-').nth(1).unwrap().parse().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let rows: Vec<i64> = text.strip_prefix("n\n").unwrap().lines().map(|row| row.parse().unwrap()).collect();
            assert_eq!(rows.first(), Some(&first));
            files.insert(first, rows);
        }
        files.into_values().flatten().collect()
    }

    fn finished(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.out).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "csv")).collect()
    }

    /// What is in the partition's folder, by what the names end in.
    fn kept(&self, extension: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.partition()).unwrap().map(|entry| entry.unwrap().path());
        let mut kept: Vec<_> =
            entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
        kept.sort();
        kept
    }
}

impl Writer<'_> {
    fn write(&mut self, count: i64) {
        let mut batch = Batch::new();
        let first = self.next;
        self.next += count;
        (first..self.next).for_each(|n| batch.push(None, Some(format!(r#"{{"n": {n}}}"#).as_bytes()), 0));
        self.sink.write(0, &batch, first).unwrap();
    }

    /// Commits, with a state that counts by key.
    fn commit(&mut self, keys: &[i64]) -> Result<(), SinkError> {
        let mut changes = Entries::default();
        for key in keys {
            crate::checkpoint::push(&mut changes, 0, &key.to_le_bytes(), Some(&self.next.to_le_bytes()));
        }
        self.tally.apply_all(&changes);
        let text = |text: &str| text.to_owned();
        let identity = Identity {
            pipeline: text("p"),
            source: text("s"),
            place: self.sink.place(),
            plugins: vec![],
            exactly_once: true,
        };
        let checkpoint = identity.checkpoint(0, self.next, None, self.tally.sum());
        let step =
            Step { parts: &[Part { checkpoint, changes }], letters: &Batch::new(), source: self.bench.source.as_ref() };
        assert_eq!(self.sink.commit(step)?, Positions::Open);
        Ok(())
    }
}

#[test]
fn output_is_visible_after_its_commit_only_and_the_next_sink_goes_on() {
    let bench = Bench::new();
    let mut writer = bench.open("g").unwrap();
    writer.write(3);
    writer.write(2);
    assert_eq!(bench.rows(), [0; 0]);
    writer.commit(&[1, 2]).unwrap();
    assert_eq!(bench.rows(), [0, 1, 2, 3, 4]);
    writer.write(2);
    drop(writer);
    assert_eq!((bench.rows().len(), bench.kept("part").len()), (5, 0), "what is not committed leaves nothing");
    let mut writer = bench.open("g").unwrap();
    assert_eq!((writer.next, writer.tally.sum().entries), (5, 2));
    writer.write(1);
    writer.commit(&[]).unwrap();
    // Progress without a row is kept, too, and makes no file.
    writer.next = 100;
    writer.commit(&[3]).unwrap();
    assert_eq!((bench.rows(), bench.finished().len()), (vec![0, 1, 2, 3, 4, 5], 2));
    let writer = bench.open("g").unwrap();
    assert_eq!((writer.next, writer.tally.sum().entries), (100, 3));
    assert_eq!((bench.kept("json").len(), bench.kept("tmp").len()), (2, 0));
}

#[test]
fn an_abort_removes_the_rows_and_keeps_the_partition() {
    let bench = Bench::new();
    let mut writer = bench.open("g").unwrap();
    writer.write(3);
    writer.commit(&[1]).unwrap();
    for _ in 0..2 {
        writer.write(2);
        assert_eq!(bench.kept("part").len(), 1);
        writer.sink.abort().unwrap();
        writer.next = 3;
        assert_eq!((bench.kept("part").len(), bench.rows()), (0, vec![0, 1, 2]));
    }
    writer.write(1);
    writer.commit(&[2]).unwrap();
    assert_eq!((bench.rows(), bench.open("g").unwrap().tally.sum().entries), (vec![0, 1, 2, 3], 2));
}

#[test]
fn a_state_is_read_to_its_end_also_when_its_segments_are_gone() {
    let bench = Bench::new();
    let mut writer = bench.open("g").unwrap();
    writer.commit(&(0..1_000).collect::<Vec<_>>()).unwrap();
    let [base] = bench.kept("state").try_into().unwrap();
    let last = writer.sink.partitions[&0].last.checkpoint.clone().unwrap();
    let kept = writer.sink.kept(&last).unwrap();
    // As large as the first one, so that both are merged; the one after takes the first manifest away.
    for _ in 0..3 {
        writer.next += 1;
        writer.commit(&(0..1_000).collect::<Vec<_>>()).unwrap();
    }
    assert!(!base.exists());
    let mut tally = Tally::default();
    kept(&mut |entries| {
        tally.apply_all(entries);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(tally.sum(), last.state);
}

#[test]
fn a_commit_is_due_by_the_age_and_the_size_of_the_file_or_the_interval_without_one() {
    let bench = Bench::new();
    let mut writer = bench.open("g").unwrap();
    let since = Instant::now();
    assert_eq!(writer.sink.due(since), since + LONG * 2);
    writer.write(1);
    let due = writer.sink.due(since);
    assert!(due >= since + LONG && due <= Instant::now() + LONG);
    writer.write(50);
    assert_eq!(writer.sink.due(since), since, "it is full");
    writer.commit(&[]).unwrap();
    assert_eq!(writer.sink.due(since), since + LONG * 2);
    writer.write(1);
    assert!(writer.sink.due(since) >= since + LONG, "one row makes nothing full");
}

#[test]
fn a_former_owner_is_fenced_and_none_of_its_rows_is_ever_visible() {
    // Also when its next number has been written, and removed, by the one who took over.
    // Without changes of state it would not even miss a segment.
    for (commits, changes) in (0..6).flat_map(|commits| [(commits, &[][..]), (commits, &[9])]) {
        let bench = Bench::new();
        let mut first = bench.open("g").unwrap();
        first.write(5);
        first.commit(&[1]).unwrap();
        first.write(2);
        let mut second = bench.open("g").unwrap();
        for _ in 0..commits {
            second.write(1);
            second.commit(&[1]).unwrap();
        }
        let error = first.commit(changes).unwrap_err();
        assert!(matches!(error, SinkError::Fenced { .. }), "{error}");
        drop(first);
        second.write(1);
        second.commit(&[1]).unwrap();
        assert_eq!(bench.rows(), (0..6 + commits).collect::<Vec<_>>());
        assert_eq!((bench.kept("part").len(), bench.kept("tmp").len()), (0, 0));
        drop(second);
        assert_eq!(bench.open("g").unwrap().next, 6 + commits);
    }
}

#[test]
fn whoever_takes_over_keeps_the_commit_that_it_met_half_done() {
    let bench = Bench::new();
    let mut writer = bench.open("g").unwrap();
    writer.write(5);
    writer.commit(&[1]).unwrap();
    // As it is between the commit point and the final name.
    let [file] = bench.finished().try_into().unwrap();
    let last: Manifest =
        Manifest::decode(&fs::read(bench.kept("json").last().unwrap()).unwrap(), writer_number(&bench)).unwrap();
    fs::rename(&file, bench.partition().join(last.part(&last.output[0]))).unwrap();
    assert_eq!(bench.rows(), [0; 0]);
    let next = bench.open("g").unwrap();
    assert_eq!((next.next, bench.rows()), (5, vec![0, 1, 2, 3, 4]));
    // What its reader took away does not come back.
    fs::remove_file(file).unwrap();
    drop(next);
    assert_eq!((bench.open("g").unwrap().next, bench.rows()), (5, vec![]));
}

/// The number of the manifest that holds.
fn writer_number(bench: &Bench) -> u64 {
    manifest::number(bench.kept("json").last().unwrap().file_name().unwrap().to_str().unwrap()).unwrap()
}

#[test]
fn a_finished_file_that_is_cut_or_in_the_way_of_another_is_refused_and_nothing_is_replaced() {
    let bench = Bench::new();
    let mut writer = bench.open("g").unwrap();
    writer.write(5);
    writer.commit(&[1]).unwrap();
    drop(writer);
    let [file] = bench.finished().try_into().unwrap();
    let number = writer_number(&bench);
    let last = Manifest::decode(&fs::read(bench.kept("json").last().unwrap()).unwrap(), number).unwrap();
    let part = bench.partition().join(last.part(&last.output[0]));
    fs::copy(&file, &part).unwrap();
    fs::write(&file, "of somebody else").unwrap();
    let error = bench.open("g").err().unwrap().to_string();
    assert!(error.contains(file.to_str().unwrap()) && error.contains("is in the way"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"of somebody else");
    fs::remove_file(&file).unwrap();
    fs::write(&part, "n\n0\n1").unwrap();
    let error = bench.open("g").err().unwrap().to_string();
    assert!(error.contains(part.to_str().unwrap()) && error.contains("damaged"), "{error}");
    assert_eq!(bench.finished().len(), 0, "a torn file under its final name");
}

#[test]
fn groups_share_a_directory_and_leave_each_other_alone() {
    let bench = Bench::new();
    let mut one = bench.open("g").unwrap();
    one.write(2);
    let mut other = bench.open("h").unwrap();
    other.next = 10;
    other.write(2);
    drop(bench.open("h").unwrap());
    one.commit(&[]).unwrap();
    assert_eq!(bench.rows(), [0, 1]);
    assert!(matches!(other.commit(&[]), Err(SinkError::Fenced { .. })));
    assert!(
        matches!(bench.sink("g").place(), place if place.ends_with("/out/.apogee/g") && place.starts_with("csv:/"))
    );
    let rolling = Rolling { every: LONG, size: 1, interval: LONG };
    for group in ["..", "a/b", ""] {
        assert!(FileSink::new(&bench.out, group, Csv::new(vec![], false), rolling).is_err(), "{group:?}");
    }
}

#[test]
fn a_checkpoint_that_was_copied_to_another_partition_is_refused() {
    let bench = Bench::new();
    let mut writer = bench.open("g").unwrap();
    writer.write(5);
    writer.commit(&[1]).unwrap();
    fs::create_dir(bench.partition().with_file_name("7")).unwrap();
    for path in bench.kept("json").iter().chain(&bench.kept("state")) {
        fs::copy(path, bench.partition().with_file_name("7").join(path.file_name().unwrap())).unwrap();
    }
    let error = bench.sink("g").open(7).unwrap_err().to_string();
    assert!(error.contains("json is of partition 0: it was copied here"), "{error}");
}

#[test]
fn checkpoints_that_are_removed_while_their_owner_works_stop_it() {
    let bench = Bench::new();
    let mut writer = bench.open("g").unwrap();
    writer.write(5);
    writer.commit(&[1]).unwrap();
    bench.kept("json").iter().for_each(|path| fs::remove_file(path).unwrap());
    writer.write(1);
    let error = writer.commit(&[1]).unwrap_err().to_string();
    assert!(error.contains("the checkpoints were removed"), "{error}");
    assert_eq!(bench.rows().len(), 5);
}

#[test]
fn damage_anywhere_gives_the_earlier_checkpoint_or_a_refusal_and_never_a_wrong_state() {
    let bench = Bench::new();
    let mut writer = bench.open("g").unwrap();
    writer.write(3);
    writer.commit(&[1, 2, 3]).unwrap();
    // The last one has state only, so that the one before it can be gone on from.
    writer.next = 5;
    writer.commit(&[2]).unwrap();
    drop(writer);
    let files: Vec<(PathBuf, Vec<u8>)> = bench
        .kept("json")
        .into_iter()
        .chain(bench.kept("state"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    let put_back = || {
        fs::remove_dir_all(bench.partition()).unwrap();
        fs::create_dir(bench.partition()).unwrap();
        files.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    };
    let highest = bench.kept("json").pop().unwrap();
    let mut counts = BTreeMap::new();
    for (path, bytes) in &files {
        let flipped = (0..bytes.len()).map(|at| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            bytes
        });
        for damaged in flipped.chain((0..bytes.len()).map(|length| bytes[..length].to_vec())) {
            put_back();
            fs::write(path, damaged).unwrap();
            // `open` compares the sum of the state with the checkpoint's.
            let outcome = bench.open("g").map(|writer| writer.next).ok();
            assert!(*path != highest || outcome == Some(3), "{outcome:?}");
            assert_eq!(bench.rows(), [0, 1, 2]);
            *counts.entry(outcome).or_insert(0) += 1;
        }
    }
    // The later one where the earlier manifest is damaged, the earlier one, and none where both need a segment.
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [None, Some(3), Some(5)]);
}

#[test]
fn no_earlier_checkpoint_is_gone_on_from_while_later_output_is_to_be_seen() {
    let bench = Bench::new();
    let mut writer = bench.open("g").unwrap();
    for _ in 0..2 {
        writer.write(3);
        writer.commit(&[1]).unwrap();
    }
    drop(writer);
    fs::write(bench.kept("json").pop().unwrap(), "damage").unwrap();
    let file = bench.finished().into_iter().find(|path| path.to_str().unwrap().contains("-0-3-")).unwrap();
    let error = bench.open("g").err().unwrap().to_string();
    assert!(error.contains(file.to_str().unwrap()) && error.contains("offset 3"), "{error}");
    assert_eq!(bench.rows(), [0, 1, 2, 3, 4, 5]);
    // Its owner decides.
    fs::remove_file(file).unwrap();
    let mut writer = bench.open("g").unwrap();
    assert_eq!(writer.next, 3);
    writer.write(3);
    writer.commit(&[1]).unwrap();
    assert_eq!(bench.rows(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_checkpoint_writes_what_changed_however_large_the_state() {
    let bench = Bench::new();
    let mut writer = bench.open("g").unwrap();
    writer.commit(&(0..100_000).collect::<Vec<_>>()).unwrap();
    let [base] = bench.kept("state").try_into().unwrap();
    let entry = fs::metadata(&base).unwrap().len() / 100_000;
    let (rounds, mut written, mut seen) = (64, 0, vec![base.clone()]);
    for round in 0..rounds {
        writer.next += 1;
        writer.commit(&(0..10).map(|key| round * 1_000 + key).collect::<Vec<_>>()).unwrap();
        for path in bench.kept("state") {
            if !seen.contains(&path) {
                written += fs::metadata(&path).unwrap().len();
                seen.push(path);
            }
        }
    }
    assert!(bench.kept("state").contains(&base), "the large segment was written anew");
    // Ten entries a checkpoint, each merged as often as the number of checkpoints can be doubled at most.
    let most = rounds as u64 * 10 * entry * (1 + u64::from(rounds.ilog2()));
    assert!(written <= most, "{written} bytes instead of {most}");
    let manifest = fs::metadata(bench.kept("json").pop().unwrap()).unwrap().len();
    assert!(manifest < 4096, "a manifest of {manifest} bytes");
    drop(writer);
    assert_eq!(bench.open("g").unwrap().tally.sum().entries, 100_000);
}

/// Sinks that take one partition over from each other at any moment, so that each finds itself fenced at any step.
#[test]
fn whoever_takes_over_whenever_each_row_is_there_once_and_the_state_is_its_own() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let bench = Bench::new();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let out = &bench.out;
            scope.spawn(move || {
                let (bench, mut random) = (Bench::beside(out), fastrand::Rng::with_seed(seed + thread));
                for _ in 0..60 {
                    let fenced = live(&bench, &mut random).err();
                    assert!(fenced.iter().all(|error| matches!(error, SinkError::Fenced { .. })), "{fenced:?}");
                }
            });
        }
    });
    let last = bench.open("g").unwrap();
    assert_eq!(bench.rows(), (0..last.next).collect::<Vec<_>>());
    assert!(last.next > 0 && bench.kept("part").is_empty());
}

/// One life of a sink, with a few commits.
fn live(bench: &Bench, random: &mut fastrand::Rng) -> Result<(), SinkError> {
    let mut writer = bench.open("g")?;
    for _ in 0..random.usize(1..6) {
        writer.write(random.i64(1..20));
        writer.commit(&(0..random.i64(0..10)).map(|_| random.i64(0..50)).collect::<Vec<_>>())?;
    }
    Ok(())
}
