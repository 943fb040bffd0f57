//! State on disk: segments of changes, each sorted by key, the newest last.
//!
//! A checkpoint writes one segment of what changed. A segment that is not larger than all that follow it is merged
//! with them, as a stream, in the same checkpoint. So each segment is larger than all after it together: there are few
//! of them, and what a checkpoint writes grows with what changed (times the logarithm of how often), never with the
//! state.
//!
//! An entry is the length of its key and of its value (4 bytes each, little-endian; -1 is a null, which deletes), the
//! key, and the value.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Cursor, Read};
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::place::{Checked, Content, NewFile, Place, at, check};
use crate::plugin::Entries;
use crate::sink::SinkError;

/// Bytes of keys and values that are handed out at a time, except for one entry that is larger.
const PART: usize = 1 << 20;

/// A file of entries, which never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    pub name: String,
    pub content: Content,
}

impl Segment {
    /// Whether it is there and as it was written. `folder` is where it is to be, here and below.
    pub fn check(&self, place: &dyn Place, folder: &str) -> io::Result<()> {
        check(place, &format!("{folder}/{}", self.name), self.content)
    }
}

/// Gives the segments of the state after `changes`: those before it, and a new one, `name`, in the place of the last
/// ones.
pub fn add(
    place: &dyn Place,
    folder: &str,
    before: &[Segment],
    changes: &Entries,
    name: String,
) -> Result<Vec<Segment>, SinkError> {
    let newest = encode(changes);
    let newest_bytes = newest.len() as u64;
    let after = |at: usize| before[at + 1..].iter().map(|segment| segment.content.bytes).sum::<u64>() + newest_bytes;
    let kept = (0..before.len()).find(|&at| before[at].content.bytes <= after(at)).unwrap_or(before.len());
    let mut runs = Vec::new();
    for segment in &before[kept..] {
        runs.push(Run::open(place, folder, segment)?);
    }
    let path = format!("{folder}/{name}");
    runs.push(Run::new(place.shown(&path), Cursor::new(newest), newest_bytes)?);
    let mut file = place.create(&path)?;
    // Below the first segment is nothing that could be deleted.
    merge(&mut runs, kept == 0, &mut file)?;
    let content = file.finish()?;
    Ok(before[..kept].iter().cloned().chain([Segment { name, content }]).collect())
}

/// The state in these segments, which stays there to be read when a later checkpoint removes them: the files are open.
pub struct State(Vec<Run>);

impl State {
    pub fn open(place: &dyn Place, folder: &str, segments: &[Segment]) -> Result<Self, SinkError> {
        segments.iter().map(|segment| Run::open(place, folder, segment)).collect::<Result<_, _>>().map(Self)
    }

    /// Hands out all entries, the oldest first; ends early when `each` breaks.
    pub fn read(self, each: &mut dyn FnMut(&Entries) -> ControlFlow<()>) -> Result<(), SinkError> {
        let mut entries = Entries::default();
        for mut run in self.0 {
            loop {
                if entries.bytes() >= PART || (run.ended && !entries.is_empty()) {
                    if each(&entries).is_break() {
                        return Ok(());
                    }
                    entries.keys.clear();
                    entries.values.clear();
                }
                if run.ended {
                    break;
                }
                entries.keys.push(Some(&run.key));
                entries.values.push(run.value());
                run.advance()?;
            }
        }
        Ok(())
    }
}

/// Sorted by key; of several changes of one key the last.
fn encode(changes: &Entries) -> Vec<u8> {
    let sorted: BTreeMap<&[u8], Option<&[u8]>> = changes.iter().collect();
    let mut bytes = Vec::with_capacity(changes.bytes() + 8 * changes.len());
    sorted.into_iter().for_each(|(key, value)| push(key, value, &mut bytes));
    bytes
}

fn push(key: &[u8], value: Option<&[u8]>, to: &mut Vec<u8>) {
    // Both came in columns, whose lengths are of this type.
    to.extend_from_slice(&(key.len() as i32).to_le_bytes());
    to.extend_from_slice(&value.map_or(-1, |value| value.len() as i32).to_le_bytes());
    to.extend_from_slice(key);
    to.extend_from_slice(value.unwrap_or_default());
}

/// Writes one entry for each key: that of the last run which has it.
fn merge(runs: &mut [Run], drop_deleted: bool, file: &mut NewFile) -> Result<(), SinkError> {
    let mut key = Vec::new();
    // Of equal keys `max_by` takes the last, so the newest.
    while let Some(newest) =
        (0..runs.len()).filter(|&at| !runs[at].ended).max_by(|&a, &b| runs[b].key.cmp(&runs[a].key))
    {
        std::mem::swap(&mut key, &mut runs[newest].key);
        let value = runs[newest].value();
        if value.is_some() || !drop_deleted {
            push(&key, value, &mut file.buffer);
            file.spill()?;
        }
        runs[newest].advance()?;
        for run in runs.iter_mut() {
            if !run.ended && run.key == key {
                run.advance()?;
            }
        }
    }
    Ok(())
}

/// A segment that is being read, at one of its entries.
struct Run {
    shown: String,
    reader: Box<dyn Read + Send>,
    /// Bytes that are not read yet.
    left: u64,
    key: Vec<u8>,
    value: Vec<u8>,
    deleted: bool,
    ended: bool,
}

impl Run {
    fn open(place: &dyn Place, folder: &str, segment: &Segment) -> Result<Self, SinkError> {
        let path = format!("{folder}/{}", segment.name);
        let file = Checked::open(place, &path, segment.content).map_err(at(&place.shown(&path)))?;
        Self::new(place.shown(&path), BufReader::with_capacity(64 << 10, file), segment.content.bytes)
    }

    fn new(shown: String, reader: impl Read + Send + 'static, left: u64) -> Result<Self, SinkError> {
        let (reader, key, value) = (Box::new(reader), Vec::new(), Vec::new());
        let mut run = Self { shown, reader, left, key, value, deleted: false, ended: false };
        run.advance()?;
        Ok(run)
    }

    fn value(&self) -> Option<&[u8]> {
        (!self.deleted).then_some(&self.value)
    }

    /// Goes on to the next entry, or to the end.
    fn advance(&mut self) -> Result<(), SinkError> {
        self.read_entry().map_err(at(&self.shown))
    }

    fn read_entry(&mut self) -> io::Result<()> {
        if self.left == 0 {
            self.ended = true;
            // The end of the file is where its checksum is compared.
            return match self.reader.read(&mut [0])? {
                0 => Ok(()),
                _ => Err(damaged()),
            };
        }
        let mut lengths = [[0; 4]; 2];
        self.reader.read_exact(lengths.as_flattened_mut())?;
        let [key, value] = lengths.map(i32::from_le_bytes);
        self.deleted = value == -1;
        let lengths = (usize::try_from(key), usize::try_from(if self.deleted { 0 } else { value }));
        let (Ok(key), Ok(value)) = lengths else { return Err(damaged()) };
        self.left = self.left.checked_sub(8 + key as u64 + value as u64).ok_or_else(damaged)?;
        self.key.resize(key, 0);
        self.reader.read_exact(&mut self.key)?;
        self.value.resize(value, 0);
        self.reader.read_exact(&mut self.value)
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is damaged: an entry is longer than the file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::files::disk::Directory;
    use std::path::Path;

    fn read(
        folder: &Path,
        segments: &[Segment],
        each: &mut dyn FnMut(&Entries) -> ControlFlow<()>,
    ) -> Result<(), SinkError> {
        State::open(&Directory::new(folder)?, "s", segments)?.read(each)
    }

    /// A folder with the folder of segments in it.
    fn bench() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("s")).unwrap();
        folder
    }

    fn add(folder: &Path, before: &[Segment], changes: &Entries, name: String) -> Result<Vec<Segment>, SinkError> {
        super::add(&Directory::new(folder)?, "s", before, changes, name)
    }

    type Map = BTreeMap<Vec<u8>, Vec<u8>>;

    fn changes(entries: &[(&[u8], Option<&[u8]>)]) -> Entries {
        let mut changes = Entries::default();
        for (key, value) in entries {
            changes.keys.push(Some(key));
            changes.values.push(*value);
        }
        changes
    }

    fn state(folder: &Path, segments: &[Segment]) -> Map {
        let mut state = Map::new();
        let mut take = |entries: &Entries| {
            for (key, value) in entries.iter() {
                match value {
                    Some(value) => state.insert(key.to_vec(), value.to_vec()),
                    None => state.remove(key),
                };
            }
            ControlFlow::Continue(())
        };
        read(folder, segments, &mut take).unwrap();
        state
    }

    #[test]
    fn the_state_is_the_sum_of_all_changes_in_few_segments() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let folder = bench();
        let (mut segments, mut expected) = (Vec::new(), Map::new());
        for round in 0..200 {
            let mut entries = Entries::default();
            for _ in 0..random.usize(0..20) {
                let key = random.u8(0..100).to_string().into_bytes();
                let value = (random.u8(..) > 80).then(|| vec![random.u8(..); random.usize(0..10)]);
                match &value {
                    Some(value) => drop(expected.insert(key.clone(), value.clone())),
                    None => drop(expected.remove(&key)),
                }
                entries.keys.push(Some(&key));
                entries.values.push(value.as_deref());
            }
            segments = add(folder.path(), &segments, &entries, format!("{round}")).unwrap();
            assert_eq!(state(folder.path(), &segments), expected);
            let sizes: Vec<u64> = segments.iter().map(|segment| segment.content.bytes).collect();
            assert!((1..sizes.len()).all(|at| sizes[at - 1] > sizes[at..].iter().sum()), "{sizes:?}");
        }
    }

    #[test]
    fn what_is_deleted_is_gone_from_the_disk_too() {
        let folder = bench();
        let one = add(folder.path(), &[], &changes(&[(b"a", Some(b"1"))]), "1".to_owned()).unwrap();
        let two = add(folder.path(), &one, &changes(&[(b"a", None)]), "2".to_owned()).unwrap();
        // The deletion is shorter than what it deletes, so it stays beside it …
        assert_eq!((two.len(), state(folder.path(), &two)), (2, Map::new()));
        // … until the two are merged.
        let three = add(folder.path(), &two, &changes(&[(b"b", None)]), "3".to_owned()).unwrap();
        assert_eq!(three.iter().map(|segment| segment.content.bytes).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn a_large_state_comes_in_bounded_parts() {
        let folder = bench();
        let value = vec![7; 100_000];
        let keys: Vec<[u8; 1]> = (0..50).map(|key| [key]).collect();
        let entries: Vec<(&[u8], Option<&[u8]>)> = keys.iter().map(|key| (&key[..], Some(&value[..]))).collect();
        let segments = add(folder.path(), &[], &changes(&entries), "1".to_owned()).unwrap();
        let (mut parts, mut found) = (0, 0);
        let mut count = |entries: &Entries| {
            assert!(entries.bytes() <= PART + 100_001);
            (parts, found) = (parts + 1, found + entries.len());
            ControlFlow::Continue(())
        };
        read(folder.path(), &segments, &mut count).unwrap();
        assert_eq!((parts, found), (5, 50));
        parts = 0;
        read(folder.path(), &segments, &mut |_| {
            parts += 1;
            ControlFlow::Break(())
        })
        .unwrap();
        assert_eq!(parts, 1);
    }

    #[test]
    fn a_damaged_segment_is_an_error_wherever_it_is_read() {
        let folder = bench();
        let all = changes(&[(b"a", Some(b"1")), (b"b", None)]);
        let segments = add(folder.path(), &[], &all, "1".to_owned()).unwrap();
        let path = folder.path().join("s/1");
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bad).unwrap();
            let error = read(folder.path(), &segments, &mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
            assert!(error.contains("1: "), "{error}");
            add(folder.path(), &segments, &all, "2".to_owned()).unwrap_err();
            assert!(!folder.path().join("s/2").exists(), "a half merged segment stays behind");
        }
    }
}
