//! State by key, in memory, that knows what changed.

use std::hash::Hasher;

use hashbrown::HashTable;
use rustc_hash::FxHasher;

use crate::state::{Part, State, Unreadable, Value};

/// Values by key. What is looked up is found without allocating; what changed is known without being searched for.
///
/// There is one way to go through all of it, by key: any other order would depend on what was there before, and so would
/// the output.
#[derive(Debug)]
pub struct Keyed<V> {
    /// Places in `slots`, by the hash of the key.
    table: HashTable<Place>,
    slots: Vec<Slot<V>>,
    /// Slots that can be used again.
    free: Vec<u32>,
    /// Slots that changed, in the order in which they did.
    changed: Vec<u32>,
    /// How many values there are.
    count: usize,
}

/// Where the value of a key is. The hash is here, too, so that the table grows without looking at any key.
#[derive(Debug)]
struct Place {
    hash: u32,
    slot: u32,
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

    /// Every value, in the order of the keys.
    pub fn sorted(&self) -> Vec<(&[u8], &V)> {
        let mut all: Vec<_> = self.slots().map(|slot| (self.key(slot), self.at(slot))).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }

    /// Every slot that has a value, in no order that means anything.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.slots).filter(|(_, slot)| slot.value.is_some()).map(|(slot, _)| slot)
    }

    #[inline]
    fn place(&self, key: &[u8]) -> Option<usize> {
        let hash = hash(key);
        let same = |place: &Place| place.hash == hash && *self.slots[place.slot as usize].key == *key;
        self.table.find(spread(hash), same).map(|place| place.slot as usize)
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
        let hash = hash(key);
        self.table.insert_unique(spread(hash), Place { hash, slot }, |place| spread(place.hash));
        slot
    }

    /// Forgets the key of a slot.
    fn release(&mut self, slot: u32) {
        let key = std::mem::take(&mut self.slots[slot as usize].key);
        if let Ok(entry) = self.table.find_entry(spread(hash(&key)), |place| place.slot == slot) {
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

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, other: Option<&str>) -> Result<(), Unreadable> {
        let Some(bytes) = value else {
            if let Some(slot) = self.find(key) {
                self.slots[slot as usize].value = None;
                self.slots[slot as usize].kept = false;
                self.count -= 1;
                self.release(slot);
            }
            return Ok(());
        };
        let value = other.map_or_else(|| V::decode(bytes), |version| V::decode_of(version, bytes));
        let value = value.ok_or(Unreadable::Foreign)?;
        let converted = other.is_some() && {
            let mut now = Vec::with_capacity(bytes.len());
            value.encode(&mut now);
            now != bytes
        };
        let slot = self.hold(key);
        let place = &mut self.slots[slot as usize];
        place.kept = true;
        self.count += usize::from(place.value.replace(value).is_none());
        if converted && !place.changed {
            place.changed = true;
            self.changed.push(slot);
        }
        Ok(())
    }
}

/// Of the good hashes the one that needs no 128-bit product, which the sandbox does not have.
#[inline]
fn hash(key: &[u8]) -> u32 {
    let mut hasher = FxHasher::default();
    hasher.write(key);
    hasher.finish() as u32
}

/// The table wants some of its bits from the top of 64.
#[inline]
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::message::Strings;
    use crate::wire::Entries;

    type Kept = BTreeMap<Vec<u8>, Vec<u8>>;

    /// Takes all changes, as a host does; says how many entries there were.
    fn keep(keyed: &mut Keyed<Vec<u8>>, kept: &mut Kept) -> usize {
        let mut count = 0;
        loop {
            let mut part = Part::new();
            keyed.changes(&mut part);
            let entries = part.into_entries();
            if entries.keys.lengths.is_empty() {
                return count;
            }
            assert!(entries.keys.lengths.len() <= 4096 && entries.values.bytes.len() < 2 << 20, "a part is bounded");
            let keys: Vec<_> = Strings::of(&entries.keys).map(Option::unwrap_or_default).collect();
            assert!(keys.is_sorted_by(|one, other| one < other), "sorted, and each key once");
            count += keys.len();
            for (key, value) in keys.into_iter().zip(Strings::of(&entries.values)) {
                match value {
                    Some(value) => drop(kept.insert(key.to_vec(), value.to_vec())),
                    None => assert!(kept.remove(key).is_some(), "only what was kept is deleted"),
                }
            }
        }
    }

    fn restored(kept: &Kept) -> Keyed<Vec<u8>> {
        let mut keyed = Keyed::new();
        // A key may come again, also as a deletion: the last one counts.
        for (key, value) in kept {
            keyed.restore(key, Some(b"before"), None).expect("a value");
            keyed.restore(key, None, None).expect("a deletion");
            keyed.restore(key, Some(value), None).expect("a value");
            keyed.restore(b"deleted", Some(b""), None).expect("a value");
        }
        keyed.restore(b"deleted", None, None).expect("a deletion");
        keyed
    }

    fn same(keyed: &Keyed<Vec<u8>>, model: &Kept) {
        assert_eq!(keyed.len(), model.len());
        assert!(model.iter().all(|(key, value)| keyed.get(key) == Some(value)));
    }

    #[test]
    fn changes_make_the_same_state_again() {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(1, |now| now.as_nanos() as u64);
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(now);
        println!("SEED={seed}");
        let mut state = seed | 1;
        let mut below = |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) % bound
        };
        let (mut keyed, mut model, mut kept) = (Keyed::new(), Kept::new(), Kept::new());
        for step in 0..60_000_u64 {
            let key = b"key-".iter().copied().chain(below(300).to_string().into_bytes()).collect::<Vec<_>>();
            match below(8) {
                0..3 => {
                    keyed.set(&key, step.to_string().into_bytes());
                    model.insert(key, step.to_string().into_bytes());
                }
                3..6 => assert_eq!(keyed.remove(&key), model.remove(&key).is_some(), "SEED={seed}"),
                _ => match (keyed.get_mut(&key), model.get_mut(&key)) {
                    (Some(one), Some(other)) => {
                        one.push(b'+');
                        other.push(b'+');
                    }
                    (one, other) => assert_eq!(one, other, "SEED={seed}"),
                },
            }
            if below(500) == 0 {
                keep(&mut keyed, &mut kept);
                assert_eq!(kept, model, "SEED={seed}");
                if below(2) == 0 {
                    keyed = restored(&kept);
                    assert_eq!(keep(&mut keyed, &mut kept), 0, "what was taken back has not changed");
                }
                same(&keyed, &model);
            }
        }
        same(&keyed, &model);
        assert!(keyed.slots.len() <= 301, "slots are used again: {}", keyed.slots.len());
    }

    /// A number that was written as text before version 2.
    #[derive(Debug, PartialEq)]
    struct Number(u8);

    impl Value for Number {
        fn encode(&self, bytes: &mut Vec<u8>) {
            bytes.push(self.0);
        }

        fn decode(bytes: &[u8]) -> Option<Self> {
            <[u8; 1]>::try_from(bytes).ok().map(|[number]| Self(number))
        }

        fn decode_of(version: &str, bytes: &[u8]) -> Option<Self> {
            match version {
                "1.0.0" => std::str::from_utf8(bytes).ok()?.parse().ok().map(Self),
                _ => Self::decode(bytes),
            }
        }
    }

    #[test]
    fn what_another_version_kept_in_another_form_has_changed() {
        let changes = |keyed: &mut Keyed<Number>| {
            let mut part = Part::new();
            keyed.changes(&mut part);
            let Entries { keys, values } = part.into_entries();
            let both = Strings::of(&keys).zip(Strings::of(&values));
            both.map(|(key, value)| (key.unwrap_or_default().to_vec(), value.map(<[u8]>::to_vec))).collect::<Vec<_>>()
        };
        let mut keyed = Keyed::<Number>::new();
        keyed.restore(b"own", Some(b"7"), None).expect("its own");
        keyed.restore(b"same", Some(b"7"), Some("1.1.0")).expect("of the same form");
        assert!(changes(&mut keyed).is_empty(), "what has the same form is not written again");
        for (key, value) in
            [(b"a", Some(&b"42"[..])), (b"b", Some(b"1")), (b"c", Some(b"3")), (b"b", None), (b"c", Some(b"4"))]
        {
            keyed.restore(key, value, Some("1.0.0")).expect("of the first form");
        }
        assert_eq!(changes(&mut keyed), [(b"a".to_vec(), Some(vec![42])), (b"c".to_vec(), Some(vec![4]))]);
        assert!(changes(&mut keyed).is_empty());
        assert_eq!(
            (keyed.get(b"own"), keyed.get(b"a"), keyed.get(b"b")),
            (Some(&Number(b'7')), Some(&Number(42)), None)
        );
        // What was converted and goes before it was told of is a deletion: the host has it.
        keyed.restore(b"d", Some(b"5"), Some("1.0.0")).expect("of the first form");
        assert!(keyed.remove(b"d"));
        assert_eq!(changes(&mut keyed), [(b"d".to_vec(), None)]);
        assert_eq!(keyed.restore(b"e", Some(b"x"), Some("1.0.0")), Err(Unreadable::Foreign));
    }

    #[test]
    fn a_change_costs_itself_and_parts_are_bounded() {
        let (mut keyed, mut kept) = (Keyed::new(), Kept::new());
        (0..10_000).for_each(|key: u32| keyed.set(&key.to_be_bytes(), vec![7; 300]));
        assert_eq!(keep(&mut keyed, &mut kept), 10_000);
        keyed.set(b"new", Vec::new());
        keyed.remove(b"new");
        assert_eq!(keep(&mut keyed, &mut kept), 0, "of what came and went nobody hears");
        keyed.get_mut(&1_u32.to_be_bytes()).expect("a value").push(8);
        keyed.remove(&2_u32.to_be_bytes());
        keyed.set(&2_u32.to_be_bytes(), Vec::new());
        keyed.remove(&3_u32.to_be_bytes());
        assert_eq!(keep(&mut keyed, &mut kept), 3);
        assert_eq!((kept.len(), keyed.len()), (9_999, 9_999));
        assert_eq!((keyed.get(b"new"), keyed.get(&3_u32.to_be_bytes())), (None, None));
    }
}
