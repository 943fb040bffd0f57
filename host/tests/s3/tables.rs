//! Fault 22, of a Delta table: whatever is lost on the way to or from the service, each commit is in the table once.

use std::path::Path;

use host::sink::SinkError;
use xtask::minio::Minio;

use super::options_at;
use super::proxy::{Call, Fault, Proxy};
use crate::conformance::sink::outputs::{Output, table_in_bucket};
use crate::conformance::sink::writer::{Writer, texts};

#[test]
fn a_version_comes_through_errors_and_lost_requests_and_answers_once() {
    let minio = Minio::scratch(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    let proxy = Proxy::start(minio.port());
    let table = table_in_bucket(options_at(&proxy.endpoint()));
    let mut before = 0;
    for call in [Call::Manifest, Call::Entry] {
        for fault in [Fault::Error(call), Fault::RequestLost(call), Fault::AnswerLost(call)] {
            let mut writer = Writer::open(&table, 0..1);
            assert_eq!(writer.next(0), before);
            let hits = proxy.hits();
            writer.write(0, 100);
            proxy.set(&[fault]);
            let committed = writer.commit();
            assert_eq!(proxy.hits() - hits, 1, "{fault:?}");
            let interrupted = match committed {
                Ok(_) => false,
                Err(SinkError::Interrupted { .. }) => true,
                Err(error) => panic!("{fault:?}: {error}"),
            };
            println!("{fault:?}: interrupted {interrupted}");
            drop(writer);
            let mut writer = Writer::open(&table, 0..1);
            let next = writer.next(0);
            assert!(next == before + 100 || (interrupted && next == before), "{fault:?}: {next} after {before}");
            writer.write(0, 10);
            writer.commit().unwrap();
            before = next + 10;
            drop(writer);
            table.shows(0, &texts(0, 0..before));
        }
    }
}
