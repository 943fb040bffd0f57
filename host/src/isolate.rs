//! Finds the messages of a batch that a plugin fails on, by halving it in new instances until each stands alone.
//!
//! What is found is exact because plugins compute and nothing else: a chain that begins with the state of the last
//! checkpoint and goes through the same pieces comes to the same end.

use std::ops::Range;

use crate::chain::{Chain, Failed};
use crate::failures::Failures;
use crate::message::Fetch;

/// What was found in a batch: in the order of its messages, all of them, each once.
pub enum Piece {
    /// Messages that go through, in one batch.
    Good(Range<usize>),
    /// A message that stands alone and makes a plugin fail.
    Poison(usize, Failed),
}

/// Looks through a batch that made a plugin fail. `fresh` gives a chain with the state that comes before its first
/// message. The error is that of `fresh`, or that there are too many.
pub fn isolate(
    fetch: &Fetch,
    fresh: &mut dyn FnMut() -> anyhow::Result<Chain>,
    failures: &mut Failures,
) -> anyhow::Result<Vec<Piece>> {
    let _ = (fetch, fresh, failures);
    todo!()
}
