//! Finds the messages of a batch that a plugin fails on, by taking it apart in new instances until each stands alone.
//!
//! What is found is exact because plugins compute and nothing else: a chain that begins with the state of the last
//! checkpoint and goes through the same pieces comes to the same end. Nothing of it has an effect.

use std::time::Duration;

use crate::chain::{Chain, Failed, Nowhere};
use crate::failures::{Failures, Policy};
use crate::message::Fetch;

/// Into how many parts what fails is split. A part that goes through costs a call, one that fails a new chain and its
/// share of the time, so more parts than two are found sooner.
const WAYS: usize = 16;

/// The least time for a part, whose share can be shorter than the clock can tell.
const LEAST: Duration = Duration::from_millis(100);

/// What was found in a batch: in the order of its messages, all of them, each once.
pub enum Piece {
    /// What goes through, in one batch.
    Good(Fetch),
    /// A message that stands alone and makes a plugin fail.
    Poison(Fetch, Failed),
}

/// Looks through a batch that made a plugin fail. `fresh` gives a chain with the state that comes before its first
/// message. Where the policy is to stop, the first poison message is the last piece. The error is that of `fresh`, or
/// that there are too many.
pub fn isolate(
    fetch: Fetch,
    fresh: &mut dyn FnMut() -> anyhow::Result<Chain>,
    failures: &mut Failures,
) -> anyhow::Result<Vec<Piece>> {
    failures.look_again();
    let whole = fetch.batch.len();
    let mut search = Search { fresh, chain: None, whole, seen: 0, failures, pieces: Vec::new() };
    if whole == 0 {
        return Ok(vec![Piece::Good(fetch)]);
    }
    search.look_through(fetch)?;
    Ok(search.pieces)
}

struct Search<'a> {
    fresh: &'a mut dyn FnMut() -> anyhow::Result<Chain>,
    /// One that went through all good pieces; `None` where the last one has failed.
    chain: Option<Chain>,
    /// Messages of the batch, and those of the pieces.
    whole: usize,
    seen: usize,
    failures: &'a mut Failures,
    pieces: Vec<Piece>,
}

impl Search<'_> {
    /// Finds what is in a part of the batch that is known to fail.
    fn look_through(&mut self, part: Fetch) -> anyhow::Result<()> {
        for part in split(part) {
            if self.is_over() {
                return Ok(());
            }
            match self.try_out(&part)? {
                None => {
                    self.seen += part.batch.len();
                    self.pieces.push(Piece::Good(part));
                }
                Some(failed) if part.batch.len() == 1 => {
                    self.failures.failed(self.seen as u64, part.partition, part.offsets[0], &failed.error)?;
                    self.seen += 1;
                    self.pieces.push(Piece::Poison(part, failed));
                }
                Some(_) => self.look_through(part)?,
            }
        }
        Ok(())
    }

    /// Whether the rest is not to be looked at.
    fn is_over(&self) -> bool {
        self.failures.policy() == Policy::Stop && matches!(self.pieces.last(), Some(Piece::Poison(..)))
    }

    /// Puts a part through, and says which plugin failed on it.
    fn try_out(&mut self, part: &Fetch) -> anyhow::Result<Option<Failed>> {
        let mut chain = match self.chain.take() {
            Some(chain) => chain,
            None => self.come_here()?,
        };
        self.limit_calls(&mut chain, part.batch.len());
        match put(&mut chain, part) {
            Ok(()) => {
                self.chain = Some(chain);
                Ok(None)
            }
            Err(error) => error.downcast().map(Some),
        }
    }

    /// A new chain, in the state that comes after the good pieces.
    fn come_here(&mut self) -> anyhow::Result<Chain> {
        let mut chain = (self.fresh)()?;
        for piece in &self.pieces {
            if let Piece::Good(part) = piece {
                put(&mut chain, part)?;
            }
        }
        Ok(chain)
    }

    /// Gives a part twice its share of the time, so that an endless loop does not take all of it again and again; a
    /// message that stands alone gets all. What only takes longer than its share goes through in smaller parts.
    fn limit_calls(&self, chain: &mut Chain, messages: usize) {
        for stage in &mut chain.stages {
            let all = stage.version.limits.call;
            let share = 2.0 * messages as f64 / self.whole as f64;
            let time = if messages == 1 { all } else { all.mul_f64(share.min(1.0)).max(LEAST).min(all) };
            stage.instance.limit_calls(time);
        }
    }
}

fn put(chain: &mut Chain, part: &Fetch) -> anyhow::Result<()> {
    chain.put_through(0, part.batch.clone(), part.offsets.clone(), part.first(), &mut Nowhere)
}

/// About equal parts; what became no message is in the one with the message before it.
fn split(fetch: Fetch) -> Vec<Fetch> {
    let size = fetch.batch.len().div_ceil(WAYS);
    let starts: Vec<i64> = fetch.offsets.iter().copied().step_by(size).skip(1).collect();
    let mut parts = Vec::with_capacity(WAYS);
    let rest = starts.into_iter().fold(fetch, |rest, start| {
        let (part, rest) = rest.split(start);
        parts.push(part);
        rest
    });
    parts.push(rest);
    parts
}
