//! TLS against OpenSSL's own server: what cannot be verified fails closed, and says why.
//!
//! The certificates to trust are read from `SSL_CERT_FILE` when a process starts, so the test runs
//! itself again in a process that trusts the certificates which it made.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use host::source::http::{Options, probe};
use host::source::{Poll, Source};

use super::{GOOD, PATIENCE, next, options, source, values};

/// The folder of certificates, in the process that trusts them.
const FOLDER: &str = "APOGEE_TEST_CERTIFICATES";

/// `openssl s_server -HTTP`: serves the files of its folder, which hold whole replies.
struct TlsServer {
    process: Child,
    port: u16,
}

impl TlsServer {
    fn start(folder: &Path, certificate: &str) -> Self {
        let mut process = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-HTTP"])
            .args(["-cert", &format!("{certificate}.pem"), "-key", &format!("{certificate}.key")])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the tests need the program openssl");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| line.strip_prefix("ACCEPT ")?.rsplit(':').next()?.parse().ok()).unwrap();
        // What it prints is read to the end, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, port }
    }

    fn options(&self, host: &str, file: &str) -> Options {
        let url = format!("https://{host}:{}/{file}", self.port);
        Options { deadline: Duration::from_secs(5), ..options(&url.parse().unwrap()) }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let output = output.expect("the tests need the program openssl");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Certificates: good, out of date, and one that nobody trusts; and the replies to serve.
fn prepare(folder: &Path) {
    for name in ["good", "expired", "unknown"] {
        let key = format!("-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {name}.key");
        let subject = format!("-subj /CN={name} -addext subjectAltName=DNS:localhost");
        openssl(folder, &format!("req -x509 {key} {subject} -days 1 -out {name}.pem"));
    }
    openssl(folder, "x509 -in expired.pem -signkey expired.key -days -1 -out expired.pem");
    let trusted = ["good.pem", "expired.pem"].map(|name| std::fs::read(folder.join(name)).unwrap()).concat();
    std::fs::write(folder.join("trusted.pem"), trusted).unwrap();
    std::fs::write(folder.join("now.json"), format!("HTTP/1.0 200 OK\r\n\r\n{GOOD}")).unwrap();
    std::fs::write(folder.join("down"), "HTTP/1.0 302 Found\r\nLocation: http://localhost/now.json\r\n\r\n").unwrap();
}

/// Polls until `cause` is counted; nothing may come out.
fn refused(options: Options, cause: &str) {
    let (mut source, counters) = source(options);
    let deadline = Instant::now() + PATIENCE;
    while counters.get(cause) == 0 {
        assert!(Instant::now() < deadline, "{cause} was not counted, but {:?}", counters.snapshot());
        assert!(matches!(source.poll(Duration::from_millis(20)).unwrap(), Poll::Idle));
    }
    assert_eq!(counters.get("poll good"), 0);
}

/// The text that the operator sees when the first contact fails.
fn probe_error(options: &Options) -> String {
    probe(options).expect_err("the server cannot be trusted").to_string()
}

#[test]
fn what_cannot_be_verified_fails_closed_and_says_why() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return in_a_process_that_trusts();
    };
    let folder = Path::new(&folder);
    let (good, expired) = (TlsServer::start(folder, "good"), TlsServer::start(folder, "expired"));
    let unknown = TlsServer::start(folder, "unknown");

    let (mut trusted, _) = source(good.options("localhost", "now.json"));
    assert_eq!(values(&next(&mut trusted)), [GOOD.as_bytes()], "the certificates themselves work");

    for (options, why) in [
        (expired.options("localhost", "now.json"), "its certificate has expired"),
        (unknown.options("localhost", "now.json"), "its certificate is self-signed"),
        (good.options("127.0.0.1", "now.json"), "its certificate is for another host"),
    ] {
        let error = probe_error(&options);
        assert!(error.contains(&format!("{} cannot be reached ({why}: ", options.url)), "{error}");
        refused(options, "poll tls");
    }
    refused(good.options("localhost", "down"), "poll redirect refused");
}

fn in_a_process_that_trusts() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "http::tls::what_cannot_be_verified_fails_closed_and_says_why", "--nocapture"])
        .env(FOLDER, folder.path())
        .env("SSL_CERT_FILE", folder.path().join("trusted.pem"))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
