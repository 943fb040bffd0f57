//! Files in a directory or a bucket, each whole under its final name (Invariant 5), and the manifests that name them.
//!
//! A commit of a partition makes four steps, each durable before the next one:
//! 1. the rows are in part files, which no reader sees;
//! 2. what changed in the state is in a segment;
//! 3. a manifest, put where there was none, names both with the checkpoint: the commit point (Invariant 1);
//! 4. the part files get their final names.
//!
//! A crash before the third leaves the earlier checkpoint, after it the later one; opening the partition finishes or
//! discards what is left. Of several partitions each is committed by itself. All but the finished files is in
//! `.apogee/GROUP/PARTITION`, so that groups can share a place. Other files there are left alone.
//!
//! There is one file for each partition at a time, or with a template or windows one for each folder and window.

mod bucket;
pub(crate) mod disk;
mod folder;
pub(crate) mod manifest;
pub(crate) mod place;
pub(crate) mod segment;
mod sort;
mod template;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::checkpoint::{Checkpoint, Part};
use crate::log::check_name;
use crate::message::Batch;
use crate::metrics::Counters;
use crate::objects;
use crate::plugin::Field;
use crate::sink::{Kept, Positions, Refused, Sink, SinkError, Step};
use crate::uri::Location;
use disk::Directory;
use folder::Folder;
use manifest::{Manifest, Output};
use place::{NewFile, Place, at, each, place};
use segment::State;
use sort::{Key, Sorter};
pub use template::Template;

/// Most files of a partition that are open at a time. Where one batch has rows for more, the oldest ones are finished, and
/// wait for the commit.
const OPEN: usize = 100;

/// The largest `size` that is allowed in a bucket, where a file gets its name by a copy.
pub const LARGEST_OBJECT: u64 = 1 << 30;

/// When a file is complete, and when a checkpoint is due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rolling {
    /// A file is finished this long after its first row …
    pub every: Duration,
    /// … or at this size in bytes, whichever comes first.
    pub size: u64,
    /// Where nothing was written, a checkpoint comes this long after the first message.
    pub interval: Duration,
}

/// Where, and when a file is complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub location: Location,
    /// A file is finished this long after its first row …
    pub every: Duration,
    /// … or at this size in bytes, whichever comes first.
    pub size: u64,
    /// Each file holds the rows of one window of event time of this length.
    pub window: Option<Duration>,
    /// The folder below `location` that a message goes into, such as `{STATION}`.
    pub path: Option<Template>,
}

impl Options {
    pub fn new(location: Location) -> Self {
        Self { location, every: Duration::from_secs(60), size: 128 << 20, window: None, path: None }
    }

    /// Refuses a path that names a field which no message has; says what is wrong.
    pub fn check(&self, fields: &[Field]) -> Result<(), String> {
        let declared = |name: &&str| fields.iter().any(|field| field.name == *name);
        match self.path.iter().flat_map(Template::fields).find(|name| !declared(name)) {
            None => Ok(()),
            Some(name) => {
                let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
                Err(format!("`path` names {name:?}, and the columns are {}", names.join(", ")))
            }
        }
    }

    pub fn rolling(&self, interval: Duration) -> Rolling {
        Rolling { every: self.every, size: self.size, interval }
    }
}

/// How messages become the content of a file.
pub trait Format: Send {
    /// What the names of files end in, such as `csv`.
    const EXTENSION: &'static str;
    /// The URI's scheme and how errors name the sink, such as `csv`.
    const SCHEME: &'static str;

    /// What is known of a file that is being written, such as the state of a compressor.
    type File: Send;

    /// What the names of these files end in, where it depends on how they are written.
    fn extension(&self) -> &'static str {
        Self::EXTENSION
    }

    /// Begins a file. Here and below, `bytes` is where its content is appended.
    fn begin(&mut self, bytes: &mut Vec<u8>) -> std::io::Result<Self::File>;

    /// Appends messages; gives those that a file of this format cannot hold.
    fn append(&mut self, file: &mut Self::File, batch: &Batch, bytes: &mut Vec<u8>) -> std::io::Result<Vec<Refused>>;

    /// About how many bytes of a file wait in memory to be written.
    fn pending(&self, _file: &Self::File) -> u64 {
        0
    }

    /// Ends a file.
    fn finish(&mut self, file: Self::File, bytes: &mut Vec<u8>) -> std::io::Result<()>;
}

/// Files of one format; the checkpoints are in `.apogee` beside them.
pub struct FileSink<F: Format> {
    place: Arc<dyn Place>,
    /// The folder of the group, where the checkpoints are.
    group: String,
    /// Nobody else's, in no other run.
    owner: String,
    format: F,
    rolling: Rolling,
    sorter: Option<Sorter>,
    counters: Counters,
    partitions: BTreeMap<i32, Partition<F::File>>,
}

/// A partition that is ours.
struct Partition<File> {
    folder: Folder,
    last: Manifest,
    /// How many files were begun: no two have the same name.
    begun: u64,
    open: BTreeMap<Key, Open<File>>,
    /// Files that are finished and wait for the commit, with which ones they are.
    sealed: Vec<(u64, Output)>,
}

/// A file that is being written.
struct Open<File> {
    /// Its final name, in its place.
    name: String,
    /// Which one it is of those that were begun, and its name until it is visible.
    number: u64,
    part: String,
    started: Instant,
    file: File,
    content: NewFile,
}

impl<F: Format> FileSink<F> {
    /// A sink into a directory. Nothing is created before a partition is opened. `group` is a name by [`check_name`].
    pub fn new(directory: &Path, group: &str, format: F, rolling: Rolling) -> Result<Self, SinkError> {
        Self::over(Arc::new(Directory::new(directory)?), group, format, rolling)
    }

    /// A sink as a pipeline file says. `interval` is when a checkpoint comes where nothing was written.
    pub fn from_options(
        options: &Options,
        s3: &objects::Options,
        group: &str,
        format: F,
        interval: Duration,
    ) -> Result<Self, SinkError> {
        let sink = Self::over(place(&options.location, s3)?, group, format, options.rolling(interval))?;
        Ok(Self { sorter: Sorter::new(options.path.clone(), options.window), ..sink })
    }

    fn over(place: Arc<dyn Place>, group: &str, format: F, rolling: Rolling) -> Result<Self, SinkError> {
        check_name(group)?;
        let (group, owner) = (format!(".apogee/{group}"), format!("{:016x}", fastrand::u64(..)));
        let (counters, partitions) = (Counters::default(), BTreeMap::new());
        Ok(Self { place, group, owner, format, rolling, sorter: None, counters, partitions })
    }

    /// Counts the finished files.
    pub fn counting(self, counters: Counters) -> Self {
        Self { counters, ..self }
    }

    fn open_files(&self) -> impl Iterator<Item = &Open<F::File>> {
        self.partitions.values().flat_map(|partition| partition.open.values())
    }

    /// Appends messages to the file of a folder and a window, which is begun where it is not open.
    fn append(&mut self, partition: i32, key: &Key, batch: &Batch, first: i64) -> Result<Vec<Refused>, SinkError> {
        let extension = self.format.extension();
        let Some(Partition { folder, last, begun, open, sealed }) = self.partitions.get_mut(&partition) else {
            return Err(not_open(&self.place.shown(&self.group), partition));
        };
        let begins = !open.contains_key(key);
        if begins && open.len() >= OPEN {
            let oldest = open.iter().min_by_key(|(_, open)| open.number).map(|(key, _)| key.clone());
            let oldest = oldest.and_then(|key| open.remove(&key));
            sealed.extend(seal(&mut self.format, folder, last, oldest.into_iter())?);
        }
        if begins {
            let name = || {
                let mut started = jiff::Timestamp::now();
                loop {
                    let name = folder::output_name(started, partition, first, &self.owner, extension);
                    let name = if key.folder.is_empty() { name } else { format!("{}/{name}", key.folder) };
                    if names(open, sealed).all(|taken| taken != name) {
                        return name;
                    }
                    // Of another window, at the same moment.
                    started += Duration::from_millis(1);
                }
            };
            let (name, part) = (name(), last.next(&self.owner).name(&format!("{begun}.{}", manifest::PART)));
            let path = folder.name(&part);
            let created = folder.place.create(&path);
            let mut content = created.map_err(|error| folder.explain(last, error))?;
            let file = self.format.begin(&mut content.buffer).map_err(at(&folder.place.shown(&path)))?;
            open.insert(key.clone(), Open { name, number: *begun, part, started: Instant::now(), file, content });
            *begun += 1;
        }
        let Some(Open { part, file, content, .. }) = open.get_mut(key) else { return Ok(Vec::new()) };
        let refused = self.format.append(file, batch, &mut content.buffer);
        let refused = refused.map_err(at(&folder.place.shown(&folder.name(part))))?;
        content.spill().map_err(|error| folder.explain(last, error))?;
        if begins && refused.len() == batch.len() {
            // There is no file without rows.
            open.remove(key);
        }
        Ok(refused)
    }

    /// Commits one partition.
    fn commit_part(&mut self, part: &Part) -> Result<(), SinkError> {
        let number = part.checkpoint.partition;
        let Some(Partition { folder, last, open, sealed, .. }) = self.partitions.get_mut(&number) else {
            return Err(not_open(&self.place.shown(&self.group), number));
        };
        let mut next = last.next(&self.owner);
        next.checkpoint = Some(part.checkpoint.clone());
        sealed.extend(seal(&mut self.format, folder, last, std::mem::take(open).into_values())?);
        sealed.sort_by_key(|(number, _)| *number);
        next.output = std::mem::take(sealed).into_iter().map(|(_, output)| output).collect();
        if !part.changes.is_empty() {
            let name = next.name("state");
            let added = segment::add(&*folder.place, &folder.path, &last.segments, &part.changes, name);
            next.segments = added.map_err(|error| folder.explain(last, error))?;
        }
        folder.commit(last, &next)?;
        self.counters.add("files", next.output.len() as u64);
        *last = next;
        Ok(())
    }
}

impl<F: Format> Sink for FileSink<F> {
    fn place(&self) -> String {
        format!("{}:{}", F::SCHEME, self.place.shown(&self.group))
    }

    fn exactly_once(&self) -> bool {
        true
    }

    fn open(&mut self, partition: i32) -> Result<Option<Checkpoint>, SinkError> {
        // What is being written of it, if anything, is of a former time.
        self.partitions.remove(&partition);
        let folder = Folder::open(&self.place, &self.group, partition, self.format.extension())?;
        let last = folder.claim(&self.owner)?;
        let checkpoint = last.checkpoint.clone();
        self.partitions
            .insert(partition, Partition { folder, last, begun: 0, open: BTreeMap::new(), sealed: Vec::new() });
        Ok(checkpoint)
    }

    fn kept(&self, last: &Checkpoint) -> Result<Kept, SinkError> {
        let number = last.partition;
        let Some(Partition { folder, last, .. }) = self.partitions.get(&number) else {
            return Err(not_open(&self.place.shown(&self.group), number));
        };
        let state = State::open(&*folder.place, &folder.path, &last.segments);
        let state = state.map_err(|error| folder.explain(last, error))?;
        Ok(Box::new(|each| state.read(each)))
    }

    fn write(&mut self, partition: i32, batch: &Batch, first: i64) -> Result<Vec<Refused>, SinkError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let Some(sorter) = &mut self.sorter else {
            return self.append(partition, &Key::default(), batch, first);
        };
        let mut sorted = sorter.sort(batch);
        for (key, (batch, messages)) in &sorted.by_key {
            for refused in self.append(partition, key, batch, first)? {
                let message = messages[refused.message as usize];
                sorted.refused.push(Refused { message, ..refused });
            }
        }
        sorted.refused.sort_by_key(|refused| refused.message);
        Ok(sorted.refused)
    }

    fn due(&self, since: Instant) -> Instant {
        let due = self.open_files().map(|open| open.started + self.rolling.every).min();
        if self.full() { since } else { due.unwrap_or(since + self.rolling.interval) }
    }

    /// With windows, when rows of a second window have come.
    fn full(&self) -> bool {
        // One of each partition is always allowed.
        self.open_files().count() >= OPEN + self.partitions.len()
            || self.partitions.values().any(|Partition { open, sealed, .. }| {
                let bytes: u64 = open.values().map(|open| open.content.bytes() + self.format.pending(&open.file)).sum();
                let windows = open.keys().map(|key| key.window);
                let several = windows.clone().min() != windows.max();
                bytes >= self.rolling.size || !sealed.is_empty() || open.len() >= OPEN || several
            })
    }

    fn abort(&mut self) -> Result<(), SinkError> {
        for Partition { folder, open, sealed, .. } in self.partitions.values_mut() {
            open.clear();
            for output in sealed.drain(..).filter_map(|(_, output)| output.part) {
                folder.place.remove(&folder.name(&output))?;
            }
        }
        Ok(())
    }

    fn commit(&mut self, step: Step<'_>) -> Result<Positions, SinkError> {
        step.parts.iter().try_for_each(|part| self.commit_part(part))?;
        Ok(Positions::Open)
    }

    fn close(&mut self, partition: i32) -> Result<(), SinkError> {
        self.partitions.remove(&partition);
        Ok(())
    }
}

/// The names that files of a partition are to get.
fn names<'a, File>(open: &'a BTreeMap<Key, Open<File>>, sealed: &'a [(u64, Output)]) -> impl Iterator<Item = &'a str> {
    let sealed = sealed.iter().map(|(_, output)| output.name.as_str());
    open.values().map(|open| open.name.as_str()).chain(sealed)
}

/// Finishes files, which are then to be published, or discarded.
fn seal<F: Format>(
    format: &mut F,
    folder: &Folder,
    last: &Manifest,
    files: impl Iterator<Item = Open<F::File>>,
) -> Result<Vec<(u64, Output)>, SinkError> {
    let end = |Open { name, number, part, file, mut content, .. }: Open<F::File>| {
        let shown = folder.place.shown(&folder.name(&part));
        format.finish(file, &mut content.buffer).map_err(at(&shown))?;
        Ok((number, name, part, content))
    };
    let ended = files.map(end).collect::<Result<Vec<_>, SinkError>>()?;
    let finish = |(number, name, part, content): (u64, String, String, NewFile)| {
        Ok((number, Output { name, part: Some(part), content: content.finish()? }))
    };
    each(folder.place.at_a_time(), ended, finish).map_err(|error| folder.explain(last, error))
}

fn not_open(place: &str, partition: i32) -> SinkError {
    let what = format!("partition {partition} is not open; please report it");
    SinkError::Checkpoint { place: place.to_owned(), what }
}

#[cfg(test)]
mod tests;
