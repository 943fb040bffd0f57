//! The control interface of a host that runs a stream: whatever is asked of it, by whomever, the stream is exact.

mod commands;
mod guards;
mod network;
mod sockets;
mod uploads;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Running, host, plugin, wait_for};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A host that flattens a simulated feed, whose timestamps are a second apart, and listens on a port of its own.
struct Stream {
    directory: TempDir,
    process: Running,
    address: SocketAddr,
}

impl Stream {
    fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write_private(&directory.path().join("token"), TOKEN);
        let flatten = plugin("flatten");
        let pipeline =
            ["--from", "sim:iss?step=1s", "--every", "10ms", "--to", "kafka:///flat", "--control-token", "token"];
        let plugin = ["--plugin", flatten.to_str().unwrap()];
        let control = if arguments.contains(&"--control") { &[][..] } else { &["--control", "127.0.0.1:0"] };
        let mut command = command(directory.path(), &[&plugin[..], &pipeline, control, arguments].concat());
        let log = directory.path().join("stderr");
        command.stderr(std::fs::File::create(&log).unwrap()).stdout(Stdio::null());
        let mut process = Running::start(command);
        let address = wait_for("the address of the control interface", || {
            let text = std::fs::read_to_string(&log).unwrap();
            assert!(process.is_running(), "{text}");
            text.split("control interface at ").nth(1)?.lines().next()?.split("://").nth(1)?.parse().ok()
        });
        let stream = Self { directory, process, address };
        stream.goes_on();
        stream
    }

    /// A command, where it finds this host alone.
    fn command(&self, arguments: &[&str]) -> Output {
        command(self.directory.path(), arguments).output().unwrap()
    }

    /// What a command says that must go well.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// `host status --json` of the pipeline.
    fn status(&self) -> Value {
        let status: Value = serde_json::from_str(&self.ok(&["status", "--json"])).unwrap();
        status["pipelines"][0].clone()
    }

    fn out(&self) -> u64 {
        self.status()["counters"]["messages out"].as_u64().unwrap_or_default()
    }

    /// That messages come out which did not before.
    fn goes_on(&self) {
        let before = wait_for("a pipeline that runs", || {
            self.command(&["status", "flatten"]).status.success().then(|| self.out())
        });
        wait_for("more messages", || (self.out() > before).then_some(()));
    }

    /// One request over TCP with a `Host` and the token, and its answer: status and body.
    fn ask(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> (u16, String) {
        let own = format!("Host: {}", self.address);
        let token = format!("Authorization: Bearer {TOKEN}");
        self.ask_bare(method, path, &[&[own.as_str(), &token][..], headers].concat(), body)
    }

    /// One request with no other headers than these.
    fn ask_bare(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        headers.iter().for_each(|header| head.extend([header, "\r\n"]));
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // Who is refused may not be listened to any more.
        let _ = stream.write_all(body);
        answer(&mut stream)
    }

    /// Ends the host, whose output must be exact: each second once, in order, and no less than was counted.
    fn end_well(self) {
        self.goes_on();
        let counted = self.out();
        assert!(self.process.stop("INT").success());
        let read = ["topics", "read", "kafka:///flat", "--raw", "--limit", "1000000"];
        let output = command(self.directory.path(), &read).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let times: Vec<i64> = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["timestamp"].as_i64().unwrap())
            .collect();
        assert!(times.len() as u64 >= counted, "{} of {counted} messages", times.len());
        assert!(times.windows(2).all(|pair| pair[1] == pair[0] + 1), "not each second once: {times:?}");
    }
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = host(directory, arguments);
    command.env("XDG_RUNTIME_DIR", directory).env_remove("APOGEE_CONTROL_TOKEN").env_remove("APOGEE_LOG");
    command
}

/// A file of its owner's alone.
fn write_private(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Status and body of the answer on a connection that is closed after it; 0 where there was none.
fn answer(stream: &mut (impl Read + Deadline)) -> (u16, String) {
    stream.deadline(Duration::from_secs(60));
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    // A connection that is reset has given its answer before, or none.
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..length]);
    }
    let text = String::from_utf8(bytes).unwrap();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    (status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

trait Deadline {
    fn deadline(&self, time: Duration);
}

impl Deadline for TcpStream {
    fn deadline(&self, time: Duration) {
        self.set_read_timeout(Some(time)).unwrap();
    }
}

impl Deadline for std::os::unix::net::UnixStream {
    fn deadline(&self, time: Duration) {
        self.set_read_timeout(Some(time)).unwrap();
    }
}
