//! A network between host and service that can be made to fail: an HTTP proxy that knows which request of S3's interface
//! it has before it. Each request has a connection to the service of its own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::chaos::pass;

/// Requests that make a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Of a whole file, under no name that a reader sees.
    Put,
    /// That there is to be an upload.
    Create,
    Part,
    Complete,
    /// That a finished file gets its name.
    Copy,
    /// A put on condition that there is nothing.
    Manifest,
    /// The same, of an entry of a Delta table's log.
    Entry,
    List,
    Delete,
    Other,
}

/// What the network does to the next request of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The service answers that it cannot now.
    Error(Call),
    /// The service answers that a part is missing, as MinIO does for ever where the end of an upload was cut off.
    Spoilt(Call),
    /// The connection is cut before the service has it.
    RequestLost(Call),
    /// The connection is cut when the service has done it.
    AnswerLost(Call),
    /// It reaches nobody, and nobody says so.
    Stalled(Call),
    /// The answer comes late.
    Slow(Call),
}

impl Fault {
    fn call(self) -> Call {
        match self {
            Self::Error(call)
            | Self::Spoilt(call)
            | Self::RequestLost(call)
            | Self::AnswerLost(call)
            | Self::Stalled(call)
            | Self::Slow(call) => call,
        }
    }
}

/// Ends when dropped.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    service: u16,
    /// What happens, in this order.
    faults: Mutex<Vec<Fault>>,
    /// How often a fault hit something.
    hits: AtomicU32,
    ended: AtomicBool,
}

impl Proxy {
    pub fn start(service: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (faults, hits, ended) = (Mutex::default(), AtomicU32::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { service, faults, hits, ended });
        let listening = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if listening.ended.load(Ordering::Relaxed) {
                    return;
                }
                let (client, shared) = (client.expect("a connection"), listening.clone());
                std::thread::spawn(move || drop(serve(client, &shared)));
            }
        });
        Self { port, shared }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn set(&self, faults: &[Fault]) {
        *self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults.to_vec();
    }

    pub fn hits(&self) -> u32 {
        self.shared.hits.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // It looks when somebody comes.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    /// What is to happen to a request of this kind, if anything.
    fn hit(&self, call: Call) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = *faults.first().filter(|fault| fault.call() == call)?;
        faults.remove(0);
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(fault)
    }
}

fn serve(mut client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut request = Vec::new();
    let head = loop {
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let mut buffer = [0; 16 << 10];
        match client.read(&mut buffer)? {
            0 => return Ok(()),
            read => request.extend_from_slice(&buffer[..read]),
        }
    };
    let text = String::from_utf8_lossy(&request[..head]).into_owned();
    let fault = shared.hit(call(&text));
    let length: usize = header(&text, "content-length").map_or(0, |length| length.parse().expect("a length"));
    let rest = (head + length).saturating_sub(request.len());
    client.try_clone()?.take(rest as u64).read_to_end(&mut request)?;
    match fault {
        Some(Fault::RequestLost(_)) => return Ok(()),
        Some(Fault::Stalled(_)) => {
            // Until whoever asked has given it up.
            return client.read(&mut [0]).map(drop);
        }
        Some(Fault::Error(_)) => return client.write_all(refusal("503 Slow Down", "SlowDown").as_bytes()),
        Some(Fault::Spoilt(_)) => return client.write_all(refusal("400 Bad Request", "InvalidPart").as_bytes()),
        Some(Fault::Slow(_) | Fault::AnswerLost(_)) | None => {}
    }
    let mut service = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.service))?;
    let line = text.find("\r\n").expect("a line") + 2;
    service.write_all(&request[..line])?;
    service.write_all(b"Connection: close\r\n")?;
    service.write_all(&request[line..])?;
    let mut answer = Vec::new();
    service.read_to_end(&mut answer)?;
    match fault {
        Some(Fault::AnswerLost(_)) => return Ok(()),
        Some(Fault::Slow(_)) => pass(Duration::from_secs(1)),
        _ => {}
    }
    client.write_all(&answer)?;
    client.shutdown(Shutdown::Write)
}

fn refusal(status: &str, code: &str) -> String {
    let body = format!("<Error><Code>{code}</Code></Error>");
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn call(head: &str) -> Call {
    let line = head.lines().next().unwrap_or_default();
    let is = |method: &str, part: &str| line.starts_with(method) && line.contains(part);
    match () {
        () if is("POST ", "?uploads") => Call::Create,
        () if is("PUT ", "partNumber=") => Call::Part,
        () if header(head, "x-amz-copy-source").is_some() => Call::Copy,
        () if is("POST ", "uploadId=") => Call::Complete,
        () if is("PUT ", "/_delta_log/") && header(head, "if-none-match").is_some() => Call::Entry,
        () if is("PUT ", "") && header(head, "if-none-match").is_some() => Call::Manifest,
        () if is("PUT ", ".part ") => Call::Put,
        () if is("GET ", "list-type=") => Call::List,
        () if is("POST ", "?delete") => Call::Delete,
        () => Call::Other,
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
