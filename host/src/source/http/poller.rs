//! The loop of an HTTP source: wait for the tick, poll, judge the reply, hand it over.

use std::sync::mpsc::SyncSender;
use std::time::SystemTime;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::failure::{Cause, Failure, NOT_CSV, NOT_JSON};
use super::schedule::Schedule;
use super::warnings::Warnings;
use super::{Options, client, request};
use crate::message::{Fetch, Rejected};
use crate::metrics::Counters;
use crate::source::MAX_REJECTED;

/// Polls until its consumer is gone or it is told to stop.
pub struct Poller {
    options: Options,
    place: String,
    client: reqwest::Client,
    counters: Counters,
    fetches: SyncSender<Fetch>,
    stopped: oneshot::Receiver<()>,
    warnings: Warnings,
    /// The `distinct` field of the last good reply.
    last: Option<Value>,
    offset: i64,
}

impl Poller {
    /// `stopped` ends it, when sent to or when its sender is dropped.
    pub fn new(
        options: Options,
        counters: Counters,
        fetches: SyncSender<Fetch>,
        stopped: oneshot::Receiver<()>,
    ) -> reqwest::Result<Self> {
        let (place, client) = (options.place(), client::build()?);
        Ok(Self {
            options,
            place,
            client,
            counters,
            fetches,
            stopped,
            warnings: Warnings::default(),
            last: None,
            offset: 0,
        })
    }

    /// Polls, the first time at once.
    pub async fn run(mut self) {
        let mut schedule = Schedule::new(self.options.every, Instant::now());
        loop {
            tokio::select! {
                biased;
                _ = &mut self.stopped => return,
                () = sleep_until(schedule.due()) => {}
            }
            let reply = tokio::select! {
                biased;
                reply = request::get(&self.client, &self.options) => reply,
                _ = &mut self.stopped => return self.counters.add("poll abandoned", 1),
            };
            let retry_after = reply.as_ref().err().map(|failure| failure.retry_after);
            if let Some(fetch) = self.judge(reply)
                && self.fetches.send(fetch).is_err()
            {
                return self.counters.add("poll abandoned", 1);
            }
            let now = Instant::now();
            let missed = match retry_after {
                None => schedule.succeeded(now),
                Some(retry_after) => schedule.failed(now, retry_after),
            };
            if missed > 0 {
                self.counters.add("poll missed tick", missed);
            }
        }
    }

    /// What a reply is for the consumer. What it never sees is counted here (Invariant 2);
    /// what it sees is counted when it has taken it.
    fn judge(&mut self, reply: Result<Vec<u8>, Failure>) -> Option<Fetch> {
        match reply {
            Ok(body) if self.is_duplicate(&body) => {
                self.counters.add("poll duplicate", 1);
                None
            }
            Ok(body) => {
                let mut fetch = self.next_fetch();
                fetch.offsets.push(fetch.next - 1);
                let key = self.options.key.as_ref().and_then(|key| key.of(&body));
                fetch.batch.push(key.as_deref(), Some(&body), now_in_milliseconds());
                Some(fetch)
            }
            Err(failure) => {
                self.warnings.failed(&self.place, &failure);
                let Some(mut body) = failure.body else {
                    self.counters.add(&failure.cause.counter(), 1);
                    return None;
                };
                body.truncate(MAX_REJECTED);
                let reason = format!("the reply of {}: {}", self.place, failure.text);
                let mut fetch = self.next_fetch();
                fetch.rejected.push(Rejected {
                    offset: fetch.next - 1,
                    key: None,
                    value: body,
                    cause: if failure.cause == Cause::NotCsv { NOT_CSV } else { NOT_JSON },
                    reason,
                });
                Some(fetch)
            }
        }
    }

    fn next_fetch(&mut self) -> Fetch {
        self.offset += 1;
        Fetch::new(0, self.offset)
    }

    /// Whether `body` repeats the `distinct` field of the last good reply, which it becomes otherwise.
    fn is_duplicate(&mut self, body: &[u8]) -> bool {
        let Some(pointer) = &self.options.distinct else {
            return false;
        };
        // Valid JSON can still be deeper than a `Value` may be; it has no field to compare, then.
        let field =
            serde_json::from_slice::<Value>(body).ok().and_then(|mut v| v.pointer_mut(pointer).map(Value::take));
        if field.is_some() && field == self.last {
            return true;
        }
        self.last = field;
        false
    }
}

/// The wall clock, in milliseconds since the Unix epoch; 0 before it.
fn now_in_milliseconds() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
