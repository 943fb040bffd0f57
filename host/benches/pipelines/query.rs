//! (k) A query of one row by its key, of a table of a million rows, while rows come in.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::program;
use crate::topic::Setting;

const ROWS: u64 = 1_000_000;
const QUERIES: u64 = 5_000;
/// Rows that come in, and how often.
const MORE: u64 = 100;
const EVERY: Duration = Duration::from_millis(10);

const PIPELINE: &str = r#"
name = "bench"

[source]
uri = "file:in.jsonl"
follow = true

[[plugin]]
file = "{plugins}/flatten.wasm"
[plugin.settings]
fields = [
    { from = "n", name = "n", type = "integer" },
    { from = "name", name = "name" },
    { from = "height", name = "height", type = "float" },
]

[sink]
uri = "sqlite:out.db"
key = ["n"]

[queries]
listen = "127.0.0.1:0"

[[query]]
path = "/one"
sql = "SELECT n, name, height FROM bench WHERE n = :n"
parameters = { n = { kind = "integer" } }

[[query]]
path = "/count"
sql = "SELECT count(*) AS count FROM bench"
"#;

pub fn run(_: &Setting) {
    println!(
        "\n(k) {QUERIES} queries of one of {ROWS} rows by its key, over HTTP, while {MORE} rows come each {EVERY:?}"
    );
    let directory = tempfile::tempdir().expect("a directory");
    let mut input = BufWriter::new(File::create(directory.path().join("in.jsonl")).expect("a file"));
    (0..ROWS).for_each(|n| write_row(&mut input, n));
    input.flush().expect("a file");
    let mut running = start(directory.path());
    let address = address(&mut running);
    let mut client = Client::connect(&address);
    let start = Instant::now();
    while client.get("/count")
        != format!(r#"{{"data":[{{"count":{ROWS}}}],"error":false,"message":"count","statusCode":200}}"#)
    {
        assert!(start.elapsed() < Duration::from_secs(300), "the rows do not come: {}", client.get("/count"));
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("{ROWS} rows were written in {:.1} s", start.elapsed().as_secs_f64());
    let done = AtomicBool::new(false);
    let mut latencies = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = ROWS;
            while !done.load(Ordering::Relaxed) {
                (n..n + MORE).for_each(|n| write_row(&mut input, n));
                input.flush().expect("more rows");
                n += MORE;
                std::thread::sleep(EVERY);
            }
        });
        let latencies: Vec<Duration> = (0..QUERIES).map(|query| client.one(query * 7_919 % ROWS)).collect();
        done.store(true, Ordering::Relaxed);
        latencies
    });
    latencies.sort();
    let at = |share: usize| latencies[(latencies.len() * share / 1000).min(latencies.len() - 1)].as_secs_f64() * 1e3;
    println!(
        "p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms; {} at the end",
        at(500),
        at(990),
        at(999),
        client.get("/count")
    );
    running.kill().and_then(|()| running.wait()).expect("the host's end");
}

fn write_row(out: &mut impl Write, n: u64) {
    let height = (n * 31 % 1_000) as f64 / 50.0;
    writeln!(out, r#"{{"n": {n}, "name": "row number {n}", "height": {height}}}"#).expect("a row");
}

fn start(directory: &Path) -> Child {
    let mut command = program::run(directory, PIPELINE, &["--log", "out.db"]);
    command.env("XDG_RUNTIME_DIR", directory).env("APOGEE_LOG", "info").env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the host")
}

/// Where it says that queries are answered.
fn address(running: &mut Child) -> String {
    let mut lines = BufReader::new(running.stderr.take().expect("its standard error")).lines();
    let address = lines.find_map(|line| Some(line.ok()?.split("queries at http://").nth(1)?.trim().to_owned()));
    // Whatever else it says is not to fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    address.expect("an address")
}

/// One connection, question by question.
struct Client {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Client {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the host");
        stream.set_nodelay(true).expect("an option");
        Self { stream: BufReader::new(stream), host: address.to_owned() }
    }

    fn one(&mut self, n: u64) -> Duration {
        let start = Instant::now();
        let body = self.get(&format!("/one?n={n}"));
        let took = start.elapsed();
        assert!(body.starts_with(&format!(r#"{{"data":[{{"n":{n},"name":"row number {n}""#)), "{body}");
        took
    }

    fn get(&mut self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.stream.get_mut().write_all(request.as_bytes()).expect("a request");
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("a head");
            if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = text.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("a body");
        String::from_utf8(body).expect("UTF-8")
    }
}
