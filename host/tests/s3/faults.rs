//! Fault 22: errors of the service, answers that are late or lost, uploads that nobody has ended; and fault 18, in a
//! bucket. What is committed is there once, and no upload stays behind.

use std::path::Path;

use host::checkpoint::{Identity, Part, Sum};
use host::message::Batch;
use host::objects::block_on;
use host::plugin::Entries;
use host::sink::{Sink, SinkError, Step};
use object_store::ObjectStoreExt;
use object_store::multipart::MultipartStore;
use xtask::minio::Minio;

use super::proxy::{Call, Fault, Proxy};
use super::{options_at, proxy};
use crate::conformance::sink::outputs::{Files, Output, in_bucket};
use crate::conformance::sink::writer::{Writer, batch, texts};

/// Of a small file, and of one in parts.
const SMALL: [Call; 5] = [Call::Put, Call::Manifest, Call::Copy, Call::List, Call::Delete];
const LARGE: [Call; 3] = [Call::Create, Call::Part, Call::Complete];

/// A service of its own, so that its uploads can be counted, behind a network that fails.
struct Bench {
    minio: Minio,
    proxy: Proxy,
    files: Files,
}

impl Bench {
    fn new() -> Self {
        let minio = Minio::scratch(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
        let proxy = proxy::Proxy::start(minio.port());
        let files = in_bucket(options_at(&proxy.endpoint()));
        Self { minio, proxy, files }
    }

    fn no_upload_is_left(&self) {
        assert_eq!(self.minio.uploads().unwrap(), 0);
        let all = self.files.place.all();
        let left: Vec<&String> = all.iter().map(|(name, _)| name).filter(|name| name.contains(".part")).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// A commit of partition 1 without state.
    fn commit(&self, sink: &mut dyn Sink, next: usize) -> Result<(), SinkError> {
        let identity = Identity {
            pipeline: "p".to_owned(),
            source: "s".to_owned(),
            place: sink.place(),
            plugins: Vec::new(),
            exactly_once: true,
        };
        let checkpoint = identity.checkpoint(1, next as i64, None, Sum::default());
        let part = Part { checkpoint, changes: Entries::default() };
        sink.commit(Step { parts: &[part], letters: &Batch::new(), source: self.files.source() }).map(drop)
    }

    /// A commit through these faults, and what comes after it. Says whether it was interrupted.
    fn commits_through(&self, faults: &[Fault], before: &mut usize) -> bool {
        let mut writer = Writer::open(&self.files, 0..1);
        assert_eq!(writer.next(0), *before);
        let hits = self.proxy.hits();
        writer.write(0, 100);
        self.proxy.set(faults);
        let committed = writer.commit();
        assert_eq!(self.proxy.hits() - hits, faults.len() as u32, "{faults:?}");
        let interrupted = match committed {
            Ok(_) => false,
            Err(SinkError::Interrupted { .. }) => true,
            Err(error) => panic!("{faults:?}: {error}"),
        };
        drop(writer);
        let mut writer = Writer::open(&self.files, 0..1);
        let next = writer.next(0);
        assert!(next == *before + 100 || (interrupted && next == *before), "{faults:?}: {next} after {before}");
        writer.write(0, 10);
        writer.commit().unwrap();
        *before = next + 10;
        drop(writer);
        self.files.shows(0, &texts(0, 0..*before));
        self.no_upload_is_left();
        interrupted
    }
}

#[test]
fn a_commit_comes_through_errors_and_lost_requests_and_answers_once() {
    let (bench, mut next) = (Bench::new(), 0);
    for call in SMALL {
        for fault in [Fault::Error(call), Fault::RequestLost(call), Fault::AnswerLost(call)] {
            // It is asked again, and what arrived is found to be ours.
            assert!(!bench.commits_through(&[fault], &mut next), "{fault:?}");
        }
    }
    bench.commits_through(
        &[Fault::Slow(Call::Put), Fault::Error(Call::Copy), Fault::AnswerLost(Call::Copy), Fault::Error(Call::Delete)],
        &mut next,
    );
}

/// Whatever becomes of it, the upload ends before anything counts on it.
#[test]
fn a_file_in_parts_comes_through_errors_and_lost_requests_and_answers_once() {
    let bench = Bench::new();
    let mut committed = 0;
    let faults = |call| [Fault::Error(call), Fault::RequestLost(call), Fault::AnswerLost(call)];
    for fault in LARGE.into_iter().flat_map(faults).chain([Fault::Spoilt(Call::Complete)]) {
        let (mut sink, hits) = (bench.files.open("one"), bench.proxy.hits());
        sink.open(1).unwrap();
        bench.proxy.set(&[fault]);
        let written = wide(committed..committed + 9).try_for_each(|(n, row)| sink.write(1, &row, n as i64).map(drop));
        let done = written.and_then(|()| bench.commit(&mut *sink, committed + 9));
        assert_eq!(bench.proxy.hits() - hits, 1, "{fault:?}");
        match done {
            Ok(()) => {}
            Err(SinkError::Interrupted { .. }) => println!("{fault:?}: interrupted"),
            Err(error) => panic!("{fault:?}: {error}"),
        }
        drop(sink);
        let next = bench.files.open("one").open(1).unwrap().map_or(0, |last| last.next as usize);
        assert!([committed, committed + 9].contains(&next) && (next > committed || fault != faults(Call::Complete)[2]));
        committed = next;
        let rows = bench.files.visible();
        let numbers: Vec<usize> = rows.iter().map(|row| row.trim_end_matches('x').parse().unwrap()).collect();
        assert_eq!(numbers, (0..committed).collect::<Vec<_>>(), "{fault:?}");
        bench.no_upload_is_left();
    }
    assert!(committed > 0);
}

/// Rows of a megabyte.
fn wide(numbers: std::ops::Range<usize>) -> impl Iterator<Item = (usize, Batch)> {
    numbers.map(|number| (number, batch(&[format!("{number}{}", "x".repeat(1 << 20))])))
}

#[test]
fn who_does_not_answer_at_all_is_given_up() {
    let (bench, mut next) = (Bench::new(), 0);
    bench.commits_through(&[Fault::Stalled(Call::Manifest)], &mut next);
}

/// Of several parts, and a rest.
#[test]
fn a_large_file_is_uploaded_while_it_grows_and_what_nobody_names_is_ended() {
    let bench = Bench::new();
    let begin = || {
        let mut sink = bench.files.open("one");
        sink.open(1).unwrap();
        wide(0..34).for_each(|(n, row)| assert_eq!(sink.write(1, &row, n as i64).unwrap(), []));
        assert_eq!((bench.minio.uploads().unwrap(), bench.files.visible()), (1, vec![]));
        sink
    };
    begin().abort().unwrap();
    bench.no_upload_is_left();

    // Gone without a word, as after kill -9; and the answer to the first of two beginnings was lost.
    std::mem::forget(begin());
    let bucket = bench.files.place.bucket();
    let name = ".apogee/group/1/00000000000000000001-x.0.part";
    let (record, path) = (bucket.path(&format!("{name}.upload")).unwrap(), bucket.path(name).unwrap());
    block_on(bucket.store.put(&record, Vec::new().into())).unwrap();
    (0..2).for_each(|_| drop(block_on(bucket.store.create_multipart(&path)).unwrap()));
    assert_eq!(bench.minio.uploads().unwrap(), 3);
    bench.files.open("one").open(1).unwrap();
    bench.no_upload_is_left();

    let mut sink = begin();
    bench.commit(&mut *sink, 34).unwrap();
    bench.no_upload_is_left();
    assert_eq!(bench.files.visible().len(), 34);
}

#[test]
fn checkpoints_that_were_removed_or_brought_back_from_before_are_noticed() {
    let files = in_bucket(super::options());
    let bucket = files.place.bucket();
    let manifests = || {
        let mut names: Vec<(String, Vec<u8>)> =
            files.place.all().into_iter().filter(|(name, _)| name.ends_with(".json")).collect();
        names.sort();
        names
    };
    let remove = |name: &str| block_on(bucket.store.delete(&bucket.path(name).unwrap())).unwrap();
    let mut writer = Writer::open(&files, 0..1);
    for _ in 0..3 {
        writer.write(0, 10);
        writer.commit().unwrap();
    }
    // Under its hands.
    let saved = manifests();
    saved.iter().for_each(|(name, _)| remove(name));
    writer.write(0, 10);
    let error = writer.commit().unwrap_err();
    assert!(matches!(error, SinkError::Fenced { .. }), "{error}");
    assert!(error.to_string().contains("s3://lake/") && error.to_string().contains("were removed"), "{error}");
    drop(writer);
    manifests().iter().for_each(|(name, _)| remove(name));
    // The last one is damaged, and what it made visible is to be seen.
    for ((name, bytes), at) in saved.iter().zip(0..) {
        let bytes = if at + 1 == saved.len() { b"damage".to_vec() } else { bytes.clone() };
        block_on(bucket.store.put(&bucket.path(name).unwrap(), bytes.into())).unwrap();
    }
    let error = files.open("one").open(0).unwrap_err().to_string();
    assert!(error.contains("the checkpoint before it is whole, but s3://lake/"), "{error}");
    files.shows(0, &texts(0, 0..30));
}

/// Killed between the manifest and the name: the next one checks what waits, and gives it its name.
#[test]
fn what_waits_for_its_name_gets_it_unless_it_is_damaged() {
    let files = in_bucket(super::options());
    let bucket = files.place.bucket();
    let mut writer = Writer::open(&files, 0..1);
    writer.write(0, 10);
    writer.commit().unwrap();
    drop(writer);
    let all = files.place.all();
    let (_, last) = all.iter().filter(|(name, _)| name.ends_with(".json")).max().unwrap();
    let last: serde_json::Value = serde_json::from_slice(last).unwrap();
    let output = &last["manifest"]["output"][0];
    let (name, part) = (output["name"].as_str().unwrap(), output["part"].as_str().unwrap());
    let (_, content) = all.iter().find(|(found, _)| found == name).unwrap();
    let part = bucket.path(&format!(".apogee/group/0/{part}")).unwrap();
    let put = |bytes: &[u8]| drop(block_on(bucket.store.put(&part, bytes.to_vec().into())).unwrap());
    block_on(bucket.store.delete(&bucket.path(name).unwrap())).unwrap();

    put(&content[1..]);
    let error = files.open("one").open(0).unwrap_err().to_string();
    assert!(error.contains("was finished, and it is damaged"), "{error}");
    assert!(files.visible().is_empty());
    put(content);
    Writer::open(&files, 0..1);
    files.shows(0, &texts(0, 0..10));
    assert!(files.place.all().iter().all(|(name, _)| !name.ends_with(".part")));
}
