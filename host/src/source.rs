//! Where messages come from. A source reads; it never decides what has had its effect.

pub mod file;
pub mod http;

use std::time::Duration;

use crate::message::Fetch;

/// Most bytes of an input that became no message that go on to the dead letters.
pub const MAX_REJECTED: usize = 64 * 1024;

/// What a call of [`Source::poll`] found.
#[derive(Debug)]
pub enum Poll {
    Messages(Fetch),
    /// Nothing came within the wait.
    Idle,
    /// These partitions belong to another worker now: what was read of them and is not committed
    /// will be read again, by that worker.
    Revoked(Vec<i32>),
    /// All there is has been handed out, and nothing more will come.
    End,
}

/// A reader of partitions. Driven by one thread.
pub trait Source: Send {
    /// The next messages of one partition. Waits at most about `wait`, whatever the network does.
    fn poll(&mut self, wait: Duration) -> Result<Poll, SourceError>;

    /// Remembers that everything before `next` in `partition` has had its effect (Invariant 1).
    /// A source that cannot go back has nothing to remember.
    fn commit(&mut self, partition: i32, next: i64) -> Result<(), SourceError>;

    /// From here on `poll` answers [`Poll::End`] once it has handed out what there is now.
    fn drain(&mut self) -> Result<(), SourceError>;
}

/// Why a source cannot go on. What concerns one message only is a rejection, not an error.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nobody answers, or not at all as asked; the text says who, and what to do.
    #[error("{0}")]
    Unreachable(String),
    #[error("{path}: {error}")]
    File { path: String, error: std::io::Error },
    #[error(transparent)]
    Log(#[from] crate::log::LogError),
}
