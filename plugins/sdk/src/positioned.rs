//! What a plugin implements that knows where its messages come from, and what the component does with it.

use crate::transform::each;
use crate::wire::{self, Batch};
use crate::{Message, Output, Rejection, Transform};

/// A plugin whose output depends on where its messages come from, such as one that gives them names.
///
/// It stays a function of its input: whenever the same message is processed again, it has the same position.
pub trait Positioned: Transform {
    /// [`Transform::process`] of a message whose position is known; that one is not called.
    fn process_at(&mut self, position: Position, message: Message<'_>, out: &mut Output) -> Result<(), Rejection>;
}

/// Where a message comes from. What a timer put out shares the position of the message that is read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Of the topic or file that the pipeline reads.
    pub partition: u32,
    /// Of the message that it began as.
    pub offset: i64,
    /// Which one it is of those that a plugin before this one made of that message, one after the other; counted
    /// from 0.
    pub part: u32,
}

/// Puts a batch through a plugin as the component does. What has no offset has -1.
pub fn process_at<T: Positioned>(plugin: &mut T, partition: u32, offsets: &[i64], batch: Batch) -> wire::Output {
    let mut last: Option<Position> = None;
    each(batch, |incoming, message, out| {
        let offset = offsets.get(incoming as usize).copied().unwrap_or(-1);
        let part = last.filter(|last| last.offset == offset).map_or(0, |last| last.part + 1);
        let position = Position { partition, offset, part };
        last = Some(position);
        plugin.process_at(position, message, out)
    })
}
