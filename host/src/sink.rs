//! Where messages go. A sink writes batches and has one commit point: a step in which all that was written since the
//! last one becomes visible together with the checkpoints that it belongs to, or not at all.

mod columns;
pub mod csv;
pub mod delta;
pub mod embedded;
pub mod files;
pub mod kafka;
pub mod parquet;
pub mod sqlite;
pub mod stdout;

use std::ops::ControlFlow;
use std::time::Instant;

use crate::checkpoint::{Checkpoint, Part};
use crate::message::Batch;
use crate::plugin::Entries;
use crate::source::Source;

/// The writer of one worker: of the output, the checkpoints and the state of its partitions.
///
/// Dropped without a commit, nothing of what was written since the last one can be taken for output, unless the sink
/// is not [`exactly_once`](Sink::exactly_once).
pub trait Sink: Send {
    /// Where the checkpoints are, as a URI that is the same in every run; empty for a sink that keeps none.
    fn place(&self) -> String;

    /// Whether output, state and position take effect in one step.
    fn exactly_once(&self) -> bool;

    /// Takes over a partition: whoever wrote it before can no longer commit (Invariant 6), what they left is finished
    /// or discarded. Gives the last checkpoint.
    fn open(&mut self, partition: i32) -> Result<Option<Checkpoint>, SinkError>;

    /// The state of the last checkpoint of an open partition, to be handed out by whichever thread and while this sink
    /// goes on. What later commits keep meanwhile may be among it: a key with a later value, never with an earlier one.
    fn kept(&self, last: &Checkpoint) -> Result<Kept, SinkError>;

    /// Hands out the state of that checkpoint (see [`Kept`]).
    fn state(&mut self, last: &Checkpoint, each: &mut dyn FnMut(&Entries) -> ControlFlow<()>) -> Result<(), SinkError> {
        self.kept(last)?(each)
    }

    /// Writes output of a partition that came from input whose first offset is `first`. Gives the messages that it cannot
    /// take, in order; all others are written.
    fn write(&mut self, partition: i32, batch: &Batch, first: i64) -> Result<Vec<Refused>, SinkError>;

    /// When a commit is due of work that began at `since`, by the sink's own settings; at once when it is full.
    fn due(&self, since: Instant) -> Instant;

    /// Whether it holds as much as it may before a commit.
    fn full(&self) -> bool;

    /// Undoes everything written since the last commit. The partitions stay open. A sink that is not
    /// [`exactly_once`](Sink::exactly_once) undoes what nobody has seen.
    fn abort(&mut self) -> Result<(), SinkError>;

    /// Makes everything written since the last commit take effect with these checkpoints, durably. Says whether the
    /// positions of the source's group were part of it.
    fn commit(&mut self, step: Step<'_>) -> Result<Positions, SinkError>;

    /// Gives up a partition of which everything is committed.
    fn close(&mut self, partition: i32) -> Result<(), SinkError>;
}

/// Hands out a state, a bounded part at a time and in the order in which it was kept; a key may come again, and a null
/// deletes it. Ends early when `each` breaks.
pub type Kept = Box<dyn FnOnce(&mut dyn FnMut(&Entries) -> ControlFlow<()>) -> Result<(), SinkError> + Send>;

/// A message that a sink cannot take, because of what it says: it costs itself, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its place in the batch.
    pub message: u32,
    /// A few words, by which it is counted.
    pub cause: &'static str,
    pub reason: String,
}

/// What takes effect together.
pub struct Step<'a> {
    /// One for each partition that something was processed of.
    pub parts: &'a [Part],
    /// Dead letters, for a sink that keeps them in the same step; else empty.
    pub letters: &'a Batch,
    pub source: &'a dyn Source,
}

/// What a commit did about the source's positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// They were committed in the same step.
    Committed,
    /// They are for the source to commit.
    Open,
}

/// Why a sink cannot go on. Nothing is lost: the input is read again from the last commit.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("{}: {error}; mend it and run again, nothing is lost: what is not in a finished file is read again", path.display())]
    File { path: std::path::PathBuf, error: std::io::Error },
    #[error(
        "{sink} needs to know its columns, and plugin {plugin} does not say which fields it puts out under these settings; \
             with flatten, name them in its setting `fields`"
    )]
    NoColumns { sink: String, plugin: String },
    /// The columns cannot be those of this sink; the text says which one, and what to do.
    #[error("{sink}: {what}")]
    Columns { sink: String, what: String },
    /// What is kept was changed by somebody else, or damaged; the text says what, and what to do.
    #[error("{place}: {what}")]
    Checkpoint { place: String, what: String },
    /// A bucket or a table is not there, not ours, or not of this shape; the text says what, and what to do.
    #[error("{place}: {what}")]
    Place { place: String, what: String },
    /// It did not answer, or not in time: what was under way is done again from the last checkpoint.
    #[error("{place}: {what}")]
    Interrupted { place: String, what: String },
    /// Another host has taken over a partition.
    #[error("{place}: {what}")]
    Fenced { place: String, what: String },
    /// Whoever read the output has gone; there is nobody left to write for.
    #[error("standard output was closed")]
    Closed,
    #[error(transparent)]
    Log(#[from] crate::log::LogError),
}
