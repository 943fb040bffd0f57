//! Windows as the host keeps them: an entry for each window and key, one for each name in a window, and one for stream
//! time. So a change costs what changed, and a window that is over is a deletion.

use super::Windows;
use crate::state::{Part, State, Unreadable, Value};

/// The first byte of an entry's key; in the order in which they are given.
const NAMES: u8 = b'n';
const TIME: u8 = b't';
const TABLE: u8 = b'w';

/// Bytes of a start in a key.
pub const START: usize = 8;

/// What a window collects. It begins as its default.
pub trait Aggregate: Value + Default {
    /// Takes in what a later session collected, when a message joins the two.
    fn merge(&mut self, later: Self);
}

/// A window of one key.
#[derive(Debug)]
pub struct Window<A> {
    pub end: i64,
    pub aggregate: A,
}

impl<A: Default> Window<A> {
    pub fn new(end: i64) -> Self {
        Self { end, aggregate: A::default() }
    }
}

impl<A: Value> Value for Window<A> {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.end.to_le_bytes());
        self.aggregate.encode(bytes);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Self::read(bytes, A::decode)
    }

    fn decode_of(version: &str, bytes: &[u8]) -> Option<Self> {
        Self::read(bytes, |bytes| A::decode_of(version, bytes))
    }
}

impl<A> Window<A> {
    fn read(bytes: &[u8], aggregate: impl FnOnce(&[u8]) -> Option<A>) -> Option<Self> {
        let (end, rest) = bytes.split_first_chunk()?;
        Some(Self { end: i64::from_le_bytes(*end), aggregate: aggregate(rest)? })
    }
}

/// Stream time and the count of late messages.
struct Time(i64, u64);

impl Value for Time {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.0.to_le_bytes());
        bytes.extend_from_slice(&self.1.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (time, late) = bytes.split_first_chunk()?;
        Some(Self(i64::from_le_bytes(*time), u64::from_le_bytes(late.try_into().ok()?)))
    }
}

/// Puts together the key of a window: starts sort as numbers do.
#[inline]
pub fn window_key(start: i64, key: &[u8], bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.extend_from_slice(&(start ^ i64::MIN).to_be_bytes());
    bytes.extend_from_slice(key);
}

/// The start in the key of a window or of a name.
#[inline]
pub fn start_of(key: &[u8]) -> i64 {
    key.first_chunk().map_or(0, |start| i64::from_be_bytes(*start) ^ i64::MIN)
}

/// The rest of the key of a window: the key that it was added with.
#[inline]
pub fn key_of(window: &[u8]) -> &[u8] {
    window.get(START..).unwrap_or_default()
}

/// Puts together the key of a name: the start of its windows, the name, and how long the name is.
pub fn name_key(start: i64, name: &[u8], bytes: &mut Vec<u8>) {
    window_key(start, name, bytes);
    bytes.extend_from_slice(&(name.len() as u32).to_be_bytes());
}

/// What stands before a name in its key, and the name. Names that were kept by window and key have that key before them.
pub fn split_name(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (key, length) = key.split_last_chunk()?;
    let end = key.len().checked_sub(u32::from_be_bytes(*length) as usize)?;
    (end >= START).then(|| key.split_at(end))
}

impl<A: Aggregate> State for Windows<A> {
    fn changes(&mut self, part: &mut Part) {
        // What another version kept in another form has changed.
        self.index.build(self.frame, &self.table, &mut self.names);
        self.names.changes_of(&[NAMES], part);
        if self.moved && part.room() > 0 {
            self.moved = false;
            part.push(&[TIME], &[], self.time.map(|time| Time(time, self.late)).as_ref());
        }
        self.table.changes_of(&[TABLE], part);
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, other: Option<&str>) -> Result<(), Unreadable> {
        self.index.outdated();
        self.recent = None;
        match key.split_first().ok_or(Unreadable::Foreign)? {
            (&TABLE, key) if key.len() >= START => self.table.restore(key, value, other),
            (&NAMES, key) if split_name(key).is_some() => self.names.restore(key, value, other),
            (&TIME, []) => {
                let time = value.map(|value| Time::decode(value).ok_or(Unreadable::Foreign)).transpose()?;
                self.time = time.as_ref().map(|time| time.0);
                self.late = time.map_or(0, |time| time.1);
                Ok(())
            }
            _ => Err(Unreadable::Foreign),
        }
    }
}
