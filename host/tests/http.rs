//! HTTP polling against real servers that misbehave: each fault is counted by its cause, nothing wrong is
//! handed out, and the next good reply comes out.

mod bodies;
mod redirects;
mod schedule;
mod tls;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use host::message::Fetch;
use host::metrics::Counters;
use host::source::http::{HttpSource, Options};
use host::source::{Poll, Source};
use url::Url;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

const GOOD: &str = r#"{"iss_position": {"longitude": "-85.6433"}, "timestamp": 1690000000}"#;

/// A server on a port of its own. It runs until the test binary ends.
struct Server {
    url: Url,
    /// When each request came.
    requests: Arc<Mutex<Vec<Instant>>>,
}

impl Server {
    /// Answers every request, on a connection of its own, by `reply` with its number.
    fn start(reply: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), reply)
    }

    fn on(listener: TcpListener, reply: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let url = Url::parse(&format!("http://{}/now.json", listener.local_addr().unwrap())).unwrap();
        let (requests, reply) = (Arc::new(Mutex::new(Vec::new())), Arc::new(reply));
        let log = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, log, reply) = (stream.unwrap(), Arc::clone(&log), Arc::clone(&reply));
                std::thread::spawn(move || {
                    if read_head(&stream) {
                        let number = {
                            let mut log = log.lock().unwrap();
                            log.push(Instant::now());
                            log.len() - 1
                        };
                        reply(number, &mut stream);
                    }
                });
            }
        });
        Self { url, requests }
    }

    /// From each request to the next.
    fn gaps(&self) -> Vec<Duration> {
        self.requests.lock().unwrap().windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

/// Reads the head of a request; false where the client went away.
fn read_head(stream: &TcpStream) -> bool {
    let mut lines = BufReader::new(stream).lines();
    lines.any(|line| line.is_ok_and(|line| line.is_empty()))
}

/// Blocks until the client closes the connection.
fn wait_for_close(stream: &TcpStream) {
    let _ = BufReader::new(stream).lines().next();
}

/// Writes a reply with `head` (status and headers, a line each) and `body`, and closes the connection.
fn reply(stream: &mut TcpStream, head: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        head.replace('\n', "\r\n"),
        body.len()
    );
    // A client that has seen enough closes the connection.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

fn good(stream: &mut TcpStream) {
    reply(stream, "200 OK", GOOD.as_bytes());
}

fn options(url: &Url) -> Options {
    Options {
        url: url.clone(),
        every: Duration::from_millis(20),
        deadline: Duration::from_secs(1),
        max_body: 1 << 20,
        max_decoded: 1 << 20,
        distinct: None,
        key: None,
    }
}

fn source(options: Options) -> (HttpSource, Counters) {
    let counters = Counters::default();
    let mut source = HttpSource::new(options, counters.clone()).unwrap();
    assert!(matches!(source.poll(Duration::ZERO).unwrap(), Poll::Assigned(_)));
    source.start(0, None).unwrap();
    (source, counters)
}

/// The next thing that the source hands out.
fn next(source: &mut HttpSource) -> Fetch {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Poll::Messages(fetch) = source.poll(Duration::from_millis(50)).unwrap() {
            return fetch;
        }
    }
    panic!("nothing came within {PATIENCE:?}");
}

fn values(fetch: &Fetch) -> Vec<&[u8]> {
    fetch.batch.values.iter().map(Option::unwrap).collect()
}

/// Polls a server whose first reply is `fault` and whose others are good. The first message must be
/// the good one, and the fault the only other thing counted. Gives what was counted.
fn goes_on_after(cause: &str, fault: impl Fn(&mut TcpStream) + Send + Sync + 'static) {
    let server = Server::start(move |number, stream| if number == 0 { fault(stream) } else { good(stream) });
    let (mut source, counters) = source(options(&server.url));
    let fetch = next(&mut source);
    assert_eq!(values(&fetch), [GOOD.as_bytes()]);
    assert_eq!((fetch.offsets.as_slice(), fetch.next, fetch.rejected.as_slice()), (&[0][..], 1, &[][..]));
    let mut counted = counters.snapshot();
    counted.remove("poll missed tick");
    let expected = [(cause.to_owned(), 1), ("poll good".to_owned(), 1)];
    assert_eq!(counted, expected.into_iter().collect());
}
