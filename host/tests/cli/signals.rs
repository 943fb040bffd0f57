//! What a signal does to a run: in a process of its own, which is this test binary again.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use host::stop::{OnSignal, Stop};
use xtask::kafka::Broker;

use super::host;
use crate::program::{csv_rows, wait_for};

/// What the runs below print when they are ready for a signal.
const READY: &str = "ready for a signal";

#[test]
fn a_signal_ends_a_simulator_within_its_time() {
    for signal in ["-TERM", "-INT"] {
        let mut simulator = Process::start(host("simulate iss --port 0"), "http://127.0.0.1:");
        let (sent, status) = (Instant::now(), simulator.signal(signal).wait());
        assert_eq!(status, Some(0), "{signal}");
        assert!(sent.elapsed() < Duration::from_secs(5), "{signal}: {:?}", sent.elapsed());
    }
}

#[test]
fn a_run_that_does_not_end_is_cut_off_in_time() {
    let mut run = Process::start(again("run_that_ignores_stop"), READY);
    let (sent, status) = (Instant::now(), run.signal("-TERM").wait());
    assert_eq!(status, Some(1));
    assert!((4_000..5_000).contains(&sent.elapsed().as_millis()), "{:?}", sent.elapsed());
    let error = run.error();
    assert!(error.contains("error: the run did not end within 4.5 s of the signal"), "{error}");
}

#[test]
fn a_pipeline_through_the_embedded_log_ends_in_time() {
    ends_with_complete_rows("kafka:///iss");
}

#[test]
fn a_pipeline_through_kafka_ends_in_time() {
    ends_with_complete_rows(&format!("kafka://{}/ends-in-time-{}", crate::kafka::brokers(), std::process::id()));
}

/// Polls the simulated station until it has rows in a finished file, and stops it while it goes on.
fn ends_with_complete_rows(via: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut pipeline = polling(folder.path(), via);
    let out = folder.path().join("out");
    wait_for("rows", || (!csv_rows(&out, &COLUMNS).is_empty()).then_some(()));
    let before = csv_rows(&out, &COLUMNS).len();
    let (sent, status) = (Instant::now(), pipeline.signal("-TERM").wait());
    assert_eq!(status, Some(0), "{}", pipeline.error());
    assert!(sent.elapsed() < Duration::from_secs(5), "{:?}", sent.elapsed());
    assert!(csv_rows(&out, &COLUMNS).len() >= before);
    for file in std::fs::read_dir(&out).unwrap() {
        let file = file.unwrap().path();
        // The checkpoints.
        if file.is_dir() {
            continue;
        }
        assert!(file.extension().is_some_and(|extension| extension == "csv"), "{} is unfinished", file.display());
        assert!(std::fs::read(&file).unwrap().ends_with(b"\n"), "{} is torn", file.display());
    }
}

#[test]
fn a_pipeline_whose_broker_hangs_is_cut_off_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::scratch(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    let mut pipeline = polling(folder.path(), &format!("kafka://{}/hangs", broker.address()));
    wait_for("rows", || (!csv_rows(&folder.path().join("out"), &COLUMNS).is_empty()).then_some(()));
    let stopped = Command::new("kill").args(["-STOP", &broker.pid().unwrap().to_string()]).status().unwrap();
    assert!(stopped.success());
    let (sent, status) = (Instant::now(), pipeline.signal("-TERM").wait());
    let error = pipeline.error();
    assert_eq!(status, Some(1), "{error}");
    assert!(sent.elapsed() < Duration::from_secs(5), "{:?}", sent.elapsed());
    let told = "error: the run did not end within 4.5 s of the signal and was cut off; \
                the next run reads again what was not committed, except what was polled with --via none";
    assert!(error.lines().any(|line| line == told), "{error}");
}

const COLUMNS: [&str; 1] = ["time"];

/// A pipeline that polls every 10 ms and finishes a file every 100 ms.
fn polling(folder: &Path, via: &str) -> Process {
    let text = format!(
        "[source]\nuri = \"sim:iss\"\nvia = {via:?}\n[[plugin]]\nfile = {:?}\n\
         settings.fields = [{{ from = \"timestamp\", name = \"time\" }}]\n\
         [sink]\nuri = \"csv:out\"\nevery = \"100ms\"\n",
        crate::program::plugin("flatten")
    );
    std::fs::write(folder.join("iss.toml"), text).unwrap();
    let mut command = host("run iss.toml --every 10ms");
    command.current_dir(folder);
    Process::spawn(command)
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let mut run = Process::start(again("run_that_ignores_stop"), READY);
    run.signal("-INT").line_with("stop was requested");
    // Interrupts right after the first count as its echo, so one more is sent until one counts.
    let sent = Instant::now();
    let status = loop {
        if let Some(status) = run.child.try_wait().unwrap() {
            break status;
        }
        assert!(sent.elapsed() < Duration::from_secs(2), "interrupts do not end it");
        run.signal("-INT");
    };
    assert_eq!(status.code(), Some(130));
    assert!(sent.elapsed() >= Duration::from_millis(50), "an echo of the first interrupt ended it");
}

#[test]
#[ignore = "a process that other tests start"]
fn run_that_ignores_stop() {
    let stop = Stop::default();
    let _on_signal = OnSignal::request(vec![stop.clone()]).unwrap();
    println!("{READY}");
    let mut told = false;
    // Longer than any grace, and not for ever should the test that started it be killed.
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        if stop.requested() && !told {
            println!("stop was requested");
            told = true;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// This test binary, as the process that one of its ignored tests is.
fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("cli::signals::{test}"), "--ignored", "--nocapture"]);
    command
}

/// A process that ends with the test, whatever happens.
struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// Returns once the process has printed a line with `ready` in it.
    fn start(command: Command, ready: &str) -> Self {
        let mut process = Self::spawn(command);
        process.line_with(ready);
        process
    }

    fn line_with(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            if self.output.read_line(&mut line).unwrap() == 0 {
                let _ = self.child.kill();
                panic!("it ended without {text:?}: {}", self.error());
            }
        }
    }

    fn signal(&mut self, signal: &str) -> &mut Self {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
        self
    }

    fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    fn error(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
