//! State by key, in memory, that knows what changed.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::state::{Part, State, Unreadable, Value};

/// Values by key. What is looked up is found without allocating; what changed is known without being searched for.
///
/// There is no way to go through all of it: the order would depend on what was there before, and so would the output.
#[derive(Debug)]
pub struct Keyed<V> {
    /// Places in `slots`, by the hash of the key.
    table: HashTable<u32>,
    slots: Vec<Slot<V>>,
    /// Slots that can be used again.
    free: Vec<u32>,
    /// Slots that changed, in the order in which they did.
    changed: Vec<u32>,
    /// How many values there are.
    count: usize,
}

#[derive(Debug)]
struct Slot<V> {
    key: Box<[u8]>,
    /// `None` where it was deleted, which the host has to be told, or where the slot is free.
    value: Option<V>,
    /// Whether the host keeps an entry of this key.
    kept: bool,
    /// Whether it stands in `changed`.
    changed: bool,
}

impl<V> Default for Keyed<V> {
    fn default() -> Self {
        Self { table: HashTable::new(), slots: Vec::new(), free: Vec::new(), changed: Vec::new(), count: 0 }
    }
}

impl<V> Keyed<V> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        self.slots[self.place(key)?].value.as_ref()
    }

    /// The value to be changed: it counts as changed, whatever is done to it.
    #[inline]
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        let slot = self.find(key)?;
        Some(self.at_mut(slot))
    }

    /// Sets a value, whether there was one or not.
    pub fn set(&mut self, key: &[u8], value: V) {
        self.put(key, value);
    }

    /// Deletes a value; says whether there was one.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.find(key).map(|slot| self.take(slot)).is_some()
    }

    /// Where the value of a key is. It stays there until it is taken.
    #[inline]
    pub(crate) fn find(&self, key: &[u8]) -> Option<u32> {
        let place = self.place(key)?;
        self.slots[place].value.as_ref().map(|_| place as u32)
    }

    #[inline]
    pub(crate) fn key(&self, slot: u32) -> &[u8] {
        &self.slots[slot as usize].key
    }

    /// The value in a slot that was found.
    #[inline]
    pub(crate) fn at(&self, slot: u32) -> &V {
        self.slots[slot as usize].value.as_ref().expect("a slot that was found has a value")
    }

    /// The value in a slot that was found, to be changed.
    #[inline]
    pub(crate) fn at_mut(&mut self, slot: u32) -> &mut V {
        let place = &mut self.slots[slot as usize];
        if !place.changed {
            place.changed = true;
            self.changed.push(slot);
        }
        place.value.as_mut().expect("a slot that was found has a value")
    }

    /// The value in a slot that was found, to be changed in what is not kept of it.
    pub(crate) fn at_quietly(&mut self, slot: u32) -> &mut V {
        self.slots[slot as usize].value.as_mut().expect("a slot that was found has a value")
    }

    /// Sets a value, and says where it is.
    pub(crate) fn put(&mut self, key: &[u8], value: V) -> u32 {
        let slot = self.hold(key);
        let place = &mut self.slots[slot as usize];
        self.count += usize::from(place.value.replace(value).is_none());
        if !place.changed {
            place.changed = true;
            self.changed.push(slot);
        }
        slot
    }

    /// Takes the value out of a slot that was found.
    pub(crate) fn take(&mut self, slot: u32) -> V {
        let place = &mut self.slots[slot as usize];
        let value = place.value.take().expect("a slot that was found has a value");
        self.count -= 1;
        if !place.kept {
            // The host never heard of it.
            self.release(slot);
        } else if !place.changed {
            place.changed = true;
            self.changed.push(slot);
        }
        value
    }

    /// Every slot that has a value, in no order that means anything.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.slots).filter(|(_, slot)| slot.value.is_some()).map(|(slot, _)| slot)
    }

    #[inline]
    fn place(&self, key: &[u8]) -> Option<usize> {
        let found = self.table.find(xxh3_64(key), |slot| *self.slots[*slot as usize].key == *key);
        found.map(|slot| *slot as usize)
    }

    /// The slot of a key, a new one if need be.
    fn hold(&mut self, key: &[u8]) -> u32 {
        if let Some(place) = self.place(key) {
            return place as u32;
        }
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize].key = key.into();
                slot
            }
            None => {
                self.slots.push(Slot { key: key.into(), value: None, kept: false, changed: false });
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 keys")
            }
        };
        let slots = &self.slots;
        self.table.insert_unique(xxh3_64(key), slot, |slot| xxh3_64(&slots[*slot as usize].key));
        slot
    }

    /// Forgets the key of a slot.
    fn release(&mut self, slot: u32) {
        let key = std::mem::take(&mut self.slots[slot as usize].key);
        if let Ok(entry) = self.table.find_entry(xxh3_64(&key), |it| *it == slot) {
            entry.remove();
        }
        self.free.push(slot);
    }
}

impl<V: Value> Keyed<V> {
    /// Adds what changed, with a prefix to each key: sorted within what one call adds.
    pub(crate) fn changes_of(&mut self, prefix: &[u8], part: &mut Part) {
        let mut slots = Vec::new();
        while slots.len() < part.room()
            && let Some(slot) = self.changed.pop()
        {
            let place = &mut self.slots[slot as usize];
            if place.value.is_some() || place.kept {
                slots.push(slot);
            } else {
                // Free again before anybody heard of it: nothing to tell.
                place.changed = false;
            }
        }
        slots.sort_unstable_by(|one, other| self.key(*one).cmp(self.key(*other)));
        for (given, slot) in slots.iter().enumerate() {
            if part.room() == 0 {
                self.changed.extend_from_slice(&slots[given..]);
                return;
            }
            let place = &mut self.slots[*slot as usize];
            place.changed = false;
            part.push(prefix, &place.key, place.value.as_ref());
            place.kept = place.value.is_some();
            if !place.kept {
                self.release(*slot);
            }
        }
    }
}

impl<V: Value> State for Keyed<V> {
    fn changes(&mut self, part: &mut Part) {
        self.changes_of(&[], part);
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Unreadable> {
        let Some(value) = value else {
            if let Some(slot) = self.find(key) {
                self.slots[slot as usize].value = None;
                self.slots[slot as usize].kept = false;
                self.count -= 1;
                self.release(slot);
            }
            return Ok(());
        };
        let value = V::decode(value).ok_or(Unreadable)?;
        let slot = self.hold(key);
        let place = &mut self.slots[slot as usize];
        place.kept = true;
        self.count += usize::from(place.value.replace(value).is_none());
        Ok(())
    }
}
