//! Files in a directory, each whole under its final name (Invariant 5), and the manifests that name them.
//!
//! A commit of a partition makes four steps, each durable before the next one:
//! 1. the rows are in a part file, which no reader sees;
//! 2. what changed in the state is in a segment;
//! 3. a manifest, put where there was none, names both with the checkpoint: the commit point (Invariant 1);
//! 4. the part file gets its final name, in the directory.
//!
//! A crash before the third leaves the earlier checkpoint, after it the later one; opening the partition finishes or
//! discards what is left. Of several partitions each is committed by itself. All but the finished files is in
//! `DIRECTORY/.apogee/GROUP/PARTITION`, so that groups can share a directory. Other files there are left alone.

pub(crate) mod disk;
mod folder;
pub(super) mod manifest;
pub(super) mod segment;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::checkpoint::{Checkpoint, Part};
use crate::log::check_name;
use crate::message::Batch;
use crate::metrics::Counters;
use crate::sink::{Kept, Positions, Refused, Sink, SinkError, Step};
use crate::uri::Location;
use disk::{NewFile, at};
use folder::{Folder, PART};
use manifest::{Manifest, Output};
use segment::State;

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
    pub path: Option<String>,
}

impl Options {
    pub fn new(location: Location) -> Self {
        Self { location, every: Duration::from_secs(60), size: 128 << 20, window: None, path: None }
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

    /// Begins a file. Here and below, `bytes` is where its content is appended.
    fn begin(&mut self, bytes: &mut Vec<u8>) -> std::io::Result<Self::File>;

    /// Appends messages; gives those that a file of this format cannot hold.
    fn append(&mut self, file: &mut Self::File, batch: &Batch, bytes: &mut Vec<u8>) -> std::io::Result<Vec<Refused>>;

    /// Ends a file.
    fn finish(&mut self, file: Self::File, bytes: &mut Vec<u8>) -> std::io::Result<()>;
}

/// Files of one format in a directory, a file for each partition at a time; the checkpoints are in `.apogee` there.
pub struct FileSink<F: Format> {
    directory: PathBuf,
    /// Where the checkpoints of the group are.
    place: PathBuf,
    /// Nobody else's, in no other run.
    owner: String,
    format: F,
    rolling: Rolling,
    counters: Counters,
    partitions: BTreeMap<i32, Partition<F::File>>,
}

/// A partition that is ours.
struct Partition<File> {
    folder: Folder,
    last: Manifest,
    open: Option<Open<File>>,
}

/// A file that is being written.
struct Open<File> {
    name: String,
    started: Instant,
    file: File,
    part: NewFile,
}

impl<F: Format> FileSink<F> {
    /// Nothing is created before a partition is opened. `group` is a name by [`check_name`].
    pub fn new(directory: &Path, group: &str, format: F, rolling: Rolling) -> Result<Self, SinkError> {
        check_name(group)?;
        let directory = std::path::absolute(directory).map_err(at(directory))?;
        let place = directory.join(".apogee").join(group);
        let owner = format!("{:016x}", fastrand::u64(..));
        let (counters, partitions) = (Counters::default(), BTreeMap::new());
        Ok(Self { directory, place, owner, format, rolling, counters, partitions })
    }

    /// Counts the finished files.
    pub fn counting(self, counters: Counters) -> Self {
        Self { counters, ..self }
    }

    fn open_files(&self) -> impl Iterator<Item = &Open<F::File>> {
        self.partitions.values().filter_map(|partition| partition.open.as_ref())
    }

    /// Begins a file in the name of the partition's next manifest.
    fn begin(&mut self, partition: i32, first: i64) -> Result<(), SinkError> {
        let Some(Partition { folder, last, open }) = self.partitions.get_mut(&partition) else {
            return Err(not_open(&self.place, partition));
        };
        let path = folder.path.join(last.next(&self.owner).name(PART));
        let mut part = NewFile::create(path.clone())?;
        let file = self.format.begin(&mut part.buffer).map_err(at(&path))?;
        let mut started = jiff::Timestamp::now();
        let mut name = folder::output_name(started, partition, first, F::EXTENSION);
        // Another group may have had the same thought.
        while self.directory.join(&name).exists() {
            started += Duration::from_millis(1);
            name = folder::output_name(started, partition, first, F::EXTENSION);
        }
        *open = Some(Open { name, started: Instant::now(), file, part });
        Ok(())
    }

    /// Commits one partition.
    fn commit_part(&mut self, part: &Part) -> Result<(), SinkError> {
        let number = part.checkpoint.partition;
        let Some(Partition { folder, last, open }) = self.partitions.get_mut(&number) else {
            return Err(not_open(&self.place, number));
        };
        let mut next = last.next(&self.owner);
        next.checkpoint = Some(part.checkpoint.clone());
        if let Some(Open { name, file, mut part, .. }) = open.take() {
            let path = folder.path.join(next.name(PART));
            self.format.finish(file, &mut part.buffer).map_err(at(&path))?;
            next.output = Some(Output { name, content: part.finish()? });
        }
        if !part.changes.is_empty() {
            let added = segment::add(&folder.path, &last.segments, &part.changes, next.name("state"));
            next.segments = added.map_err(|error| folder.explain(last, error))?;
        }
        folder.commit(last, &next)?;
        self.counters.add("files", u64::from(next.output.is_some()));
        *last = next;
        Ok(())
    }
}

impl<F: Format> Sink for FileSink<F> {
    fn place(&self) -> String {
        format!("{}:{}", F::SCHEME, self.place.display())
    }

    fn exactly_once(&self) -> bool {
        true
    }

    fn open(&mut self, partition: i32) -> Result<Option<Checkpoint>, SinkError> {
        // What is being written of it, if anything, is of a former time.
        self.partitions.remove(&partition);
        let folder = Folder::open(&self.directory, &self.place, partition, F::EXTENSION)?;
        let last = folder.claim(&self.owner)?;
        let checkpoint = last.checkpoint.clone();
        self.partitions.insert(partition, Partition { folder, last, open: None });
        Ok(checkpoint)
    }

    fn kept(&self, last: &Checkpoint) -> Result<Kept, SinkError> {
        let number = last.partition;
        let Some(Partition { folder, last, .. }) = self.partitions.get(&number) else {
            return Err(not_open(&self.place, number));
        };
        let state = State::open(&folder.path, &last.segments).map_err(|error| folder.explain(last, error))?;
        Ok(Box::new(|each| state.read(each)))
    }

    fn write(&mut self, partition: i32, batch: &Batch, first: i64) -> Result<Vec<Refused>, SinkError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        if self.partitions.get(&partition).is_none_or(|partition| partition.open.is_none()) {
            self.begin(partition, first)?;
        }
        let Some(open) = self.partitions.get_mut(&partition).and_then(|partition| partition.open.as_mut()) else {
            return Err(not_open(&self.place, partition));
        };
        let refused = self.format.append(&mut open.file, batch, &mut open.part.buffer);
        let refused = refused.map_err(at(&self.directory.join(&open.name)))?;
        open.part.spill()?;
        Ok(refused)
    }

    fn due(&self, since: Instant) -> Instant {
        let due = self.open_files().map(|open| open.started + self.rolling.every).min();
        if self.full() { since } else { due.unwrap_or(since + self.rolling.interval) }
    }

    fn full(&self) -> bool {
        self.open_files().any(|open| open.part.bytes() >= self.rolling.size)
    }

    fn abort(&mut self) -> Result<(), SinkError> {
        self.partitions.values_mut().for_each(|partition| partition.open = None);
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

fn not_open(place: &Path, partition: i32) -> SinkError {
    let what = format!("partition {partition} is not open; please report it");
    SinkError::Checkpoint { place: place.display().to_string(), what }
}

#[cfg(test)]
mod tests;
