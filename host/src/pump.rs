//! Moves what a source that cannot go back gives into a topic, before anything else happens to it.

use std::time::Duration;

use crate::checkpoint::Position;
use crate::log::{LogError, Writer};
use crate::message::{Batch, Rejected};
use crate::rejects::Rejects;
use crate::source::{MAX_REJECTED, Poll, Source};
use crate::stop::Order;

/// How long a poll waits, and so how soon a request to stop is seen.
const WAIT: Duration = Duration::from_millis(50);

/// Appends what `source` gives to a topic, `place`; each message is durable there before the next poll. A message that
/// the topic does not take is a dead letter.
pub fn run(
    source: &mut dyn Source,
    writer: &mut dyn Writer,
    place: &str,
    mut rejects: Rejects,
    order: impl Fn() -> Order,
) -> anyhow::Result<()> {
    let mut draining = false;
    loop {
        // Stopping is draining too: a reply that has come in already is kept.
        if !draining && !matches!(order(), Order::Go) {
            source.drain()?;
            draining = true;
        }
        match source.poll(WAIT)? {
            Poll::Messages(fetch) => {
                let mut rejected = fetch.rejected;
                match append(writer, &fetch.batch) {
                    Err(error @ LogError::TooLarge { .. }) => {
                        rejected.extend(too_large(&fetch.batch, &fetch.offsets, &error));
                    }
                    appended => appended?,
                }
                rejects.input(fetch.partition, &rejected)?;
                rejects.dead_letters.take()?;
                source.commit(fetch.partition, &Position { next: fetch.next, place: place.to_owned() })?;
                rejects.counters.commit();
            }
            Poll::Assigned(assigned) => {
                assigned.iter().try_for_each(|assigned| source.start(assigned.partition, None))?;
            }
            Poll::Idle | Poll::Revoked(_) | Poll::Lost(_) => {}
            Poll::End => return Ok(()),
        }
    }
}

fn append(writer: &mut dyn Writer, batch: &Batch) -> Result<(), LogError> {
    if batch.is_empty() {
        return Ok(());
    }
    writer.append(batch)?;
    writer.flush()
}

/// The messages of a batch that the topic did not take.
fn too_large<'a>(batch: &'a Batch, offsets: &'a [i64], error: &LogError) -> impl Iterator<Item = Rejected> + 'a {
    let reason = error.to_string();
    batch.values.iter().zip(offsets).map(move |(value, &offset)| {
        let value = value.unwrap_or_default();
        let value = value[..value.len().min(MAX_REJECTED)].to_vec();
        Rejected { offset, key: None, value, cause: "too large", reason: reason.clone() }
    })
}
