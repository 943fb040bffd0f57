//! A crash, and a failing disk, at each step of checkpoints in files and beside a table: `strace` ends a small child, or lets one of its
//! system calls fail, at the first, the second, … `write`, `fsync`, `rename` and so on, until it gets through. After
//! each the checkpoint is the earlier or the later one, output and state are exactly its own, and going on from there
//! ends as if nothing had happened.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use host::checkpoint::{Identity, Part, Tally};
use host::log::embedded::Embedded;
use host::log::{Log, Reading, Start};
use host::message::Batch;
use host::plugin::{Entries, Field, Kind};
use host::sink::csv::{Compression, Csv};
use host::sink::delta::{self, DeltaSink};
use host::sink::files::{FileSink, Rolling};
use host::sink::parquet::{self, Parquet};
use host::sink::{Sink, SinkError, Step};
use host::source::Source;
use host::uri::Location;

use crate::program::wait_for;
use crate::s3::unpacked;

/// Every call that changes what is on the disk, and the one that opens; each stands for its variants.
const CALLS: [&str; 7] = ["openat", "write", "fsync", "linkat", "/^rename(at2?)?$", "/^unlink(at)?$", "/^mkdir(at)?$"];

/// What the child is told by its environment: the directory to write to, and what `strace` is to do to it.
const DIRECTORY: &str = "APOGEE_CRASH_DIRECTORY";
const INJECT: &str = "APOGEE_CRASH_INJECT";

/// What is written. A file in the directory says so by its name, unless it is plain CSV.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Output {
    Csv,
    Gzip,
    Parquet,
    Delta,
}

impl Output {
    fn marker(self, directory: &Path) -> PathBuf {
        directory.join(format!("{self:?}"))
    }

    fn of(directory: &Path) -> Self {
        let marked =
            [Self::Gzip, Self::Parquet, Self::Delta].into_iter().find(|output| output.marker(directory).exists());
        marked.unwrap_or(Self::Csv)
    }

    fn sink(self, directory: &Path) -> Result<Box<dyn Sink>, SinkError> {
        let (day, out) = (Duration::from_secs(86_400), directory.join("out"));
        let rolling = Rolling { every: day, size: 1 << 20, interval: day };
        let compression = if self == Self::Gzip { Compression::Gzip } else { Compression::None };
        let csv = Csv::new(vec!["n".to_owned()], false).compressed(compression);
        let fields = [Field { name: "n".to_owned(), kind: Kind::Integer, nullable: false }];
        Ok(match self {
            Self::Csv | Self::Gzip => Box::new(FileSink::new(&out, "crash", csv, rolling)?),
            Self::Parquet => {
                let parquet = Parquet::new(fields.to_vec(), parquet::Compression::Zstd);
                Box::new(FileSink::new(&out, "crash", parquet, rolling)?)
            }
            Self::Delta => {
                let table = Location::Directory(out);
                let options = delta::Options { table, every: day, size: 1 << 20, partition_by: Vec::new() };
                Box::new(DeltaSink::new(options, &Default::default(), &fields, "crash", day)?)
            }
        })
    }

    /// Where the checkpoints are.
    fn kept(self, directory: &Path) -> PathBuf {
        directory.join(if self == Self::Delta { "out/_apogee/crash/0" } else { "out/.apogee/crash/0" })
    }
}

/// How many commits the child makes in each of its lives.
const LIVES: [usize; 2] = [2, 1];

/// Messages in a commit, and the offset at which all ends: later than the child does.
const COMMIT: i64 = 10;
const END: i64 = 4 * COMMIT;

/// One life of a sink: it claims the partition, and commits until `end`.
struct Life {
    sink: Box<dyn Sink>,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    tally: Tally,
    next: i64,
}

impl Life {
    fn begin(directory: &Path) -> Result<Self, SinkError> {
        let mut sink = Output::of(directory).sink(directory)?;
        let (mut state, mut tally, mut next) = (BTreeMap::new(), Tally::default(), 0);
        if let Some(last) = sink.open(0)? {
            next = last.next;
            let mut take = |entries: &Entries| {
                tally.apply_all(entries);
                for (key, value) in entries.iter() {
                    match value {
                        Some(value) => state.insert(key.to_vec(), value.to_vec()),
                        None => state.remove(key),
                    };
                }
                ControlFlow::Continue(())
            };
            sink.state(&last, &mut take)?;
            assert_eq!(tally.sum(), last.state, "the state is not the checkpoint's");
        }
        Ok(Self { sink, state, tally, next })
    }

    /// One commit: a file of the numbers from `next` on, and a state that depends on them all.
    fn commit(&mut self, source: &dyn Source) -> Result<(), SinkError> {
        let mut batch = Batch::new();
        let numbers = self.next..self.next + COMMIT;
        numbers.clone().for_each(|n| batch.push(None, Some(format!(r#"{{"n": {n}}}"#).as_bytes()), 0));
        self.sink.write(0, &batch, self.next)?;
        self.next = numbers.end;
        let mut changes = Entries::default();
        for (key, value) in changes_at(self.next) {
            changes.keys.push(Some(&key));
            changes.values.push(value.as_deref());
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
        let step = Step { parts: &[Part { checkpoint, changes }], letters: &Batch::new(), source };
        self.sink.commit(step).map(|_| ())
    }
}

/// What the commit that ends at an offset changes: it sets a key of its own and a common one, and deletes the one that
/// the commit before it set.
fn changes_at(offset: i64) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let key = |offset: i64| format!("at {offset}").into_bytes();
    let value = Some(offset.to_le_bytes().to_vec());
    vec![(b"last".to_vec(), value.clone()), (key(offset), value), (key(offset - COMMIT), None)]
}

fn state_at(offset: i64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut state = BTreeMap::new();
    for (key, value) in (COMMIT..=offset).step_by(COMMIT as usize).flat_map(changes_at) {
        match value {
            Some(value) => state.insert(key, value),
            None => state.remove(&key),
        };
    }
    state
}

/// A source for the commits to name; nothing is read from it.
fn source(folder: &Path) -> Box<dyn Source> {
    let log = Embedded::open(&folder.join("log.db")).unwrap();
    log.create_topic("t", 1).unwrap();
    log.reader("t", &Reading::new("g", Start::Earliest)).unwrap()
}

/// Not a test but what the tests below run: two lives of a sink, in a thread of which `strace` counts the system calls.
/// After each commit it says how far it is.
#[test]
#[ignore = "it is run by the tests beside it"]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let inject = std::env::var(INJECT).unwrap();
    let source = source(&directory);
    let (tell, told) = mpsc::channel();
    // Without room for a message: whoever tells waits until it was taken, so that nothing said is lost in the end.
    let (say, said) = mpsc::sync_channel(0);
    let (go, gone) = mpsc::channel::<()>();
    let out = directory.clone();
    // It gives the source back, so that it is closed elsewhere.
    let thread = std::thread::spawn(move || {
        tell.send(fs::read_link("/proc/thread-self").unwrap()).unwrap();
        gone.recv().unwrap();
        let lives = || {
            for commits in LIVES {
                let mut life = Life::begin(&out)?;
                for _ in 0..commits {
                    life.commit(source.as_ref())?;
                    say.send(format!("committed {}", life.next)).unwrap();
                    // And taken here, after it was said.
                    gone.recv().unwrap();
                }
            }
            Ok::<(), SinkError>(())
        };
        let outcome = lives().map_err(|error| error.to_string());
        say.send(outcome.map_or_else(|error| format!("failed {error}"), |()| "through".to_owned())).unwrap();
        drop(say);
        source
    });
    let thread_path = Path::new("/proc").join(told.recv().unwrap());
    let mut strace = strace(&directory, thread_path.file_name().unwrap().to_str().unwrap(), &inject);
    wait_for("strace to hold the thread", || {
        assert!(strace.try_wait().unwrap().is_none(), "strace has ended: {inject}");
        let status = fs::read_to_string(thread_path.join("status")).unwrap();
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0")).then_some(())
    });
    go.send(()).unwrap();
    for line in said {
        writeln!(std::io::stdout(), "{line}").unwrap();
        let _ = go.send(());
    }
    drop(thread.join().unwrap());
    assert!(strace.wait().unwrap().success());
}

/// Attaches to a thread of this process.
fn strace(directory: &Path, thread: &str, inject: &str) -> Child {
    // Where only ancestors may trace, a child must be allowed to. Where everybody may, there is nothing to allow.
    let _ = rustix::process::set_ptracer(rustix::process::PTracer::Any);
    let mut strace = Command::new("strace");
    strace.arg("-qq").arg("-o").arg(directory.join("strace.log"));
    for inject in inject.split(' ') {
        strace.arg("-e").arg(format!("inject={inject}"));
    }
    // It keeps our standard output open, so that whoever reads that to its end finds the log complete.
    strace.args(["-p", thread]).stdin(Stdio::null()).stderr(Stdio::null());
    strace.spawn().expect("strace is needed: sudo apt-get install strace")
}

/// How one child ended.
#[derive(Debug)]
struct Outcome {
    /// The last commit that it told of.
    committed: i64,
    /// What it failed with; it names the directory.
    error: Option<String>,
    killed: bool,
    /// The call that the fault came to, unless the child got through before.
    injected: Option<String>,
}

fn run_child(directory: &Path, inject: &str) -> Outcome {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(INJECT, inject)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut committed, mut error, mut through) = (0, None, false);
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap) {
        if let Some(next) = line.strip_prefix("committed ") {
            committed = next.parse().unwrap();
        } else if let Some(text) = line.strip_prefix("failed ") {
            error = Some(text.to_owned());
        } else {
            through |= line == "through";
        }
    }
    let output = child.wait_with_output().unwrap();
    let killed = !output.status.success() && !through && error.is_none();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || !stderr.contains("panicked"), "{inject}: {stderr}");
    let log = fs::read_to_string(directory.join("strace.log")).unwrap();
    // Killed, it does not return from its last call.
    let returns = if inject.contains("signal=KILL") { "= ?" } else { "(INJECTED)" };
    let injected = log.lines().rev().filter(|line| !line.starts_with("exit")).find(|line| line.contains(returns));
    let injected = injected.map(str::to_owned);
    assert!(injected.is_some() || through, "{inject}: {error:?} {stderr}");
    let named = |error: &String| error.starts_with(directory.to_str().unwrap());
    assert!(error.as_ref().is_none_or(named), "{inject}: {error:?}");
    Outcome { committed, error, killed, injected }
}

/// What must hold whatever happened to the child.
fn recovers(directory: &Path, inject: &str, outcome: &Outcome) {
    let context = format!("{inject}: {outcome:?}");
    // Before anything is mended, all that a reader sees is whole.
    let (rows, committed) = (rows(directory), outcome.committed);
    assert!([committed, committed + COMMIT].contains(&rows), "{rows} rows; {context}");
    let mut life = Life::begin(directory).unwrap_or_else(|error| panic!("{error}; {context}"));
    assert!([committed, committed + COMMIT].contains(&life.next), "at {}; {context}", life.next);
    assert_eq!(self::rows(directory), life.next, "the rows are not the checkpoint's; {context}");
    assert_eq!(life.state, state_at(life.next), "{context}");
    let source = source(directory);
    while life.next < END {
        life.commit(source.as_ref()).unwrap_or_else(|error| panic!("{error}; {context}"));
    }
    drop(life);
    assert_eq!(self::rows(directory), END, "{context}");
    let left = fs::read_dir(Output::of(directory).kept(directory)).unwrap();
    for name in left.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        assert!(name.ends_with(".json") || name.ends_with(".state"), "{name} is left behind; {context}");
    }
}

/// How many rows there are in finished files, which must be 0, 1, 2, … in whole files.
fn rows(directory: &Path) -> i64 {
    if Output::of(directory) == Output::Delta {
        return rows_of_table(&directory.join("out"));
    }
    let Ok(entries) = fs::read_dir(directory.join("out")) else { return 0 };
    let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some());
    let mut files: Vec<(i64, Vec<i64>)> = paths
        .map(|path| {
            let first = path.file_stem().unwrap().to_str().unwrap().rsplit('-').nth(1).unwrap().parse().unwrap();
            (first, numbers(&path))
        })
        .collect();
    files.sort();
    let mut next = 0;
    for (first, numbers) in files {
        assert_eq!((first, numbers), (next, (next..next + COMMIT).collect()));
        next += COMMIT;
    }
    next
}

/// What a file holds, which must be whole.
fn numbers(path: &Path) -> Vec<i64> {
    if path.extension().is_some_and(|extension| extension == "parquet") {
        return column(path);
    }
    let text = unpacked(path.to_str().unwrap(), &fs::read(path).unwrap()).into_inner();
    let text = String::from_utf8(text).unwrap();
    let rows = text.strip_prefix("n\n").and_then(|rows| rows.strip_suffix('\n')).expect("a header and whole lines");
    rows.split('\n').map(|number| number.parse().unwrap()).collect()
}

/// The first column of a Parquet file.
fn column(path: &Path) -> Vec<i64> {
    let rows = ParquetRecordBatchReader::try_new(fs::File::open(path).unwrap(), 1_000).unwrap();
    rows.flat_map(|rows| rows.unwrap().column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

/// The same of the table's log: all that a version names is there, and whole.
fn rows_of_table(table: &Path) -> i64 {
    let files = crate::delta::log(table).concat();
    let paths = files.iter().filter_map(|action| action["add"]["path"].as_str());
    let mut next = 0;
    for numbers in paths.map(|path| column(&table.join(path))) {
        assert_eq!(numbers, (next..next + numbers.len() as i64).collect::<Vec<_>>());
        next += numbers.len() as i64;
    }
    next
}

/// Runs a child for each occurrence of each call, with `fault` at it; `always` is what befalls it besides.
fn sweep(calls: &[&str], output: Output, fault: &str, always: &str, check: impl Fn(&Outcome, &str)) {
    for call in calls {
        let mut times = 1;
        loop {
            // In memory where that is: what is tested is the order of the calls, not the disk.
            let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
            let directory = directory.path();
            if output != Output::Csv {
                fs::write(output.marker(directory), "").unwrap();
            }
            let inject = format!("{call}:{fault}:when={times}{always}");
            let outcome = run_child(directory, &inject);
            recovers(directory, &inject, &outcome);
            let Some(call) = &outcome.injected else { break };
            // The allocator may open one of the system's files at any time, and does not mind.
            if !call.contains("\"/proc/") {
                check(&outcome, &inject);
            }
            times += 1;
        }
        assert!(times > 1, "{call} is never called");
    }
}

#[test]
fn a_crash_at_any_step_leaves_the_earlier_or_the_later_checkpoint() {
    let killed = |outcome: &Outcome, inject: &str| assert!(outcome.killed, "{inject}: {outcome:?}");
    sweep(&CALLS, Output::Csv, "signal=KILL", "", killed);
}

#[test]
fn a_crash_at_any_step_tears_no_compressed_file() {
    let killed = |outcome: &Outcome, inject: &str| assert!(outcome.killed, "{inject}: {outcome:?}");
    sweep(&CALLS, Output::Gzip, "signal=KILL", "", killed);
}

/// Parquet is written in other calls than text, and named in the same.
const CONTENT: &[&str] = &["write", "fsync"];

#[test]
fn a_crash_at_any_step_tears_no_parquet() {
    let killed = |outcome: &Outcome, inject: &str| assert!(outcome.killed, "{inject}: {outcome:?}");
    sweep(CONTENT, Output::Parquet, "signal=KILL", "", killed);
}

#[test]
fn a_crash_at_any_step_leaves_a_table_whole() {
    let killed = |outcome: &Outcome, inject: &str| assert!(outcome.killed, "{inject}: {outcome:?}");
    sweep(&CALLS, Output::Delta, "signal=KILL", "", killed);
}

#[test]
fn a_full_disk_at_any_step_is_named_and_the_next_run_goes_on() {
    // What a table asks the system about itself, by opening files of none, has always room.
    let all =
        [(Output::Csv, &CALLS[..]), (Output::Gzip, CONTENT), (Output::Parquet, CONTENT), (Output::Delta, &CALLS[1..])];
    for (output, calls) in all {
        sweep(calls, output, "error=ENOSPC", "", |outcome, inject| {
            names_the_fault(outcome, inject, "No space left on device");
        });
    }
}

#[test]
fn a_failing_disk_at_any_step_is_named_and_the_next_run_goes_on() {
    for (output, calls) in [(Output::Csv, &CALLS[..]), (Output::Parquet, CONTENT), (Output::Delta, &CALLS[1..])] {
        sweep(calls, output, "error=EIO", "", |outcome, inject| {
            names_the_fault(outcome, inject, "Input/output error");
        });
    }
}

#[test]
fn a_disk_that_becomes_read_only_is_named_and_the_next_run_goes_on() {
    let calls = ["linkat", "/^mkdir(at)?$", "openat"];
    for (output, calls) in [(Output::Gzip, &calls[..]), (Output::Delta, &calls[..2])] {
        sweep(calls, output, "error=EROFS", "", |outcome, inject| {
            names_the_fault(outcome, inject, "Read-only file system");
        });
    }
}

#[test]
fn a_file_system_without_links_leaves_no_third_state_either() {
    let calls = ["openat", "write", "fsync"];
    // The first of two rules for one call holds, so a link never works.
    sweep(&calls, Output::Csv, "signal=KILL", " linkat:error=EPERM", |outcome, inject| {
        assert!(outcome.killed, "{inject}: {outcome:?}");
    });
}

fn names_the_fault(outcome: &Outcome, inject: &str, fault: &str) {
    let error = outcome.error.as_ref().unwrap_or_else(|| panic!("{inject} was not noticed"));
    assert!(error.contains(fault), "{inject}: {error}");
}
