//! Where messages go. A sink writes batches and has one commit point, at which all that was
//! written since the last one becomes visible.

pub mod csv;
mod file;
pub mod stdout;
pub mod topic;

use std::time::Instant;

use crate::message::Batch;

/// A writer of one partition's output. Dropped without a commit, a file sink leaves nothing behind that a reader could
/// take for output; of what goes into a topic, some may be there already, and comes again.
pub trait Sink: Send {
    /// Writes messages that came from input whose first offset is `first`.
    fn write(&mut self, batch: &Batch, first: i64) -> Result<(), SinkError>;

    /// Whether what was written should be committed now, by the sink's own settings.
    fn due(&self, now: Instant) -> bool;

    /// Makes all that was written since the last commit visible, durably.
    fn commit(&mut self) -> Result<(), SinkError>;
}

/// Why a sink cannot go on. Nothing is lost: the input is read again from the last commit.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("{}: {error}; mend it and run again, nothing is lost: what is not in a finished file is read again", path.display())]
    File { path: std::path::PathBuf, error: std::io::Error },
    #[error(
        "{sink} cannot take a message that the last plugin put out: {problem}: {excerpt}; put a plugin after it that \
             makes objects of the fields it declares, such as flatten"
    )]
    Message { sink: String, problem: String, excerpt: String },
    #[error(
        "{sink} needs to know its columns, and plugin {plugin} does not say which fields it puts out under these settings; \
             with flatten, name them in its setting `fields`"
    )]
    NoColumns { sink: String, plugin: String },
    /// Whoever read the output has gone; there is nobody left to write for.
    #[error("standard output was closed")]
    Closed,
    #[error(transparent)]
    Log(#[from] crate::log::LogError),
}
