//! What only the embedded log does for a sink: the group's positions are in the same file, and so in the same step.

use std::path::Path;
use std::time::Duration;

use host::checkpoint::{Identity, Part, Position, Sum};
use host::log::embedded::Embedded;
use host::log::{Log, LogError, Reading, Start};
use host::message::Batch;
use host::plugin::Entries;
use host::sink::embedded::EmbeddedSink;
use host::sink::{Positions, Sink, SinkError, Step};
use host::source::Source;
use host::source::file::{FileSource, Format, Options};

use super::outputs::{Output, embedded};
use super::writer::{Writer, texts};
use crate::conformance::assigned;

fn open(folder: &Path) -> Embedded {
    let log = Embedded::open(&folder.join("log.sqlite")).unwrap();
    log.create_topic("in", 2).unwrap();
    log.create_topic("out", 1).unwrap();
    log
}

fn reader(log: &Embedded) -> Box<dyn Source> {
    log.reader("in", &Reading::new("group", Start::Earliest)).unwrap()
}

fn sink(log: &Embedded, group: &str) -> EmbeddedSink {
    EmbeddedSink::new(log.clone(), group, Some("out"), None, Duration::from_secs(1)).unwrap()
}

/// Commits that partition 1 goes on at `next`, and a message.
fn commit(sink: &mut EmbeddedSink, next: i64, source: &dyn Source) -> Result<Positions, SinkError> {
    let identity = Identity {
        pipeline: "p".into(),
        source: "s".into(),
        place: sink.place(),
        plugins: Vec::new(),
        exactly_once: true,
    };
    let checkpoint = identity.checkpoint(1, next, None, Sum::default());
    let mut batch = Batch::new();
    batch.push(None, Some(b"1"), 0);
    sink.write(1, &batch, 0).unwrap();
    sink.commit(Step { parts: &[Part { checkpoint, changes: Entries::default() }], letters: &Batch::new(), source })
}

#[test]
fn the_groups_position_is_in_the_step() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let mut sink = sink(&log, "group");
    sink.open(1).unwrap();
    let mut committed = None;
    // The last time somebody else has taken over, and nothing changes.
    for (next, fenced) in [(10, false), (20, false), (30, true)] {
        let mut source = reader(&log);
        assert_eq!(assigned(&mut *source)[1].position, committed);
        if fenced {
            self::sink(&log, "group").open(1).unwrap();
            let error = commit(&mut sink, next, &*source).unwrap_err();
            assert_eq!(
                error.to_string(),
                "kafka:///?group=group: another host has taken over partition 1; what this one had not committed is \
                 done there"
            );
        } else {
            assert_eq!(commit(&mut sink, next, &*source).unwrap(), Positions::Committed);
            committed = Some(Position { next, place: sink.place() });
        }
        drop(source);
        assert_eq!(assigned(&mut *reader(&log))[1].position, committed);
    }
    assert_eq!(log.describe("out").unwrap().partitions, [(0, 2)]);
}

#[test]
fn a_position_that_is_elsewhere_is_left_to_the_source() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = open(folder.path());
    let mut sink = sink(&log, "group");
    sink.open(1).unwrap();
    let path = folder.path().join("in.jsonl");
    std::fs::write(&path, "1\n").unwrap();
    let options = Options { path, format: Format::JsonLines, follow: false };
    let sources: [Box<dyn Source>; 2] =
        [reader(&open(other.path())), Box::new(FileSource::open(options, log.clone(), "group").unwrap())];
    for source in &sources {
        assert_eq!(commit(&mut sink, 5, &**source).unwrap(), Positions::Open);
    }
    assert_eq!(assigned(&mut *reader(&log))[1].position, None);
}

#[test]
fn one_fenced_partition_undoes_the_whole_step() {
    let output = embedded();
    let mut first = Writer::open(&output, 0..2);
    first.write(0, 10);
    first.write(1, 10);
    first.commit().unwrap();
    first.write(0, 5);
    first.write(1, 5);
    let _second = Writer::open(&output, 1..2);
    assert!(matches!(first.commit(), Err(SinkError::Fenced { .. })));
    output.shows(0, &texts(0, 0..10));
    drop(first);
    assert_eq!(Writer::open(&output, 0..1).next(0), 10);
}

#[test]
fn groups_do_not_meet() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let (mut one, mut two) = (sink(&log, "one"), sink(&log, "two"));
    assert_ne!(one.place(), two.place());
    let source = reader(&log);
    for (sink, next) in [(&mut one, 10), (&mut two, 20)] {
        assert_eq!(sink.open(1).unwrap(), None);
        commit(sink, next, &*source).unwrap();
    }
    for (sink, next) in [(&mut one, 10), (&mut two, 20)] {
        assert_eq!(sink.open(1).unwrap().unwrap().next, next);
    }
}

#[test]
fn a_damaged_checkpoint_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    sink(&log, "group").open(1).unwrap();
    let file = folder.path().join("log.sqlite");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute("UPDATE checkpoints SET checkpoint = '{\"format\":1'", []).unwrap();
    let error = sink(&log, "group").open(1).unwrap_err().to_string();
    let start =
        format!("kafka:///?group=group: the checkpoint of partition 1 in {} cannot be read (EOF ", file.display());
    assert!(error.starts_with(&start), "{error}");
    assert!(error.ends_with("bring back an undamaged copy, or start anew under another `group`"), "{error}");
}

#[test]
fn a_message_too_large_is_refused_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let mut sink = sink(&log, "group");
    sink.open(1).unwrap();
    let mut batch = Batch::new();
    batch.push(None, Some(&vec![b'x'; 17 << 20]), 0);
    let error = sink.write(1, &batch, 0).unwrap_err();
    assert!(matches!(error, SinkError::Log(LogError::TooLarge { .. })), "{error}");
    commit(&mut sink, 1, &*reader(&log)).unwrap();
    assert_eq!(log.describe("out").unwrap().partitions, [(0, 1)]);
}
