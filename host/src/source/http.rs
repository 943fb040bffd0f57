//! Polls an HTTP endpoint: one message for each good reply. It cannot go back, but to replies of this run that were
//! handed out and not committed, as far as they are kept.
//!
//! A reply is good when it is 2xx, whole, in time, within the bounds of [`Options`], plain or gzip, and one JSON value (or
//! one row of CSV, where the key of the message is a field of one); its bytes become the message as they are. Any other reply is counted and
//! becomes no message. Nothing is sent anywhere but to the host and port of the URL: proxies that the
//! environment names are not used, and redirects to elsewhere are refused.
//!
//! Every poll is counted once, under the first of these that holds:
//!
//! | counter | the poll |
//! |---|---|
//! | `poll good` | became a message |
//! | `poll duplicate` | repeated the `distinct` field of the last good reply |
//! | `poll not json` | was no JSON value, as HTML or `NaN`; goes to the dead letters |
//! | `poll status 429` | had another status than 2xx (one counter for each) |
//! | `poll not csv` | was not one row of CSV in UTF-8, where that was asked for; goes to the dead letters |
//! | `poll timeout` | was not whole by the deadline |
//! | `poll too large` | had a body of more than `max_body` |
//! | `poll decompressed too large` | had a body of more than `max_decoded` once decompressed |
//! | `poll encoding` | was encoded otherwise than by gzip, or its gzip was broken |
//! | `poll redirect refused` | was sent to another host or port, from https to http, or in circles |
//! | `poll tls` | found a server that could not prove who it is |
//! | `poll unreachable` | found nobody: no such name, or no connection |
//! | `poll broken reply` | ended before its end, or was not HTTP |
//! | `poll abandoned` | was under way, or its reply not yet taken, when the run ended |
//!
//! `poll missed tick` counts the ticks of the schedule at which nothing was polled, because the poll
//! before took longer or the server wanted to be left alone; `poll without key` the messages in which there was no `key`,
//! so that it is null; `poll lost` the replies that were to be handed out again and
//! were no longer kept.

mod client;
mod failure;
mod key;
mod poller;
mod request;
mod schedule;
mod warnings;

use std::collections::VecDeque;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::checkpoint::Position;
use crate::message::Fetch;
use crate::metrics::Counters;
use crate::source::{Assigned, Poll, Source, SourceError};

pub use key::Key;
use poller::Poller;

/// How long the end waits for the thread, which takes that long only to decompress a large body.
const LINGER: Duration = Duration::from_millis(500);

/// Most bytes of replies that are kept until they are committed, the last one not counted.
const KEPT: usize = 16 << 20;

/// What to poll and what to accept; every bound is set.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub url: url::Url,
    /// From the start of one poll to the start of the next; at least a millisecond.
    pub every: Duration,
    /// For one poll altogether: connecting, headers, body.
    pub deadline: Duration,
    /// Most bytes of a body as it comes over the network.
    pub max_body: u64,
    /// Most bytes of a body once decompressed.
    pub max_decoded: u64,
    /// JSON pointer of a field whose repeated value makes a reply a duplicate, such as `/timestamp`.
    /// A reply without that field is never a duplicate.
    pub distinct: Option<String>,
    /// Where the key of the message is in a reply; null without, and where it is not there.
    pub key: Option<Key>,
}

impl Options {
    /// The URL as it may be shown: without password and query, which may hold keys.
    fn place(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        // Fails only for URLs that have no host, and those have no password.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.into()
    }
}

/// Polls on time, one request at a time; it cannot go back.
///
/// The requests are made on a thread of their own, so that a slow consumer delays neither the
/// schedule nor the deadline of a request. It holds one reply until [`Source::poll`] takes it. Dropped,
/// it abandons what is under way, and has counted it when the drop returns.
pub struct HttpSource {
    place: String,
    counters: Counters,
    fetches: mpsc::Receiver<Fetch>,
    keyed: bool,
    assigned: bool,
    started: bool,
    held: bool,
    kept: Kept,
    /// Dropped, it ends the thread.
    running: Option<oneshot::Sender<()>>,
    /// The last field: it waits for the thread, which ends once the two above are dropped.
    _thread: Thread,
}

impl HttpSource {
    /// Starts to poll, the first time at once. Every poll is counted in `counters` as `poll good`,
    /// `poll duplicate` or `poll CAUSE`.
    pub fn new(options: Options, counters: Counters) -> Result<Self, SourceError> {
        let (place, keyed) = (options.place(), options.key.is_some());
        if !matches!(options.url.scheme(), "http" | "https") {
            return Err(SourceError::Unreachable(format!(
                "{place} is not an http or https URL, and only those are polled"
            )));
        }
        let (running, stopped) = oneshot::channel();
        // Without a buffer, what the consumer did not take is known to be so, and counted.
        let (sender, fetches) = mpsc::sync_channel(0);
        let poller = Poller::new(options, counters.clone(), sender, stopped).map_err(|error| broken(&place, &error))?;
        let thread = Thread::start(poller).map_err(|error| broken(&place, &error))?;
        let running = Some(running);
        let kept = Kept::default();
        Ok(Self {
            place,
            counters,
            fetches,
            keyed,
            assigned: false,
            started: false,
            held: false,
            kept,
            running,
            _thread: thread,
        })
    }
}

impl Source for HttpSource {
    fn poll(&mut self, wait: Duration) -> Result<Poll, SourceError> {
        if !std::mem::replace(&mut self.assigned, true) {
            return Ok(Poll::Assigned(vec![Assigned { partition: 0, position: None }]));
        }
        if !self.started || self.held {
            std::thread::sleep(wait);
            return Ok(Poll::Idle);
        }
        if let Some(fetch) = self.kept.next() {
            return Ok(Poll::Messages(fetch));
        }
        match self.fetches.recv_timeout(wait) {
            Ok(fetch) => {
                let cause = fetch.rejected.first().map_or("good", |rejected| rejected.cause);
                self.counters.add(&format!("poll {cause}"), 1);
                if self.keyed && fetch.batch.keys.iter().any(|key| key.is_none()) {
                    self.counters.add("poll without key", 1);
                }
                self.kept.add(&fetch);
                Ok(Poll::Messages(fetch))
            }
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(Poll::Idle),
            Err(mpsc::RecvTimeoutError::Disconnected) if self.running.is_none() => Ok(Poll::End),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(broken(&self.place, &"its thread ended")),
        }
    }

    /// Wherever it is told to: it begins with the next reply, and goes back to the first that is not committed. Offsets
    /// of another run say nothing about the replies of this one.
    fn start(&mut self, _partition: i32, _next: Option<i64>) -> Result<(), SourceError> {
        self.started = true;
        let lost = self.kept.go_back();
        if lost > 0 {
            self.counters.add("poll lost", lost);
            tracing::warn!(
                "{}: {lost} replies cannot be handed out again; read it through a topic (`via`)",
                self.place
            );
        }
        Ok(())
    }

    fn commit(&mut self, _partition: i32, position: &Position) -> Result<(), SourceError> {
        self.kept.forget(position.next);
        Ok(())
    }

    fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Abandons a request that is under way; a reply that has come is still handed out.
    fn drain(&mut self) -> Result<(), SourceError> {
        self.running = None;
        Ok(())
    }
}

/// What was handed out and is not committed.
#[derive(Default)]
struct Kept {
    fetches: VecDeque<Fetch>,
    bytes: usize,
    /// How many of them were handed out since they were gone back to.
    handed: usize,
    /// How many there was no room for.
    dropped: u64,
}

impl Kept {
    fn add(&mut self, fetch: &Fetch) {
        while self.bytes > KEPT {
            self.drop_first();
            self.dropped += 1;
        }
        self.bytes += size(fetch);
        self.fetches.push_back(fetch.clone());
        self.handed += 1;
    }

    /// The next one that is to be handed out again.
    fn next(&mut self) -> Option<Fetch> {
        let next = self.fetches.get(self.handed)?.clone();
        self.handed += 1;
        Some(next)
    }

    /// Says how many cannot be gone back to.
    fn go_back(&mut self) -> u64 {
        self.handed = 0;
        std::mem::take(&mut self.dropped)
    }

    /// Everything before `next` has had its effect.
    fn forget(&mut self, next: i64) {
        self.dropped = 0;
        while self.handed > 0 && self.fetches.front().is_some_and(|fetch| fetch.next <= next) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(fetch) = self.fetches.pop_front() {
            self.bytes -= size(&fetch);
            self.handed = self.handed.saturating_sub(1);
        }
    }
}

fn size(fetch: &Fetch) -> usize {
    fetch.batch.bytes() + fetch.rejected.iter().map(|rejected| rejected.value.len()).sum::<usize>()
}

/// A poller on a thread and a runtime of its own. Dropped, it waits for their end, no longer than [`LINGER`].
struct Thread {
    handle: Option<JoinHandle<()>>,
    /// Disconnected when the thread has nothing left to do.
    ended: mpsc::Receiver<()>,
}

impl Thread {
    fn start(poller: Poller) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (running, ended) = mpsc::channel();
        let handle = std::thread::Builder::new().name("http poll".to_owned()).spawn(move || {
            let _running = running;
            runtime.block_on(poller.run());
            // A name that is still being resolved is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { handle: Some(handle), ended })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        let ended = self.ended.recv_timeout(LINGER) == Err(mpsc::RecvTimeoutError::Disconnected);
        if let Some(handle) = self.handle.take_if(|_| ended) {
            // A panic in it was told when it happened.
            let _ = handle.join();
        }
    }
}

fn broken(place: &str, error: &dyn std::fmt::Display) -> SourceError {
    SourceError::Unreachable(format!(
        "{place} cannot be polled: {error}; this is a fault of the host or of its machine"
    ))
}

/// Asks once whether a server answers at all, whatever it says: for the start of a run whose
/// feed the user did not choose.
pub fn probe(options: &Options) -> Result<(), SourceError> {
    let place = options.place();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| broken(&place, &error))?;
    let client = client::build().map_err(|error| broken(&place, &error))?;
    let answer = runtime.block_on(request::headers(&client, options));
    runtime.shutdown_background();
    match answer {
        Err(failure) if failure.cause.nobody_answered() => Err(SourceError::Unreachable(format!(
            "{place} cannot be reached ({failure}); check the network, or run on the simulated station: --from sim:iss"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_what_was_dropped_is_told_once() {
        let mut kept = Kept::default();
        let large = "x".repeat(KEPT / 4);
        for number in 0..10 {
            let mut fetch = Fetch::new(0, number + 1);
            fetch.batch.push(None, Some(large.as_bytes()), 1);
            kept.add(&fetch);
            assert!(kept.bytes <= KEPT + large.len() && kept.next().is_none());
        }
        assert_eq!((kept.go_back(), kept.go_back()), (5, 0));
        let again: Vec<i64> = std::iter::from_fn(|| kept.next()).map(|fetch| fetch.next).collect();
        assert_eq!(again, [6, 7, 8, 9, 10]);
        kept.forget(9);
        assert_eq!((kept.go_back(), kept.next().map(|fetch| fetch.next), kept.next().is_none()), (0, Some(10), true));
        kept.forget(10);
        assert_eq!(kept.bytes, 0);
    }
}
