//! A host as a process that is killed, paused and asked to end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::program::{host, wait_for};

/// Killed when dropped.
pub struct Host {
    child: Child,
    log: PathBuf,
}

impl Host {
    /// Starts `host run PIPELINE` in a directory, as its user does. What it says is added to `host.log` there.
    pub fn start(directory: &Path, pipeline: &str) -> Self {
        let log = directory.join("host.log");
        let said = File::options().create(true).append(true).open(&log).expect("a file for what the host says");
        let mut command = host(directory, &["run", pipeline]);
        command.stdout(said.try_clone().expect("a second handle")).stderr(said);
        Self { child: command.spawn().expect("the host starts"), log }
    }

    /// Runs it to its end, which must be a good one.
    pub fn run(directory: &Path, pipeline: &str) {
        let mut host = Self::start(directory, pipeline);
        let status = wait_for("the host to come to the end of its input", || host.ended());
        assert!(status.success(), "{status}; {}", host.said());
    }

    /// kill -9. It must have lived until then.
    pub fn kill(mut self) {
        self.must_run();
        self.child.kill().expect("kill");
        self.child.wait().expect("a status");
    }

    /// Asks it to end, and gives the time that it took; its end must be a good one.
    pub fn terminate(mut self) -> Duration {
        self.must_run();
        let start = Instant::now();
        self.signal("TERM");
        let status = wait_for("the host to end when it is asked to", || self.ended());
        assert!(status.success(), "{status}; {}", self.said());
        start.elapsed()
    }

    /// Sends a signal, such as `STOP`.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status();
        assert!(sent.expect("kill").success());
    }

    pub fn must_run(&mut self) {
        if let Some(status) = self.ended() {
            panic!("the host ended by itself ({status}); {}", self.said());
        }
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a status")
    }

    fn said(&self) -> String {
        format!("the end of what it said:\n{}", tail(&self.log))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of a log.
pub fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
