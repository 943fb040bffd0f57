//! Where messages go. A sink writes batches and has one commit point, at which all that was
//! written since the last one becomes visible.

pub mod csv;
pub mod stdout;
pub mod topic;

use std::time::Instant;

use crate::message::Batch;

/// A writer of one partition's output. Dropped without a commit, it leaves nothing behind
/// that a reader could take for output.
pub trait Sink: Send {
    /// Writes messages that came from input up to `offset`.
    fn write(&mut self, batch: &Batch, offset: i64) -> Result<(), SinkError>;

    /// Whether what was written should be committed now, by the sink's own settings.
    fn due(&self, now: Instant) -> bool;

    /// Makes all that was written since the last commit visible, durably.
    fn commit(&mut self) -> Result<(), SinkError>;
}

/// Why a sink cannot go on. Nothing is lost: the input is read again from the last commit.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("{path}: {error}; mend it and run again, nothing is lost: the input is read again from the last finished file")]
    File { path: String, error: std::io::Error },
    #[error("plugin {plugin} put out a message that is not a JSON object ({excerpt}), and {sink} needs one; put a plugin before it that makes one")]
    NotAnObject { plugin: String, sink: String, excerpt: String },
    #[error(transparent)]
    Log(#[from] crate::log::LogError),
}
