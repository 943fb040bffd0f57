//! Serves the control interface or queries, each on a thread of its own: over TCP, the former over a Unix socket as well.
//!
//! Whoever connects has little time to say what they want, and there is room for so many; each way in has its own, so that
//! strangers on the network cannot take the owner's.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::http::uri::Authority;
use axum::middleware::from_fn_with_state;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tokio_native_tls::TlsAcceptor;

use crate::control::guard::{Door, Manner, guard};
use crate::control::handle::Registry;
use crate::control::routes;
use crate::control::socket::Socket;
use crate::control::token::Token;

/// Connections that are open at a time; others wait to be let in.
const OPEN: usize = 64;
/// How long a caller may take for a TLS handshake, and for the head of a request.
const HEAD: Duration = Duration::from_secs(5);
/// Most bytes and lines of a head.
const HEAD_BYTES: usize = 32 << 10;
const HEAD_LINES: usize = 64;
/// The longest that a connection is open: more than the longest swap takes.
const LONGEST: Duration = Duration::from_secs(300);
/// How long what is being answered at the end may take.
const FAREWELL: Duration = Duration::from_millis(200);
/// How long to wait after no connection could be taken, such as for want of file handles.
const PAUSE: Duration = Duration::from_millis(100);

/// How the network may ask.
pub struct Network {
    pub address: SocketAddr,
    /// Where the address was named.
    pub named: &'static str,
    /// Without one whoever can reach the address may ask: it must be of this machine alone.
    pub token: Option<Token>,
    pub tls: Option<native_tls::TlsAcceptor>,
    /// Names of this host besides its address, with or without a port.
    pub names: Vec<Authority>,
}

/// Whatever is served; it ends when dropped.
pub struct Server {
    /// Dropped, it ends the thread.
    running: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    socket: Option<PathBuf>,
}

impl Server {
    /// Serves what `registry` has. Without a Unix socket there is a warning; without the network that was asked for, an
    /// error.
    pub fn control(registry: &Arc<Registry>, network: Option<Network>) -> anyhow::Result<Self> {
        let runtime = runtime()?;
        let inside = runtime.enter();
        let mut doors = Vec::new();
        let socket = own(&mut doors)
            .inspect_err(|error| {
                tracing::warn!("no control socket, so `host status` and `host swap` do not find this host: {error}");
            })
            .ok();
        if let Some(network) = network {
            doors.push(listen(network, "control interface", &routes::MANNER)?);
        }
        drop(inside);
        let router = routes::router(registry.clone());
        let mut server = Self::start("control", runtime, doors, router, give_way)?;
        server.socket = socket;
        Ok(server)
    }

    /// Serves a router over TCP.
    pub fn tcp(network: Network, what: &'static str, manner: &'static Manner, router: Router) -> anyhow::Result<Self> {
        let runtime = runtime()?;
        let inside = runtime.enter();
        let doors = vec![listen(network, what, manner)?];
        drop(inside);
        Self::start(manner.name, runtime, doors, router, || ())
    }

    fn start(
        name: &'static str,
        runtime: Runtime,
        doors: Vec<(Listener, Door)>,
        router: Router,
        first: fn(),
    ) -> anyhow::Result<Self> {
        let (running, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            first();
            runtime.block_on(async {
                let mut rooms = Vec::new();
                for (listener, door) in doors {
                    let room = Arc::new(Semaphore::new(OPEN));
                    rooms.push(room.clone());
                    let router = router.clone().layer(from_fn_with_state(Arc::new(door), guard));
                    tokio::spawn(serve(listener, router, room));
                }
                // An error says the same: the sender is gone.
                let _ = stopped.await;
                // Who has been waiting for the end is told of it. One place is that of the next caller.
                let told = async {
                    for room in rooms {
                        let _ = room.acquire_many(OPEN as u32 - 1).await;
                    }
                };
                let _ = timeout(FAREWELL, told).await;
            });
            // Nobody waits for a swap that waits for a pipeline that has ended.
            runtime.shutdown_background();
        })?;
        Ok(Self { running: Some(running), thread: Some(thread), socket: None })
    }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// The streams come first: what a component does that somebody handed in, before it is at work, is done by this thread
/// and by those that it starts.
fn give_way() {
    // Elsewhere it is of the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(10) {
        tracing::debug!("the control interface has the priority of the streams: {error}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            // If it cannot be removed, the next host does it.
            let _ = std::fs::remove_file(socket);
        }
        self.running = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// Adds the Unix socket; gives where it is.
fn own(doors: &mut Vec<(Listener, Door)>) -> io::Result<PathBuf> {
    let Socket { path, listener } = Socket::bind()?;
    doors.push((Listener::Unix(UnixListener::from_std(listener)?), Door::socket(&routes::MANNER)));
    Ok(path)
}

fn listen(network: Network, what: &str, manner: &'static Manner) -> anyhow::Result<(Listener, Door)> {
    let Network { address, named, token, tls, names } = network;
    let listener = std::net::TcpListener::bind(address).with_context(|| {
        format!("{named} {address}: cannot listen there; another port may do, and 0 takes a free one")
    })?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    tracing::info!("{what} at {}://{address}", if tls.is_some() { "https" } else { "http" });
    let door = Door::network(manner, token, address, tls.is_some(), &names);
    Ok((Listener::Tcp(TcpListener::from_std(listener)?, tls.map(TlsAcceptor::from)), door))
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener, Option<TlsAcceptor>),
}

enum Caller {
    Unix(UnixStream),
    Tcp(TcpStream, Option<TlsAcceptor>),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Listener {
    async fn accept(&self) -> io::Result<Caller> {
        Ok(match self {
            Self::Unix(listener) => Caller::Unix(listener.accept().await?.0),
            Self::Tcp(listener, tls) => Caller::Tcp(listener.accept().await?.0, tls.clone()),
        })
    }
}

impl Caller {
    async fn open(self) -> Option<Box<dyn Stream>> {
        Some(match self {
            Self::Unix(stream) => Box::new(stream),
            Self::Tcp(stream, None) => Box::new(stream),
            Self::Tcp(stream, Some(tls)) => Box::new(timeout(HEAD, tls.accept(stream)).await.ok()?.ok()?),
        })
    }
}

async fn serve(listener: Listener, router: Router, room: Arc<Semaphore>) {
    // Never closed, so a place always comes.
    while let Ok(place) = room.clone().acquire_owned().await {
        match listener.accept().await {
            Ok(caller) => {
                let router = router.clone();
                tokio::spawn(async move {
                    let _place = place;
                    // Whoever is cut off here knows it; the host has nothing to do about it.
                    let _ = timeout(LONGEST, converse(caller, router)).await;
                });
            }
            Err(error) => {
                tracing::warn!("a connection cannot be taken: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn converse(caller: Caller, router: Router) {
    let Some(stream) = caller.open().await else { return };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_headers(HEAD_LINES).max_buf_size(HEAD_BYTES);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await {
        tracing::debug!("a connection broke off: {error}");
    }
}
