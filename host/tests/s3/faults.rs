//! Fault 22: errors of the service, answers that are late or lost, uploads that nobody has ended; and fault 18, in a
//! bucket. What is committed is there once, and no upload stays behind.

use std::path::Path;

use host::sink::SinkError;
use object_store::ObjectStoreExt;
use xtask::minio::Minio;

use super::proxy::{Call, Fault, Proxy};
use super::{options_at, proxy};
use crate::conformance::sink::outputs::{Files, Output, in_bucket};
use crate::conformance::sink::writer::{Writer, texts};

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
        for fault in [Fault::Error(call), Fault::RequestLost(call), Fault::AnswerLost(call), Fault::Slow(call)] {
            let interrupted = bench.commits_through(&[fault], &mut next);
            println!("{fault:?}: interrupted {interrupted}");
            // What arrived is found to be ours.
            let put =
                matches!(fault, Fault::AnswerLost(Call::Manifest | Call::Complete) | Fault::Error(_) | Fault::Slow(_));
            assert!(!put || !interrupted, "{fault:?}");
        }
        bench.commits_through(&[Fault::Error(call), Fault::Error(call), Fault::AnswerLost(call)], &mut next);
    }
}

#[test]
fn who_does_not_answer_at_all_is_given_up() {
    let (bench, mut next) = (Bench::new(), 0);
    bench.commits_through(&[Fault::Stalled(Call::Manifest)], &mut next);
}

/// More than a part, and more than may be under way.
#[test]
fn a_large_file_is_uploaded_while_it_grows_and_what_nobody_names_is_ended() {
    let bench = Bench::new();
    let mut writer = Writer::open(&bench.files, 1..2);
    let fill = |writer: &mut Writer<'_>| (0..45).for_each(|_| writer.write(1, 50_000));
    fill(&mut writer);
    assert_eq!(bench.minio.uploads().unwrap(), 1);
    assert_eq!(bench.files.visible_of(1), [""; 0]);
    writer.sink.abort().unwrap();
    bench.no_upload_is_left();

    // Gone without a word, as after kill -9.
    let mut writer = Writer::open(&bench.files, 1..2);
    fill(&mut writer);
    std::mem::forget(writer);
    assert_eq!(bench.minio.uploads().unwrap(), 1);
    let mut writer = Writer::open(&bench.files, 1..2);
    bench.no_upload_is_left();

    fill(&mut writer);
    writer.commit().unwrap();
    bench.no_upload_is_left();
    assert!(bench.files.visible_of(1) == texts(1, 0..45 * 50_000));
}

/// The upload was begun twice; the first answer was lost with the host.
#[test]
fn an_upload_that_only_its_record_tells_of_is_ended() {
    let bench = Bench::new();
    let mut writer = Writer::open(&bench.files, 0..1);
    writer.write(0, 100);
    // Longer than it is tried again, so that it is given up.
    bench.proxy.set(&[Fault::AnswerLost(Call::Create), Fault::Stalled(Call::Create), Fault::Stalled(Call::Create)]);
    assert!(matches!(writer.commit(), Err(SinkError::Interrupted { .. })));
    assert_eq!(bench.minio.uploads().unwrap(), 1);
    std::mem::forget(writer);
    drop(Writer::open(&bench.files, 0..1));
    bench.no_upload_is_left();
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
    let remove = |name: &str| host::objects::block_on(bucket.store.delete(&bucket.path(name).unwrap())).unwrap();
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
        host::objects::block_on(bucket.store.put(&bucket.path(name).unwrap(), bytes.into())).unwrap();
    }
    let error = files.open("one").open(0).unwrap_err().to_string();
    assert!(error.contains("the checkpoint before it is whole, but s3://lake/"), "{error}");
    files.shows(0, &texts(0, 0..30));
}
