//! Rows 36, 37 and 38: uploads that are huge, slow, endless or not what they say, while a stream runs beside.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Stream, TOKEN, answer};
use crate::program::{plugin, wait_for};

const SWAP: &str = "/pipelines/flatten/swap?plan=true&set=separator=.";
const KIND: &str = "Content-Type: application/wasm";

impl Stream {
    /// A connection on which an upload has begun.
    fn begin(&self, length: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let head = format!("POST {SWAP} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n", self.address);
        write!(stream, "{head}{KIND}\r\nConnection: close\r\n{length}\r\n\r\n").unwrap();
        stream
    }

    /// The most memory that the host has had, in MiB.
    fn peak(&self) -> u64 {
        let status: serde_json::Value = serde_json::from_str(&self.ok(&["status", "--json"])).unwrap();
        let text = std::fs::read_to_string(format!("/proc/{}/status", status["process"])).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }
}

#[test]
fn a_body_of_a_gigabyte_is_refused_early() {
    let stream = Stream::start(&[]);
    let before = stream.peak();
    let mut announced = stream.begin(&format!("Content-Length: {}", 1 << 30));
    assert_eq!(answer(&mut announced).0, 413, "nothing of it was sent");

    let mut endless = stream.begin("Transfer-Encoding: chunked");
    let chunk = [format!("{:x}\r\n", 1 << 20).as_bytes(), &vec![0; 1 << 20], b"\r\n"].concat();
    // It is cut off while it is written.
    let sent = (0..1024).take_while(|_| endless.write_all(&chunk).is_ok()).count();
    assert!(sent < 100, "{sent} MiB were taken");
    assert!([0, 413].contains(&answer(&mut endless).0));
    let grown = stream.peak() - before;
    assert!(grown < 200, "the host has grown by {grown} MiB");
    stream.end_well();
}

#[test]
fn slow_callers_are_cut_off_and_hold_nobody_up() {
    let stream = Stream::start(&[]);
    let start = Instant::now();
    // More than may upload, and more than may be open.
    let mut slow: Vec<TcpStream> = (0..8).map(|_| stream.begin("Content-Length: 1000")).collect();
    wait_for("no more turns", || {
        let (status, _) = stream.ask("POST", SWAP, &[KIND], b"x");
        (status == 503).then_some(())
    });
    assert_eq!(stream.ask("GET", "/status", &[], b"").0, 200, "others are not held up");
    let mut hung: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(stream.address).unwrap()).collect();
    hung.iter_mut().for_each(|stream| stream.write_all(b"GET /status HT").unwrap());
    let dripping = std::thread::spawn(move || {
        // A byte at a time, until each is answered.
        let mut last = None;
        for _ in 0..20 {
            if slow.iter_mut().all(|stream| stream.write_all(b"x").is_err()) {
                break;
            }
            std::thread::park_timeout(Duration::from_secs(1));
            slow.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
            let mut byte = [0; 12];
            for stream in &mut slow {
                if matches!(stream.read(&mut byte), Ok(12)) {
                    last = Some(String::from_utf8(byte.to_vec()).unwrap());
                }
            }
            if last.is_some() {
                break;
            }
        }
        last
    });
    assert_eq!(dripping.join().unwrap().as_deref(), Some("HTTP/1.1 408"));
    let mut rest = Vec::new();
    for stream in &mut hung {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // It is closed, with or without an answer.
        let _ = stream.read_to_end(&mut rest);
    }
    assert_eq!(stream.ask("GET", "/status", &[], b"").0, 200);
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    stream.end_well();
}

/// What compiles an upload has nothing of the host's, and is gone when the host is.
#[test]
fn a_compiler_inherits_nothing_and_goes_with_its_host() {
    let stream = Stream::start(&[]);
    let bomb = crate::compile::bomb();
    let mut upload = stream.begin(&format!("Content-Length: {}", bomb.len()));
    upload.write_all(&bomb).unwrap();
    let host: serde_json::Value = serde_json::from_str(&stream.ok(&["status", "--json"])).unwrap();
    let children = format!("/proc/{0}/task", host["process"]);
    let child = wait_for("the compiler", || {
        let tasks = std::fs::read_dir(&children).unwrap();
        let children = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("children")));
        let child = children.flatten().find_map(|children| children.split(' ').next()?.parse::<u32>().ok())?;
        // It is the compiler as soon as it is another program.
        let line = std::fs::read(format!("/proc/{child}/cmdline")).ok()?;
        line.split(|byte| *byte == 0).any(|word| word == b"compile").then_some(child)
    });
    assert_eq!(std::fs::read(format!("/proc/{child}/environ")).unwrap(), b"");
    wait_for("the compiler to put itself behind the host", || {
        let score = std::fs::read_to_string(format!("/proc/{child}/oom_score_adj")).unwrap();
        (score.trim() == "1000").then_some(())
    });
    let open = std::fs::read_dir(format!("/proc/{child}/fd")).unwrap();
    let open: Vec<_> = open.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok()).collect();
    let own = stream.directory.path();
    assert!(
        open.len() > 2 && !open.iter().any(|path| path.starts_with(own) || path.starts_with("socket:")),
        "{open:?}"
    );
    let time = Instant::now();
    stream.process.stop("KILL");
    // Done or dead and not yet waited for: it has no memory any more.
    let is_gone =
        || !std::fs::read_to_string(format!("/proc/{child}/statm")).is_ok_and(|pages| !pages.starts_with("0 "));
    wait_for("the end of the compiler", || is_gone().then_some(()));
    assert!(time.elapsed() < Duration::from_secs(10), "{:?}", time.elapsed());
}

#[test]
fn what_is_no_component_is_refused() {
    let stream = Stream::start(&[]);
    let flatten = std::fs::read(plugin("flatten")).unwrap();
    let precompiled = wasmtime::Engine::default().precompile_component(&flatten).unwrap();
    let module = b"\0asm\x01\0\0\0".to_vec();
    let cut = flatten[..flatten.len() / 2].to_vec();
    for (what, body) in
        [("precompiled", precompiled), ("a module", module), ("cut", cut), ("nothing", vec![]), ("noise", vec![7; 999])]
    {
        let (status, text) = stream.ask("POST", SWAP, &[KIND], &body);
        assert_eq!(status, 422, "{what}: {text}");
    }
    stream.end_well();
}

#[test]
fn names_that_come_with_an_upload_are_not_looked_at() {
    let stream = Stream::start(&[]);
    let flatten = std::fs::read(plugin("flatten")).unwrap();
    let before = files(stream.directory.path());
    let mut names = Vec::new();
    for name in [
        "../evil",
        "/tmp/evil",
        "..\\evil",
        "evil%00.wasm",
        "~/evil",
        "file:///evil",
        "%2e%2e%2fevil",
        ".",
        "CON",
        "a/b",
    ] {
        names.push(format!("Content-Disposition: attachment; filename=\"{name}\""));
        names.push(format!("Content-Disposition: form-data; name=\"{name}\"; filename*=UTF-8''{name}"));
        names.push(format!("Slug: {name}"));
        names.push(format!("Content-Location: {name}"));
    }
    assert_eq!(names.len(), 40);
    let answers: Vec<(u16, String)> =
        names.iter().map(|name| stream.ask("POST", SWAP, &[KIND, name], &flatten)).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer.0 == 200), "{answers:?}");
    assert_eq!(files(stream.directory.path()), before);
    assert!(!Path::new("/tmp/evil").exists());
    stream.end_well();
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}
