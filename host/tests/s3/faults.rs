//! Fault 22: errors of the service, answers that are late or lost, uploads that nobody has ended; and fault 18, in a
//! bucket. What is committed is there once, and no upload stays behind.

use std::path::Path;

use host::checkpoint::{Identity, Part, Sum};
use host::message::Batch;
use host::objects::block_on;
use host::plugin::Entries;
use host::sink::{SinkError, Step};
use object_store::ObjectStoreExt;
use object_store::multipart::MultipartStore;
use xtask::minio::Minio;

use super::proxy::{Call, Fault, Proxy};
use super::{options_at, proxy};
use crate::conformance::sink::outputs::{Files, Output, in_bucket};
use crate::conformance::sink::writer::{Writer, batch, texts};

const CALLS: [Call; 6] = [Call::Create, Call::Part, Call::Complete, Call::Manifest, Call::List, Call::Delete];

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
        let left: Vec<&String> = all.iter().map(|(name, _)| name).filter(|name| name.ends_with(".part")).collect();
        assert!(left.is_empty(), "{left:?}");
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
    for call in CALLS {
        for fault in [Fault::Error(call), Fault::RequestLost(call), Fault::AnswerLost(call)] {
            let interrupted = bench.commits_through(&[fault], &mut next);
            println!("{fault:?}: interrupted {interrupted}");
            // What arrived is found to be ours.
            let put = matches!(fault, Fault::AnswerLost(Call::Manifest | Call::Complete) | Fault::Error(_));
            assert!(!put || !interrupted, "{fault:?}");
        }
    }
    bench.commits_through(
        &[Fault::Slow(Call::Part), Fault::Error(Call::Complete), Fault::AnswerLost(Call::Complete)],
        &mut next,
    );
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
    let wide = "x".repeat(1 << 20);
    let rows = |range: std::ops::Range<usize>| range.map(|n| format!("{n}{wide}")).collect::<Vec<_>>();
    let begin = || {
        let mut sink = bench.files.open("one");
        sink.open(1).unwrap();
        (0..34).for_each(|n| assert_eq!(sink.write(1, &batch(&rows(n..n + 1)), n as i64).unwrap(), []));
        assert_eq!((bench.minio.uploads().unwrap(), bench.files.visible()), (1, vec![]));
        sink
    };
    begin().abort().unwrap();
    bench.no_upload_is_left();

    // Gone without a word, as after kill -9; and the answer to the first of two beginnings was lost.
    std::mem::forget(begin());
    let bucket = bench.files.place.bucket();
    let (record, path) =
        (bucket.path(".apogee/group/1/00000000000000000001-x.0.part").unwrap(), bucket.path("x").unwrap());
    block_on(bucket.store.put(&record, path.to_string().into())).unwrap();
    (0..2).for_each(|_| drop(block_on(bucket.store.create_multipart(&path)).unwrap()));
    assert_eq!(bench.minio.uploads().unwrap(), 3);
    bench.files.open("one").open(1).unwrap();
    bench.no_upload_is_left();

    let mut sink = begin();
    let identity = Identity {
        pipeline: "p".to_owned(),
        source: "s".to_owned(),
        place: sink.place(),
        plugins: Vec::new(),
        exactly_once: true,
    };
    let part = Part { checkpoint: identity.checkpoint(1, 34, None, Sum::default()), changes: Entries::default() };
    sink.commit(Step { parts: &[part], letters: &Batch::new(), source: bench.files.source() }).unwrap();
    bench.no_upload_is_left();
    assert!(bench.files.visible() == rows(0..34));
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
