//! Feeds for machines without internet: the same bytes as the real ones, over real HTTP on loopback.

pub mod flights;
pub mod iss;
pub mod orbit;
pub mod turnstiles;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::SystemTime;

use anyhow::Context;
use axum::Router;
use tokio::sync::oneshot;

use crate::uri::Simulate;

/// A running simulator; it stops when dropped. Any path that is not its own is 404.
pub struct Server {
    pub address: SocketAddr,
    /// Dropped, it ends the thread.
    running: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves on `address` (port 0 chooses one). What `simulate` says of time and chance is for all paths together.
    pub fn start(simulate: &Simulate, address: SocketAddr) -> anyhow::Result<Self> {
        let (what, router) = match simulate {
            Simulate::Iss(options) => ("the simulated ISS", iss::router(options)),
            Simulate::Turnstiles(options) => ("the simulated turnstiles", turnstiles::router(options)),
            Simulate::Flights(options) => ("the simulated flights", flights::router(options)),
        };
        let listener = TcpListener::bind(address)
            .with_context(|| format!("{what} cannot listen on {address}; choose another port, or 0 for a free one"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (running, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("simulator".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    Err(error) = serve(listener, router) => tracing::error!("{what} stopped: {error}"),
                }
            });
        })?;
        Ok(Self { address, running: Some(running), thread: Some(thread) })
    }

    /// Where it serves one of its [`paths`].
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// The paths of a feed; the first is the one that is polled.
pub fn paths(simulate: &Simulate) -> &'static [&'static str] {
    match simulate {
        Simulate::Iss(options) => iss::paths(options.shape),
        Simulate::Turnstiles(_) => &[turnstiles::PATH],
        Simulate::Flights(_) => &[flights::ROUTE, flights::FILE],
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.running = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, router: Router) -> std::io::Result<()> {
    axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await
}

/// The wall clock, or one that moves by a step at each reply.
#[derive(Clone)]
enum Clock {
    Wall,
    Steps { next: Arc<AtomicI64>, step: i64 },
}

impl Clock {
    /// `start` is when time begins that goes on in steps, in milliseconds since the Unix epoch.
    fn new(start: i64, step: Option<u64>) -> Self {
        match step {
            None => Self::Wall,
            Some(step) => {
                Self::Steps { next: Arc::new(AtomicI64::new(start)), step: i64::try_from(step).unwrap_or(i64::MAX) }
            }
        }
    }

    /// Milliseconds since the Unix epoch.
    fn tick(&self) -> i64 {
        match self {
            Self::Wall => {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            }
            Self::Steps { next, step } => next.fetch_add(*step, Ordering::Relaxed),
        }
    }
}
