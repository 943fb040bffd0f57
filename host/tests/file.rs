//! Files of CSV and JSON lines: what becomes a message, from which byte, and what does not.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use host::checkpoint::Position;
use host::log::embedded::Embedded;
use host::message::Fetch;
use host::source::file::{FileSource, Format, Options, Reader};
use host::source::{Poll, Source};
use tempfile::TempDir;

const CSV: Format = Format::Csv { header: true, delimiter: b',' };
const ROWS: Format = Format::Csv { header: false, delimiter: b',' };

/// A file in a folder of its own.
struct Given {
    folder: TempDir,
    path: PathBuf,
}

impl Given {
    fn new(content: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        fs::write(&path, content).unwrap();
        Self { folder, path }
    }

    fn append(&self, content: &str) {
        OpenOptions::new().append(true).open(&self.path).unwrap().write_all(content.as_bytes()).unwrap();
    }

    fn once(&self, format: Format) -> Options {
        Options { path: self.path.clone(), format, follow: false }
    }

    fn followed(&self, format: Format) -> Options {
        Options { follow: true, ..self.once(format) }
    }

    /// A reader of the one group, which goes on where the group stands.
    fn source(&self, options: Options) -> FileSource {
        let mut source = self.open(options);
        source.start(0, None).unwrap();
        source
    }

    /// A reader that was told that the file is its own.
    fn open(&self, options: Options) -> FileSource {
        let log = Embedded::open(&self.folder.path().join("log")).unwrap();
        let mut source = FileSource::open(options, log, "group").unwrap();
        assert!(matches!(source.poll(Duration::ZERO).unwrap(), Poll::Assigned(_)));
        source
    }

    fn told(&self, error: impl std::fmt::Display) -> String {
        error.to_string().replace(&*self.path.to_string_lossy(), "PATH")
    }
}

fn position(next: i64) -> Position {
    Position { next, place: String::new() }
}

fn messages(fetch: &Fetch) -> Vec<(i64, String)> {
    let values = fetch.batch.values.iter().map(|value| String::from_utf8(value.unwrap().to_vec()).unwrap());
    fetch.offsets.iter().copied().zip(values).collect()
}

fn pairs(expected: &[(i64, &str)]) -> Vec<(i64, String)> {
    expected.iter().map(|(offset, value)| (*offset, (*value).to_owned())).collect()
}

/// All records of a file in one fetch.
fn read(options: Options) -> Fetch {
    let mut reader = Reader::open(options, 0).unwrap();
    let fetch = reader.fetch().unwrap().unwrap();
    assert!(reader.fetch().unwrap().is_none());
    fetch
}

fn open_error(path: &Path, format: Format) -> String {
    let options = Options { path: path.to_owned(), format, follow: false };
    let error = Reader::open(options, 0).and_then(|mut reader| reader.fetch()).unwrap_err();
    error.to_string().replace(&*path.to_string_lossy(), "PATH")
}

#[test]
fn csv_with_a_header_becomes_objects_of_strings() {
    let given = Given::new("\u{feff}a,\"b \"\"c\"\"\"\r\n1,x\r\n\r\n\"two\nlines\",\"q\"\"q\"\n,last");
    let fetch = read(given.once(CSV));
    assert_eq!(
        messages(&fetch),
        pairs(&[
            (16, r#"{"a":"1","b \"c\"":"x"}"#),
            (23, r#"{"a":"two\nlines","b \"c\"":"q\"q"}"#),
            (42, r#"{"a":"","b \"c\"":"last"}"#),
        ])
    );
    assert_eq!((fetch.next, fetch.rejected.len()), (47, 0));
    let modified = fs::metadata(&given.path).unwrap().modified().unwrap();
    let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    assert_eq!(fetch.batch.timestamps, [modified; 3]);
}

#[test]
fn csv_without_a_header_becomes_arrays_of_strings() {
    let given = Given::new("2B,410,\\N\nAA,24,Y\n");
    assert_eq!(messages(&read(given.once(ROWS))), pairs(&[(0, r#"["2B","410","\\N"]"#), (10, r#"["AA","24","Y"]"#)]));
    let given = Given::new("a;b\n");
    let semicolons = Format::Csv { header: false, delimiter: b';' };
    assert_eq!(messages(&read(given.once(semicolons))), pairs(&[(0, r#"["a","b"]"#)]));
}

#[test]
fn json_lines_are_messages_as_they_are() {
    let given = Given::new("{\"a\": 1}\n\n  \r\nnot json\r\n{\"b\": 2}");
    let fetch = read(given.once(Format::JsonLines));
    assert_eq!(messages(&fetch), pairs(&[(0, r#"{"a": 1}"#), (14, "not json"), (24, r#"{"b": 2}"#)]));
    assert_eq!(fetch.next, 32);
}

#[test]
fn bad_rows_are_rejected_and_the_rest_goes_on() {
    let given = Given::new(b"a,b\n1\n2,x\n\xff,y\n3,z\n4,\"open\n5,u\n");
    let fetch = read(given.once(CSV));
    assert_eq!(messages(&fetch), pairs(&[(6, r#"{"a":"2","b":"x"}"#), (14, r#"{"a":"3","b":"z"}"#)]));
    let path = given.path.display();
    let rejected: Vec<_> =
        fetch.rejected.iter().map(|r| (r.offset, r.value.as_slice(), r.cause, r.reason.clone())).collect();
    let reason = |what| format!("{path}: the record at byte {what}");
    assert_eq!(
        rejected,
        [
            (4, &b"1\n"[..], "number of fields", reason("4 has 1 fields where the first row has 2")),
            (10, b"\xff,y\n", "not utf-8", reason("10 has bytes that are not UTF-8 in field 1")),
            (
                18,
                b"4,\"open\n5,u\n",
                "open quote",
                reason("18 opens a quote that is never closed; what follows in the file was read as part of it")
            ),
        ]
    );
    assert_eq!(fetch.next, 30);
}

#[test]
fn a_record_over_a_mebibyte_is_rejected_and_the_rest_goes_on() {
    for follow in [false, true] {
        for length in [(1 << 20) + 10, 5 << 20] {
            let long = "x".repeat(length);
            for (format, content) in [
                (Format::JsonLines, format!("a\n{long}\nb\n")),
                (ROWS, format!("a\n{long}\nb\n")),
                (ROWS, format!("a\n\"{long}\n,\"\"\n{long}\"\nb\n")),
            ] {
                let given = Given::new(&content);
                let mut reader = Reader::open(Options { follow, ..given.once(format) }, 0).unwrap();
                let (mut offsets, mut rejected, mut next) = (Vec::new(), Vec::new(), 0);
                while let Some(fetch) = reader.fetch().unwrap() {
                    offsets.extend(fetch.offsets);
                    rejected.extend(fetch.rejected);
                    next = fetch.next;
                }
                let end = content.len() as i64;
                assert_eq!((offsets, next), (vec![0, end - 2], end));
                assert_eq!((rejected.len(), rejected[0].offset, rejected[0].cause), (1, 2, "too long"));
                assert_eq!(rejected[0].value, content.as_bytes()[2..2 + 64 * 1024]);
            }
        }
    }
}

#[test]
fn in_the_middle_of_a_long_record_its_start_is_the_place_to_go_on() {
    let given = Given::new(format!("a\n{}", "x".repeat(3 << 20)));
    let mut reader = Reader::open(given.followed(Format::JsonLines), 0).unwrap();
    assert_eq!(reader.fetch().unwrap().unwrap().next, 2);
    assert!(reader.fetch().unwrap().is_none());
    given.append("xx\nb\n");
    let fetch = reader.fetch().unwrap().unwrap();
    assert_eq!((messages(&fetch), fetch.rejected.len()), (pairs(&[((3 << 20) + 5, "b")]), 1));
}

#[test]
fn batches_are_bounded_in_messages_and_bytes() {
    let given = Given::new("1,2\n".repeat(10_000));
    let mut reader = Reader::open(given.once(ROWS), 0).unwrap();
    let mut sizes = Vec::new();
    while let Some(fetch) = reader.fetch().unwrap() {
        assert_eq!(fetch.offsets.last().unwrap() + 4, fetch.next);
        sizes.push(fetch.batch.len());
    }
    assert_eq!(sizes, [4096, 4096, 1808]);
    let given = Given::new(format!("{}\n", "x".repeat(100_000)).repeat(30));
    let fetch = Reader::open(given.once(Format::JsonLines), 0).unwrap().fetch().unwrap().unwrap();
    assert_eq!(fetch.batch.len(), 11);
}

#[test]
fn every_record_can_be_gone_back_to() {
    let given = Given::new("h,i\n1,2\n\"3\n3\",4\nbad\n5,6\n");
    for format in [CSV, ROWS, Format::JsonLines] {
        let whole = read(given.once(format.clone()));
        for (n, offset) in whole.offsets.iter().enumerate() {
            let mut reader = Reader::open(given.once(format.clone()), *offset as u64).unwrap();
            assert_eq!(messages(&reader.fetch().unwrap().unwrap()), messages(&whole)[n..]);
        }
    }
}

#[test]
fn a_followed_file_gives_what_is_added_once_it_is_a_whole_line() {
    for (format, written, expected) in [
        (Format::JsonLines, ["{\"a\":", "1}", "\n"], r#"{"a":1}"#),
        (CSV, ["1,\"x", "\ny\"", "\n"], r#"{"a":"1","b":"x\ny"}"#),
    ] {
        let given = Given::new(if format == CSV { "a,b\n" } else { "\n" });
        let start = fs::metadata(&given.path).unwrap().len() as i64;
        let mut reader = Reader::open(given.followed(format), 0).unwrap();
        for part in written {
            assert!(reader.fetch().unwrap().is_none());
            given.append(part);
        }
        let fetch = reader.fetch().unwrap().unwrap();
        assert_eq!(messages(&fetch), pairs(&[(start, expected)]));
        assert_eq!(fetch.next, fs::metadata(&given.path).unwrap().len() as i64);
    }
}

#[test]
fn what_cannot_be_read_at_all_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        open_error(&folder.path().join("none"), CSV),
        "PATH: there is no such file; check the path, or create the file first"
    );
    assert_eq!(open_error(folder.path(), CSV), "PATH: it is a directory; name a file of CSV or JSON lines");
    assert_eq!(
        open_error(&Given::new("a,b,a\n1,2,3\n").path, CSV),
        "PATH: its header names two columns \"a\"; rename one, or read it without header"
    );
    assert_eq!(
        open_error(&Given::new("a,\"b\n1,2\n").path, CSV),
        "PATH: its first row opens a quote that is never closed"
    );
    assert_eq!(
        open_error(&Given::new(b"a,\xff\n").path, CSV),
        "PATH: its header has bytes that are not UTF-8 in field 2"
    );
    assert_eq!(
        open_error(&Given::new("x".repeat(3 << 20)).path, CSV),
        "PATH: its first record is longer than 1048576 bytes"
    );
}

#[test]
fn a_followed_file_that_is_cut_replaced_or_removed_is_an_error() {
    let error = |change: fn(&Given)| {
        let given = Given::new("a\nb\n");
        let mut reader = Reader::open(given.followed(Format::JsonLines), 0).unwrap();
        assert_eq!(reader.fetch().unwrap().unwrap().batch.len(), 2);
        assert!(reader.fetch().unwrap().is_none());
        reader.check_same_file().unwrap();
        change(&given);
        let error = reader.check_same_file().unwrap_err().to_string();
        error.replace(&given.path.display().to_string(), "PATH")
    };
    let text = |what| {
        format!(
            "PATH: it was {what} while it was followed; run again to read it from its start, under another `group` if \
             the sink keeps checkpoints"
        )
    };
    assert_eq!(error(|given| fs::write(&given.path, "c\n").unwrap()), text("cut from 4 bytes or more to 2"));
    assert_eq!(error(|given| fs::remove_file(&given.path).unwrap()), text("removed"));
    let replace = |given: &Given| {
        let other = given.folder.path().join("other");
        fs::write(&other, "a\nb\nc\n").unwrap();
        fs::rename(other, &given.path).unwrap();
    };
    assert_eq!(error(replace), text("replaced"));
}

/// The next messages of a source; fails where none come.
fn next(source: &mut FileSource) -> Fetch {
    match source.poll(Duration::from_secs(20)).unwrap() {
        Poll::Messages(fetch) => fetch,
        other => panic!("{other:?}"),
    }
}

fn ended(source: &mut FileSource) -> bool {
    matches!(source.poll(Duration::ZERO).unwrap(), Poll::End)
}

#[test]
fn a_run_goes_on_where_the_last_one_committed() {
    let given = Given::new("a\nb\nc\n");
    let mut first = given.source(given.once(Format::JsonLines));
    assert_eq!(next(&mut first).next, 6);
    first.commit(0, &position(2)).unwrap();
    drop(first);
    let mut second = given.source(given.once(Format::JsonLines));
    assert_eq!(messages(&next(&mut second)), pairs(&[(2, "b"), (4, "c")]));
    assert!(ended(&mut second));
    second.commit(0, &position(6)).unwrap();
    drop(second);
    let mut third = given.source(given.once(Format::JsonLines));
    assert_eq!(messages(&next(&mut third)).len(), 3, "a file that was read to its end starts anew");
    third.commit(0, &position(6)).unwrap();
    drop(third);
    fs::write(&given.path, "d\n").unwrap();
    let mut fourth = given.source(given.followed(Format::JsonLines));
    assert_eq!(messages(&next(&mut fourth)), pairs(&[(0, "d")]), "and so does one that is shorter than the position");
}

#[test]
fn a_followed_file_is_read_until_it_is_drained() {
    let given = Given::new("a\n");
    let mut source = given.source(given.followed(Format::JsonLines));
    assert_eq!(next(&mut source).batch.len(), 1);
    let start = Instant::now();
    assert!(matches!(source.poll(Duration::from_millis(20)).unwrap(), Poll::Idle));
    assert!(start.elapsed() >= Duration::from_millis(20));
    given.append("b\nhalf");
    source.drain().unwrap();
    given.append("\nlate\n");
    assert_eq!(messages(&next(&mut source)), pairs(&[(2, "b")]));
    assert!(ended(&mut source));
}

#[test]
fn a_replaced_file_is_read_from_its_start_by_the_next_run() {
    let given = Given::new("a\n");
    let mut source = given.source(given.followed(Format::JsonLines));
    assert_eq!(next(&mut source).next, 2);
    source.commit(0, &position(2)).unwrap();
    let other = given.folder.path().join("other");
    fs::write(&other, "new\nlines\n").unwrap();
    fs::rename(other, &given.path).unwrap();
    source.poll(Duration::ZERO).unwrap_err();
    source.commit(0, &position(2)).unwrap();
    drop(source);
    // Not by a sink whose checkpoint is of the former file.
    let mut source = given.open(given.followed(Format::JsonLines));
    assert_eq!(
        given.told(source.start(0, Some(2)).unwrap_err()),
        "PATH: it was cut, removed or replaced while it was followed, so it is another file now; read it under \
         another `group`"
    );
    drop(source);
    let mut source = given.source(given.followed(Format::JsonLines));
    assert_eq!(messages(&next(&mut source)), pairs(&[(0, "new"), (4, "lines")]));
}

#[test]
fn behind_a_checkpoint_nothing_is_read_twice_and_no_other_file() {
    for options in [Given::once, Given::followed] {
        let given = Given::new("a,b\n1,2\n3,4\n");
        let mut first = given.source(options(&given, CSV));
        let all = next(&mut first);
        first.commit(0, &position(all.next)).unwrap();
        drop(first);
        for (from, expected) in [(4, &[4, 8][..]), (8, &[8]), (12, &[])] {
            let mut source = given.open(options(&given, CSV));
            source.start(0, Some(from)).unwrap();
            source.drain().unwrap();
            if !expected.is_empty() {
                assert_eq!(next(&mut source).offsets, expected);
            }
            assert!(ended(&mut source));
        }
        fs::write(&given.path, "a,b\n5,6\n").unwrap();
        assert_eq!(
            given.told(given.open(options(&given, CSV)).start(0, Some(12)).unwrap_err()),
            "PATH: it has 8 bytes, and was read up to 12 before, so it is another file now; read it under another \
             `group`"
        );
    }
}

#[test]
fn a_second_reader_of_the_same_group_is_refused() {
    let given = Given::new("a\n");
    let log = Embedded::open(&given.folder.path().join("log")).unwrap();
    let open = |group| FileSource::open(given.once(Format::JsonLines), log.clone(), group);
    let first = open("group").unwrap();
    let process = std::process::id();
    let error = given.told(open("group").err().unwrap());
    assert!(
        error.contains(&format!("group \"group\" already reads file:PATH, in process {process}; end that one")),
        "{error}"
    );
    open("another").unwrap();
    drop(first);
    open("group").unwrap();
}

#[test]
fn batches_hold_as_many_messages_as_is_said() {
    let given = Given::new("1\n2,2\n".repeat(10));
    let mut source = given.open(given.once(ROWS)).batches_of(7);
    source.start(0, None).unwrap();
    let mut sizes = Vec::new();
    while let Poll::Messages(fetch) = source.poll(Duration::ZERO).unwrap() {
        sizes.push(fetch.batch.len() + fetch.rejected.len());
    }
    assert_eq!(sizes, [7, 7, 6]);
}
