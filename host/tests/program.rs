//! Runs the `host` program as its user does, and waits for conditions instead of sleeping.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for anything; far more than it takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// The program, in a directory of its own, where it keeps its embedded log and its control socket.
pub fn host(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_host"));
    command.args(arguments).current_dir(directory).env("XDG_RUNTIME_DIR", directory).stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub fn run(directory: &Path, arguments: &[&str]) -> Output {
    host(directory, arguments).output().expect("the host starts")
}

/// Runs the program to its end, which must be a good one; gives its standard output.
pub fn run_ok(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "host {arguments:?}: {}\n{stderr}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8 on standard output")
}

/// A program in the background; killed when dropped.
pub struct Running(Child);

impl Running {
    pub fn start(mut command: Command) -> Self {
        Self(command.spawn().expect("the program starts"))
    }

    pub fn stdout(&mut self) -> std::process::ChildStdout {
        self.0.stdout.take().expect("a piped standard output")
    }

    /// Sends a signal, such as `TERM`, and waits for the end.
    pub fn stop(mut self, signal: &str) -> ExitStatus {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.0.id().to_string()]).status();
        assert!(sent.expect("kill").success());
        wait_for("the program to end", || self.0.try_wait().expect("a status"))
    }

    pub fn is_running(&mut self) -> bool {
        self.ended().is_none()
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("a status")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks again and again until `condition` gives something.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A built component.
pub fn plugin(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../plugins/{name}.wasm"));
    path.canonicalize()
        .unwrap_or_else(|_| panic!("{} is not there: build it with `cargo xtask plugins --all`", path.display()))
}

/// A certificate for this machine's own name and address, in a file, and the file of its key.
pub fn certificate(directory: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let made = Command::new("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1".split(' '))
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output()
        .expect("the tests need the program openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}

/// The top of the project.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the project's folder")
}

/// Every row of every CSV file in a directory, in the order of the files' names, each file's header checked.
pub fn csv_rows(directory: &Path, header: &[&str]) -> Vec<Vec<String>> {
    let mut files: Vec<PathBuf> = match std::fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| entry.expect("an entry").path()).collect(),
        Err(_) => return Vec::new(),
    };
    files.retain(|file| file.extension().is_some_and(|extension| extension == "csv"));
    files.sort();
    let mut rows = Vec::new();
    for file in files {
        let mut reader = csv::Reader::from_path(&file).expect("a CSV file");
        assert_eq!(reader.headers().expect("a header").iter().collect::<Vec<_>>(), header, "{}", file.display());
        for row in reader.records() {
            rows.push(row.expect("a whole row").iter().map(str::to_owned).collect());
        }
    }
    rows
}
