//! Queries over HTTP, asked of the program while a stream runs and after it.

mod answers;
mod begin;
mod guards;
mod limits;
mod plugins;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Running, host, plugin, wait_for};

/// Numbers with their rest by 7, in order.
const NUMBERS: usize = 20_000;

/// A host that is asked; `results` and the tables are in its directory.
pub(crate) struct Asked {
    directory: TempDir,
    process: Running,
    address: SocketAddr,
}

/// An answer: status, head and body.
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    /// What the envelope has, which is whole.
    fn json(&self) -> Value {
        let json: Value = serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body));
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["data", "error", "message", "statusCode"], "{json}");
        assert_eq!(json["statusCode"], self.status, "{json}");
        assert_eq!(json["error"], self.status >= 400, "{json}");
        assert!(json["data"].is_array() && self.head.contains("content-type: application/json"), "{json}");
        json
    }

    /// The message of an error.
    fn problem(&self, status: u16) -> String {
        let json = self.json();
        assert_eq!(self.status, status, "{json}");
        assert_eq!(json["data"], serde_json::json!([]));
        json["message"].as_str().unwrap().to_owned()
    }
}

impl Asked {
    /// Numbers to a table `numbers` of `n` and `g`; `queries` follows [queries] in the pipeline file.
    fn numbers(queries: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut lines = Vec::new();
        (0..NUMBERS).for_each(|n| writeln!(lines, "{{\"n\":{n},\"g\":\"{}\"}}", n % 7).unwrap());
        std::fs::write(directory.path().join("in.jsonl"), lines).unwrap();
        Self::start(directory, &pipeline(queries))
    }

    /// Numbers, when all of them are in the table.
    fn all_numbers(queries: &str) -> Self {
        let asked = Self::numbers(&format!(
            "{queries}\n[[query]]\npath = \"/count\"\nsql = \"SELECT count(*) AS n FROM numbers\""
        ));
        wait_for("all the rows", || {
            let reply = asked.get("/count", &[]);
            (reply.status == 200 && reply.json()["data"][0]["n"] == NUMBERS).then_some(())
        });
        asked
    }

    fn start(directory: TempDir, pipeline: &str) -> Self {
        std::fs::write(directory.path().join("numbers.toml"), pipeline).unwrap();
        Self::run(directory, "numbers.toml")
    }

    /// Runs a pipeline file of the directory.
    pub(crate) fn run(directory: TempDir, file: &str) -> Self {
        let mut command = host(directory.path(), &["run", file]);
        let log = directory.path().join("stderr");
        command.stderr(std::fs::File::create(&log).unwrap()).stdout(Stdio::null()).env_remove("APOGEE_LOG");
        let mut process = Running::start(command);
        let address = wait_for("the address of the queries", || {
            let text = std::fs::read_to_string(&log).unwrap();
            assert!(process.is_running(), "{text}");
            text.split("queries at ").nth(1)?.lines().next()?.split("://").nth(1)?.parse().ok()
        });
        Self { directory, process, address }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    fn get(&self, path: &str, headers: &[&str]) -> Reply {
        self.ask("GET", path, &[&[&*format!("Host: {}", self.address)], headers].concat())
    }

    /// The rows of an answer that must be good.
    pub(crate) fn data(&self, path: &str) -> Vec<Value> {
        let reply = self.get(path, &[]);
        let json = reply.json();
        assert_eq!(
            (reply.status, &json["message"]),
            (200, &Value::from(path[1..].split('?').next())),
            "{path}: {json}"
        );
        json["data"].as_array().unwrap().clone()
    }

    /// One request with no other headers than these.
    fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Reply {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        headers.iter().for_each(|header| head.extend([header, "\r\n"]));
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("stderr")).unwrap()
    }

    /// Ends it as it is to be ended.
    pub(crate) fn end_well(self) {
        let (directory, status) = (self.directory, self.process.stop("TERM"));
        assert!(status.success(), "{}", std::fs::read_to_string(directory.path().join("stderr")).unwrap());
    }
}

/// A pipeline file of numbers from a file to a table.
fn pipeline(queries: &str) -> String {
    format!(
        "[source]\nuri = \"file:in.jsonl\"\nuntil = \"end\"\n[[plugin]]\nfile = {:?}\n[plugin.settings]\nfields = [\
         {{ from = \"n\", name = \"n\", type = \"integer\" }}, {{ from = \"g\", name = \"g\" }}]\n\
         [sink]\nuri = \"sqlite:out.db\"\n[queries]\nlisten = \"127.0.0.1:0\"\n{queries}\n",
        plugin("flatten")
    )
}
