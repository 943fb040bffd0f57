//! Where messages come from. A source reads; it never decides what has had its effect.

pub mod delta;
pub mod file;
pub mod http;
mod single;

use std::time::Duration;

use rdkafka::consumer::ConsumerGroupMetadata;

use crate::checkpoint::Position;
use crate::message::Fetch;

/// Most bytes of an input that became no message that go on to the dead letters.
pub const MAX_REJECTED: usize = 64 * 1024;

/// What a call of [`Source::poll`] found.
#[derive(Debug)]
pub enum Poll {
    /// Of a partition that was started.
    Messages(Fetch),
    /// Nothing came within the wait.
    Idle,
    /// These partitions are this reader's from now on; nothing of them comes before [`Source::start`].
    Assigned(Vec<Assigned>),
    /// These partitions are to go to another worker. Nothing of them comes any more; they are still ours, and can be
    /// committed, until [`Source::release`].
    Revoked(Vec<i32>),
    /// These partitions have gone to another worker: what was read of them and is not committed will be read again,
    /// by that worker.
    Lost(Vec<i32>),
    /// All there is has been handed out, and nothing more will come.
    End,
}

/// A partition that a reader was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    pub partition: i32,
    /// How far the group has come in it.
    pub position: Option<Position>,
}

/// A reader of partitions. Driven by one thread. The first thing that it answers is which ones are its own.
pub trait Source: Send {
    /// The next messages of one partition. Waits at most about `wait`, whatever the network does.
    fn poll(&mut self, wait: Duration) -> Result<Poll, SourceError>;

    /// Begins to hand out an assigned partition: from `next` or, without, from where its group stands. One that is being
    /// handed out already goes back to `next`: what comes after this call is from there, with nothing between.
    fn start(&mut self, partition: i32, next: Option<i64>) -> Result<(), SourceError>;

    /// Gives up revoked partitions. A source that nobody shares has none.
    fn release(&mut self, _partitions: &[i32]) -> Result<(), SourceError> {
        Ok(())
    }

    /// Remembers that everything before `position.next` in `partition` has had its effect (Invariant 1).
    /// A source that cannot go back has nothing to remember.
    fn commit(&mut self, partition: i32, position: &Position) -> Result<(), SourceError>;

    /// How the group remembers positions, for a sink that does it in its own step instead of [`Source::commit`].
    fn group(&self) -> Option<Group> {
        None
    }

    /// While it is held, `poll` hands out no messages and does not come to an end; all else goes on, above all its being a
    /// member of its group.
    fn hold(&mut self, held: bool);

    /// From here on `poll` answers [`Poll::End`] once it has handed out what there is now.
    fn drain(&mut self) -> Result<(), SourceError>;
}

/// Where a group's positions are, and by which right they are written.
pub enum Group {
    Kafka {
        /// As a person writes it: `kafka://HOST:PORT`.
        cluster: String,
        topic: String,
        metadata: ConsumerGroupMetadata,
    },
    /// In the embedded log's file, under the group's name and the topic's number.
    Embedded { file: std::path::PathBuf, group: String, topic: i64 },
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
