//! Delta tables: every commit is a version of the table, and that is the commit point.
//!
//! A commit takes these steps, each durable before the next one:
//! 1. the rows of all partitions are in Parquet files, which the table does not name;
//! 2. what changed in each partition's state is in a segment, and a manifest, put where there was none, names it with the
//!    checkpoint (`folder.rs`). Both are in `TABLE/_apogee/GROUP/PARTITION`, which readers and vacuum leave alone;
//! 3. one entry of the table's log, put where there was none, names all files, and for each partition the number of its
//!    manifest: the version of its application transaction (Invariant 1).
//!
//! A crash before the third leaves the earlier checkpoint of every partition, after it the later one: the table alone says
//! which manifest holds. Who opens a partition commits its transaction, with the next number and no rows. Every commit
//! looks at each entry that others have put since the last one: where a partition of ours is in it, somebody has taken it
//! over, and nothing is committed (Invariant 6); all others are let be, unless they change the columns. So among any number
//! of writers each entry has one winner, and the losers try again behind it. An answer that was lost is no question: each
//! entry names its sink, so one that is ours byte for byte is ours.
//!
//! Files that a crash leaves unnamed are no part of the table; they stay until a vacuum. A text of no letters in a column
//! that the table is partitioned by is a null, as the format has it.

mod folder;
mod head;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deltalake_core::writer::{DeltaWriter, RecordBatchWriter};

use self::folder::Folder;
use self::head::{Head, Outcome, Version};
use crate::checkpoint::Checkpoint;
use crate::delta::Table;
use crate::log::check_name;
use crate::message::Batch;
use crate::metrics::Counters;
use crate::objects;
use crate::plugin::Field;
use crate::sink::columns::Columns;
use crate::sink::files::manifest::Manifest;
use crate::sink::files::place::{Place, place};
use crate::sink::parquet::Compression;
use crate::sink::{Kept, Positions, Refused, Sink, SinkError, Step};
use crate::uri::Location;

/// How often a partition is claimed while others claim it too.
const ATTEMPTS: usize = 10;

/// So many rows, or about so many bytes of them, are encoded at a time.
const BLOCK_ROWS: usize = 16 << 10;
const BLOCK_BYTES: usize = 4 << 20;

/// Which table, and when a version is complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub table: Location,
    /// A version is committed this long after its first row …
    pub every: Duration,
    /// … or at this size in bytes, whichever comes first.
    pub size: u64,
    /// The columns by which the table is partitioned.
    pub partition_by: Vec<String>,
}

/// Appends to a table. All partitions of a worker are committed in one version.
pub struct DeltaSink {
    head: Head,
    options: Options,
    /// Where nothing was written, a checkpoint comes this long after the first message.
    interval: Duration,
    group: String,
    /// Where the table is.
    place: Arc<dyn Place>,
    /// The folder of the group's checkpoints there.
    folder: String,
    /// Nobody else's, in no other run.
    owner: String,
    counters: Counters,
    partitions: BTreeMap<i32, Partition>,
    /// Rows that are not encoded yet.
    rows: Columns,
    /// Rows that are, since the last commit.
    files: Option<RecordBatchWriter>,
    /// When the first row came that is not committed.
    started: Option<Instant>,
}

/// A partition that is ours.
struct Partition {
    folder: Folder,
    last: Manifest,
}

/// Refuses columns that no table can have, and to part it by what is none of them. Opens nothing.
pub fn check(options: &Options, fields: &[Field]) -> Result<(), SinkError> {
    let refused = |what| SinkError::Columns { sink: format!("delta:{}", options.table), what };
    head::check(&options.partition_by, fields).map_err(refused)
}

/// Creates the table where there is none; else says whether messages of these fields can be its rows.
pub fn prepare(options: &Options, s3: &objects::Options, fields: &[Field]) -> Result<(), SinkError> {
    Head::new(options, s3, fields, "")?.open().map(drop)
}

impl DeltaSink {
    /// Nothing is created before a partition is opened. `group` is a name by [`check_name`]; `fields` are the columns.
    pub fn new(
        options: Options,
        s3: &objects::Options,
        fields: &[Field],
        group: &str,
        interval: Duration,
    ) -> Result<Self, SinkError> {
        check_name(group)?;
        let owner = format!("{:016x}", fastrand::u64(..));
        Ok(Self {
            head: Head::new(&options, s3, fields, &owner)?,
            interval,
            group: group.to_owned(),
            place: place(&options.table, s3)?,
            folder: format!("_apogee/{group}"),
            owner,
            counters: Counters::default(),
            partitions: BTreeMap::new(),
            rows: Columns::new(fields),
            files: None,
            started: None,
            options,
        })
    }

    /// Counts the files and the versions.
    pub fn counting(mut self, counters: Counters) -> Self {
        self.counters = counters;
        self
    }

    fn table(&self) -> &Table {
        self.head.table()
    }

    /// The name of a partition's transaction in the table.
    fn app(&self, partition: i32) -> String {
        format!("apogee/{}/{partition}", self.group)
    }

    /// The numbers that the table has of our partitions, as long as they are ours.
    fn held(&self) -> BTreeMap<String, u64> {
        self.partitions.iter().map(|(&number, partition)| (self.app(number), partition.last.number)).collect()
    }

    /// Goes on behind the last version of the table, where our partitions must still be ours. Gives the number of another
    /// one, if the table has any.
    fn look(&mut self, partition: i32) -> Result<Option<u64>, SinkError> {
        let version = self.head.open()?;
        let held = self.held();
        let apps: Vec<String> = held.keys().cloned().chain([self.app(partition)]).collect();
        let mut found = self.table().transactions(version, &apps)?.into_iter();
        for ((app, number), found) in held.iter().zip(found.by_ref()) {
            if found != Some(*number as i64) {
                return Err(self.fenced(app));
            }
        }
        Ok(found.next().flatten().map(|number| number as u64))
    }

    /// Encodes the rows that wait.
    fn encode(&mut self) -> Result<(), SinkError> {
        if self.rows.rows() == 0 {
            return Ok(());
        }
        let files = match &mut self.files {
            Some(files) => files,
            None => {
                let writer = RecordBatchWriter::for_blind_appends(self.head.columns()?)
                    .map_err(|error| self.head.table().failed(&error))?;
                let properties = Compression::Zstd.properties();
                self.files.insert(writer.with_writer_properties(properties))
            }
        };
        Ok(self.head.table().wait(files.write(self.rows.take()))?)
    }

    /// Why something failed that needs what a manifest of ours names: whoever took over may have removed it.
    fn explain(&self, error: SinkError) -> SinkError {
        let held = self.held();
        let apps: Vec<String> = held.keys().cloned().collect();
        let found = || {
            let version = self.table().snapshot(None)?.map_or(0, |snapshot| snapshot.version());
            self.table().transactions(version, &apps)
        };
        let Ok(found) = found() else { return error };
        let other = held.iter().zip(found).find(|((_, number), found)| *found != Some(**number as i64));
        other.map_or(error, |((app, _), _)| self.fenced(app))
    }

    fn not_open(&self, partition: i32) -> SinkError {
        let what = format!("partition {partition} is not open; please report it");
        SinkError::Checkpoint { place: self.place(), what }
    }

    fn fenced(&self, app: &str) -> SinkError {
        let what = format!(
            "another host has taken over ({app}); nothing is lost: what is not in a version of the table is read again"
        );
        SinkError::Fenced { place: self.table().place.clone(), what }
    }
}

impl Sink for DeltaSink {
    fn place(&self) -> String {
        format!("{}/{}", self.table().place, self.folder)
    }

    fn exactly_once(&self) -> bool {
        true
    }

    fn open(&mut self, partition: i32) -> Result<Option<Checkpoint>, SinkError> {
        self.partitions.remove(&partition);
        let app = self.app(partition);
        for _ in 0..ATTEMPTS {
            let number = self.look(partition)?;
            let folder = Folder::open(&self.place, &self.folder, partition)?;
            let last = match folder.last(number) {
                Ok(last) => last,
                // Its owner was at work, and has removed what is no longer its last one.
                Err(_) if self.look(partition)? != number => continue,
                Err(error) => return Err(error),
            };
            let claim = folder.claim(last.as_ref(), &self.owner)?;
            let mut held = self.held();
            held.insert(app.clone(), number.unwrap_or(0));
            let numbers = BTreeMap::from([(app.clone(), claim.number)]);
            match self.head.commit(Version { held, numbers, ..Version::default() })? {
                Outcome::Committed => {
                    folder.clean(last.as_ref(), &claim)?;
                    let checkpoint = claim.checkpoint.clone();
                    self.partitions.insert(partition, Partition { folder, last: claim });
                    return Ok(checkpoint);
                }
                Outcome::Taken(other) if other == app => {}
                Outcome::Taken(other) => return Err(self.fenced(&other)),
            }
        }
        Err(self.fenced(&app))
    }

    fn kept(&self, last: &Checkpoint) -> Result<Kept, SinkError> {
        let partition = self.partitions.get(&last.partition).ok_or_else(|| self.not_open(last.partition))?;
        let state = partition.folder.state(&partition.last).map_err(|error| self.explain(error))?;
        Ok(Box::new(|each| state.read(each)))
    }

    fn write(&mut self, partition: i32, batch: &Batch, _first: i64) -> Result<Vec<Refused>, SinkError> {
        if !self.partitions.contains_key(&partition) {
            return Err(self.not_open(partition));
        }
        let mut refused = Vec::new();
        for (message, value) in (0..).zip(&batch.values) {
            match self.rows.push(value.unwrap_or(b"null")) {
                Ok(()) => drop(self.started.get_or_insert_with(Instant::now)),
                Err(reason) => refused.push(Refused { message, cause: "not of the columns", reason }),
            }
            if self.rows.rows() >= BLOCK_ROWS || self.rows.bytes() >= BLOCK_BYTES {
                self.encode()?;
            }
        }
        Ok(refused)
    }

    fn due(&self, since: Instant) -> Instant {
        let due = self.started.map(|started| started + self.options.every);
        if self.full() { since } else { due.unwrap_or(since + self.interval) }
    }

    fn full(&self) -> bool {
        let encoded = self.files.as_ref().map_or(0, RecordBatchWriter::buffer_len);
        (encoded + self.rows.bytes()) as u64 >= self.options.size
    }

    fn abort(&mut self) -> Result<(), SinkError> {
        drop(self.rows.take());
        self.started = None;
        if let Some(mut files) = self.files.take() {
            let runtime = self.table().runtime();
            let _context = runtime.enter();
            files.reset();
        }
        Ok(())
    }

    fn commit(&mut self, step: Step<'_>) -> Result<Positions, SinkError> {
        self.encode()?;
        let files = match &mut self.files {
            Some(files) => self.head.table().wait(files.flush())?,
            None => Vec::new(),
        };
        self.counters.add("files", files.len() as u64);
        let mut version = Version { held: self.held(), files, ..Version::default() };
        let mut prepared = BTreeMap::new();
        for part in step.parts {
            let number = part.checkpoint.partition;
            let Partition { folder, last } = self.partitions.get(&number).ok_or_else(|| self.not_open(number))?;
            let mut next = last.next(&self.owner);
            next.checkpoint = Some(part.checkpoint.clone());
            folder.add(last, &mut next, &part.changes).map_err(|error| self.explain(error))?;
            let next = folder.put(next)?;
            version.numbers.insert(self.app(number), next.number);
            version.next.insert(self.app(number), part.checkpoint.next);
            prepared.insert(number, next);
        }
        if let Outcome::Taken(app) = self.head.commit(version)? {
            return Err(self.fenced(&app));
        }
        self.started = None;
        self.files = None;
        self.counters.add("versions", 1);
        for (number, next) in prepared {
            if let Some(Partition { folder, last }) = self.partitions.get_mut(&number) {
                folder.clean(Some(last), &next)?;
                *last = next;
            }
        }
        self.head.tidy();
        Ok(Positions::Open)
    }

    fn close(&mut self, partition: i32) -> Result<(), SinkError> {
        self.partitions.remove(&partition);
        Ok(())
    }
}

impl Drop for DeltaSink {
    /// What was begun in a bucket is taken back there.
    fn drop(&mut self) {
        let _ = self.abort();
    }
}
