//! A network between host and broker that can be made to fail: a TCP proxy that knows where a request of Kafka's
//! protocol begins, and which one it is.
//!
//! Frames are as <https://kafka.apache.org/protocol> has them: four bytes of length; a request goes on with its API
//! key, the version and a correlation id, an answer with that id.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::chance::pass;

/// How often a connection looks whether something has changed.
const LOOK: Duration = Duration::from_millis(10);

/// Requests of Kafka's protocol that end or extend a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    AddPartitionsToTxn = 24,
    AddOffsetsToTxn = 25,
    EndTxn = 26,
    TxnOffsetCommit = 28,
}

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Connections are taken, and nothing goes on from there until it is over.
    Blackhole,
    /// The broker's side of every connection that there is is cut; the host is not told. New ones are good.
    HalfOpen,
    /// The next such request reaches the broker; its answer is lost, and the connection is cut.
    AnswerLost(Api),
    /// The connection of the next such request becomes half open before the broker has it.
    RequestLost(Api),
}

/// Ends its connections when dropped.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    fault: Mutex<Fault>,
    /// How often a fault hit something.
    hits: AtomicU32,
    /// How often all connections were cut.
    cuts: AtomicU32,
    /// Where the broker is, once it is known.
    broker: Mutex<Option<u16>>,
    ended: AtomicBool,
}

impl Proxy {
    /// Listens; the broker is named later, because it has to know this port first.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        listener.set_nonblocking(true).expect("a listener");
        let shared = Arc::new(Shared {
            fault: Mutex::new(Fault::None),
            hits: AtomicU32::new(0),
            cuts: AtomicU32::new(0),
            broker: Mutex::new(None),
            ended: AtomicBool::new(false),
        });
        let listening = shared.clone();
        std::thread::spawn(move || {
            while !listening.ended() {
                match listener.accept() {
                    Ok((client, _)) => {
                        let shared = listening.clone();
                        std::thread::spawn(move || connect(client, &shared));
                    }
                    Err(_) => pass(LOOK),
                }
            }
        });
        Self { port, shared }
    }

    pub fn to(&self, broker: u16) {
        *lock(&self.shared.broker) = Some(broker);
    }

    pub fn set(&self, fault: Fault) {
        if fault == Fault::HalfOpen {
            self.shared.cuts.fetch_add(1, Ordering::Relaxed);
        }
        *lock(&self.shared.fault) = fault;
    }

    pub fn hits(&self) -> u32 {
        self.shared.hits.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn fault(&self) -> Fault {
        *lock(&self.fault)
    }

    /// Whether this request is the one that is to be hit; then no other one is.
    fn hit(&self, wanted: impl Fn(Fault) -> bool) -> bool {
        let mut fault = lock(&self.fault);
        let hit = wanted(*fault);
        if hit {
            *fault = Fault::None;
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
        hit
    }
}

/// What the two directions of a connection have in common.
struct Link {
    /// How often all connections were cut before this one came.
    cuts: u32,
    /// Correlation ids of the requests whose answers are to be lost.
    lost: Mutex<BTreeSet<i32>>,
    /// The broker's side is cut, and the host is not told.
    half_open: AtomicBool,
}

impl Link {
    fn half_open(&self) -> bool {
        self.half_open.load(Ordering::Relaxed)
    }
}

fn connect(client: TcpStream, shared: &Arc<Shared>) {
    while shared.fault() == Fault::Blackhole && !shared.ended() {
        pass(LOOK);
    }
    let broker = *lock(&shared.broker);
    let Some(broker) = broker.and_then(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()) else { return };
    let cuts = shared.cuts.load(Ordering::Relaxed);
    let link = Arc::new(Link { cuts, lost: Mutex::default(), half_open: AtomicBool::new(false) });
    let (Ok(from_client), Ok(from_broker)) = (client.try_clone(), broker.try_clone()) else { return };
    let (answers, other) = (link.clone(), shared.clone());
    std::thread::spawn(move || {
        forward(&from_broker, &client, &other, &answers, answer, true);
        let _ = from_broker.shutdown(Shutdown::Both);
        if !answers.half_open() {
            let _ = client.shutdown(Shutdown::Both);
        }
    });
    forward(&from_client, &broker, shared, &link, request, false);
    let _ = from_client.shutdown(Shutdown::Both);
    let _ = broker.shutdown(Shutdown::Both);
}

/// What becomes of a frame.
enum Fate {
    Forward,
    Swallow,
    Cut,
}

/// Moves frames one way until the connection, or the proxy, ends.
fn forward(
    mut from: &TcpStream,
    mut to: &TcpStream,
    shared: &Shared,
    link: &Link,
    judge: fn(&[u8], &Shared, &Link) -> Fate,
    half_open_ends: bool,
) {
    let _ = from.set_read_timeout(Some(LOOK));
    let (mut held, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    while !shared.ended() {
        if shared.fault() == Fault::Blackhole {
            shared.hits.fetch_add(1, Ordering::Relaxed);
            pass(LOOK);
            continue;
        }
        if link.cuts < shared.cuts.load(Ordering::Relaxed) && !link.half_open.swap(true, Ordering::Relaxed) {
            shared.hits.fetch_add(1, Ordering::Relaxed);
        }
        if half_open_ends && link.half_open() {
            return;
        }
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => held.extend_from_slice(&buffer[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
        while let Some(frame) = frame(&held) {
            match judge(&held[4..frame], shared, link) {
                Fate::Forward if to.write_all(&held[..frame]).is_ok() => {}
                Fate::Forward | Fate::Cut => return,
                Fate::Swallow => {}
            }
            held.drain(..frame);
        }
    }
}

/// The length of the first frame, where all of it is there.
fn frame(held: &[u8]) -> Option<usize> {
    let length = 4 + u32::from_be_bytes(*held.first_chunk()?) as usize;
    (held.len() >= length).then_some(length)
}

fn request(frame: &[u8], shared: &Shared, link: &Link) -> Fate {
    if link.half_open() {
        return Fate::Swallow;
    }
    let Some((&[a, b, _, _, id @ ..], _)) = frame.split_first_chunk::<8>() else { return Fate::Forward };
    let (api, id) = (i16::from_be_bytes([a, b]), i32::from_be_bytes(id));
    if shared.hit(|fault| matches!(fault, Fault::RequestLost(wanted) if wanted as i16 == api)) {
        link.half_open.store(true, Ordering::Relaxed);
        return Fate::Swallow;
    }
    if shared.hit(|fault| matches!(fault, Fault::AnswerLost(wanted) if wanted as i16 == api)) {
        lock(&link.lost).insert(id);
    }
    Fate::Forward
}

fn answer(frame: &[u8], _: &Shared, link: &Link) -> Fate {
    let Some((&id, _)) = frame.split_first_chunk() else { return Fate::Forward };
    match lock(&link.lost).contains(&i32::from_be_bytes(id)) {
        true => Fate::Cut,
        false => Fate::Forward,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request with its API key and its correlation id, and whatever else there is.
fn framed(api: i16, id: i32) -> Vec<u8> {
    let frame = [&api.to_be_bytes()[..], &[0, 0], &id.to_be_bytes(), b"rest"].concat();
    [&(frame.len() as u32).to_be_bytes()[..], &frame].concat()
}

#[test]
fn each_fault_hits_what_it_is_to_hit_and_nothing_else() {
    let broker = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = Proxy::start();
    proxy.to(broker.local_addr().unwrap().port());
    let connect = || {
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
        (client, broker.accept().unwrap().0)
    };
    let gets = |mut end: &TcpStream, bytes: &[u8]| {
        let mut buffer = vec![0; bytes.len()];
        end.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        end.read_exact(&mut buffer).is_ok() && buffer == bytes
    };
    let ended = |mut end: &TcpStream| {
        end.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        end.read(&mut [0]).is_ok_and(|read| read == 0)
    };
    let hears_nothing = |mut end: &TcpStream| {
        end.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        end.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    let (other, wanted) = (framed(0, 1), framed(Api::EndTxn as i16, 2));
    // An answer begins with its correlation id.
    let answer = |id: i32| [&8u32.to_be_bytes()[..], &id.to_be_bytes(), b"done"].concat();

    let (mut client, mut server) = connect();
    proxy.set(Fault::AnswerLost(Api::EndTxn));
    client.write_all(&other[..5]).unwrap();
    client.write_all(&[&other[5..], &wanted].concat()).unwrap();
    assert!(gets(&server, &[&other[..], &wanted].concat()));
    server.write_all(&answer(1)).unwrap();
    assert!(gets(&client, &answer(1)));
    server.write_all(&answer(2)).unwrap();
    assert!(ended(&client) && proxy.hits() == 1, "cut, without the answer");

    let (mut client, server) = connect();
    proxy.set(Fault::RequestLost(Api::EndTxn));
    client.write_all(&wanted).unwrap();
    assert!(ended(&server) && hears_nothing(&client) && proxy.hits() == 2);

    let (mut client, server) = connect();
    proxy.set(Fault::Blackhole);
    while proxy.hits() < 20 {
        pass(LOOK);
    }
    client.write_all(&other).unwrap();
    assert!(hears_nothing(&server));
    proxy.set(Fault::None);
    assert!(gets(&server, &other), "it was only late");

    proxy.set(Fault::HalfOpen);
    assert!(ended(&server) && hears_nothing(&client));
    let (mut client, server) = connect();
    client.write_all(&other).unwrap();
    assert!(gets(&server, &other), "a new connection is good");
}
