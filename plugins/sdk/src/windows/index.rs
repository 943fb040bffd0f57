//! Which windows are open, found by their end and by their key. It is not kept, but built from what is.

use std::collections::{BTreeMap, BTreeSet};

use super::kept::{self, Window, split_name, start_of};
use super::{Aggregate, Frame};
use crate::Keyed;

#[derive(Debug, Default)]
pub struct Index {
    /// Whether it holds what the table does.
    built: bool,
    /// End, start and slot of each window.
    open: BTreeSet<(i64, i64, u32)>,
    /// The slots of each key; only for sessions, which are found by it.
    sessions: BTreeMap<Box<[u8]>, Vec<u32>>,
    /// The slots of the names, by the start of their windows.
    pub names: BTreeMap<i64, Vec<u32>>,
}

impl Index {
    /// The table is another one now.
    pub fn outdated(&mut self) {
        self.built = false;
    }

    /// Builds it where it is outdated.
    #[inline]
    pub fn build<A: Aggregate>(&mut self, frame: Frame, table: &Keyed<Window<A>>, names: &mut Keyed<()>) {
        if !self.built {
            self.rebuild(frame, table, names);
        }
    }

    #[cold]
    fn rebuild<A: Aggregate>(&mut self, frame: Frame, table: &Keyed<Window<A>>, names: &mut Keyed<()>) {
        self.open = table.slots().map(|slot| (table.at(slot).end, start_of(table.key(slot)), slot)).collect();
        self.sessions.clear();
        if let Frame::Session { .. } = frame {
            for slot in table.slots() {
                self.remember_session(&table.key(slot)[8..], slot);
            }
        }
        self.names.clear();
        let slots: Vec<u32> = names.slots().collect();
        for slot in slots {
            let (start, slot) = without_group(slot, names);
            self.names.entry(start).or_default().push(slot);
        }
        // What several groups knew is one name now.
        for slots in self.names.values_mut() {
            slots.sort_unstable();
            slots.dedup();
        }
        self.built = true;
    }

    #[inline]
    pub fn earliest(&self) -> Option<i64> {
        self.open.first().map(|(end, ..)| *end)
    }

    pub fn latest(&self) -> Option<i64> {
        self.open.last().map(|(end, ..)| *end)
    }

    pub fn insert(&mut self, end: i64, start: i64, slot: u32) {
        self.open.insert((end, start, slot));
    }

    pub fn remove(&mut self, end: i64, start: i64, slot: u32) {
        self.open.remove(&(end, start, slot));
    }

    /// Takes out the windows of the earliest end and start, in the order of their keys.
    pub fn pop<A>(&mut self, table: &Keyed<Window<A>>) -> Vec<(i64, i64, u32)> {
        let mut windows = Vec::new();
        while let Some(&window) = self.open.first()
            && windows.last().is_none_or(|last: &(i64, i64, u32)| (last.0, last.1) == (window.0, window.1))
        {
            self.open.pop_first();
            windows.push(window);
        }
        windows.sort_unstable_by(|(.., one), (.., other)| table.key(*one).cmp(table.key(*other)));
        windows
    }

    /// The sessions of a key.
    pub fn sessions(&self, key: &[u8]) -> impl Iterator<Item = u32> {
        self.sessions.get(key).into_iter().flatten().copied()
    }

    pub fn remember_session(&mut self, key: &[u8], slot: u32) {
        match self.sessions.get_mut(key) {
            Some(slots) => slots.push(slot),
            None => drop(self.sessions.insert(key.into(), vec![slot])),
        }
    }

    /// Does nothing where windows are no sessions.
    pub fn forget_session(&mut self, key: &[u8], slot: u32) {
        if let Some(slots) = self.sessions.get_mut(key) {
            slots.retain(|it| *it != slot);
            if slots.is_empty() {
                self.sessions.remove(key);
            }
        }
    }
}

/// The start of the windows of a name, and its slot: a new one where it was kept by window and key, as it once was.
fn without_group(slot: u32, names: &mut Keyed<()>) -> (i64, u32) {
    let key = names.key(slot);
    let start = start_of(key);
    match split_name(key) {
        Some((before, name)) if before.len() > kept::START => {
            let mut key = Vec::new();
            kept::name_key(start, name, &mut key);
            names.take(slot);
            (start, names.put(&key, ()))
        }
        _ => (start, slot),
    }
}
