//! What is read whole by one reader: it has one partition, and the embedded log remembers how far a group has come in it.

use std::fs::File;
use std::time::Duration;

use crate::checkpoint::Position;
use crate::log::LogError;
use crate::log::embedded::Embedded;
use crate::source::{Assigned, Poll};

/// The only partition of a source, whose places are `Offset`s.
pub struct Single<Offset> {
    positions: Embedded,
    group: String,
    /// What is read, as positions are kept by.
    pub source: String,
    /// How far the group had come when this was opened.
    pub position: Option<Position>,
    assigned: bool,
    /// Where it was started.
    pub began: Option<Offset>,
    pub held: bool,
    /// Held as long as its reader lives.
    _lock: File,
}

impl<Offset> Single<Offset> {
    /// The partition of `source` for a reader of `group`; a second one is refused (Invariant 6).
    pub fn open(positions: Embedded, group: &str, source: String) -> Result<Self, LogError> {
        let lock = positions.reader_of(group, &source)?;
        let position = positions.position(group, &source)?;
        let group = group.to_owned();
        Ok(Self { positions, group, source, position, assigned: false, began: None, held: false, _lock: lock })
    }

    /// What a poll answers before anything is read: the partition, or that nothing is to be handed out, after the wait.
    pub fn poll(&mut self, wait: Duration) -> Option<Poll> {
        if !std::mem::replace(&mut self.assigned, true) {
            return Some(Poll::Assigned(vec![Assigned { partition: 0, position: self.position.clone() }]));
        }
        if self.began.is_none() || self.held {
            std::thread::sleep(wait);
            return Some(Poll::Idle);
        }
        None
    }

    /// Remembers that everything before a position has had its effect.
    pub fn commit(&self, position: &Position) -> Result<(), LogError> {
        self.positions.set_position(&self.group, &self.source, position)
    }
}
