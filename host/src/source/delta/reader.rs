//! The rows of one version after the other: the files in the order in which its entry names them, the rows in the order in
//! which they are in their files. Both never change, so neither does what an offset means.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deltalake_core::DeltaTableError;
use deltalake_core::kernel::{Action, Add, Metadata, Protocol};
use deltalake_core::logstore::extract_version_from_filename;
use futures_util::TryStreamExt;

use super::rows::{Columns, Rows};
use crate::delta::{self, Table, TableError};
use crate::message::Fetch;

/// Most bytes of a batch, but for its last message.
const MAX_BYTES: usize = 1 << 20;

/// How often it is looked whether the log was cut off behind a version that is waited for.
const LOOK: Duration = Duration::from_secs(10);

/// Where a row is. As a number: the version in the upper half, then a bit for `whole`, then the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset {
    version: u32,
    /// Among all rows that the table had in this version, instead of those that the version added.
    whole: bool,
    row: u32,
}

/// Most versions, and most rows in one.
const MOST: u32 = i32::MAX as u32;

impl Offset {
    /// The first row that a version adds.
    pub fn of(version: u32) -> Self {
        Self { version, whole: false, row: 0 }
    }

    pub fn number(self) -> i64 {
        i64::from(self.version) << 32 | i64::from(self.whole) << 31 | i64::from(self.row)
    }
}

impl TryFrom<i64> for Offset {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        let version = u32::try_from(number >> 32).map_err(|_| format!("{number} is no offset in a table"))?;
        Ok(Self { version, whole: number >> 31 & 1 == 1, row: number as u32 & MOST })
    }
}

/// The number of a version as it is in offsets.
pub fn number(table: &Table, version: u64) -> Result<u32, TableError> {
    let fits = u32::try_from(version).ok().filter(|&version| version < MOST);
    fits.ok_or_else(|| {
        table.refused(format!("version {version} is more than {MOST}, which is the most that can be read"))
    })
}

/// Hands out rows from where it stands.
pub struct Reader {
    table: Arc<Table>,
    /// Most messages of a batch.
    pub(super) batch: usize,
    at: Offset,
    /// Of the table as of the version that is read.
    columns: Option<Columns>,
    open: Option<Open>,
    /// When it was looked last whether the version that is waited for was removed.
    looked: Option<Instant>,
}

/// A version that is being read.
struct Open {
    /// Those that are still to be read, each with its time.
    files: VecDeque<(Add, i64)>,
    /// The one that is being read.
    rows: Option<Rows>,
    /// Rows of the next file that were handed out before.
    skip: u64,
}

impl Reader {
    pub fn new(table: Arc<Table>, batch: usize) -> Self {
        Self { table, batch, at: Offset::of(0), columns: None, open: None, looked: None }
    }

    pub fn go_to(&mut self, at: Offset) {
        self.at = at;
        self.columns = None;
        self.open = None;
        self.looked = None;
    }

    /// Whether all of a version is handed out.
    pub fn is_behind(&self, version: u32) -> bool {
        self.at.version > version
    }

    /// The first row that can still be told.
    pub fn earliest(&self) -> Result<Offset, TableError> {
        if self.table.entry(0)?.is_some() {
            return Ok(Offset::of(0));
        }
        let log = self.table.log().log_path().clone();
        let found: Vec<_> = self.table.wait::<_, DeltaTableError>(async {
            Ok(self.table.files().list(Some(&log)).map_ok(|found| found.location).try_collect().await?)
        })?;
        let names = found.iter().filter_map(|path| path.filename()).filter(|name| name.contains(".checkpoint."));
        let mut checkpoints: Vec<_> = names.filter_map(extract_version_from_filename).collect();
        checkpoints.sort_unstable();
        let whole = |version| Ok(Offset { version: number(&self.table, version)?, whole: true, row: 0 });
        match checkpoints.first() {
            Some(&version) => whole(version),
            None => {
                Err(self.table.refused("its log begins neither with version 0 nor with a checkpoint: it is damaged"))
            }
        }
    }

    /// The next rows, up to the end of version `last`; `None` while there are none.
    pub fn fetch(&mut self, last: Option<u32>) -> Result<Option<Fetch>, TableError> {
        loop {
            if last.is_some_and(|last| self.is_behind(last)) || (self.open.is_none() && !self.open()?) {
                return Ok(None);
            }
            if let Some(fetch) = self.rows()? {
                return Ok(Some(fetch));
            }
            self.at = Offset::of(self.at.version + 1);
            self.open = None;
        }
    }

    /// The next rows of the version that is open; `None` at its end.
    fn rows(&mut self) -> Result<Option<Fetch>, TableError> {
        let (Some(open), Some(columns)) = (&mut self.open, &self.columns) else { return Ok(None) };
        let mut fetch = Fetch::new(0, 0);
        loop {
            let Some(rows) = &mut open.rows else {
                let Some((add, time)) = open.files.pop_front() else { break };
                open.rows = Rows::open(&self.table, &add, columns, time, &mut open.skip)?;
                continue;
            };
            while fetch.batch.len() < self.batch && fetch.batch.bytes() < MAX_BYTES {
                let Some((row, time)) = rows.next(&self.table)? else { break };
                fetch.batch.push(None, Some(row), time);
                fetch.offsets.push(self.at.number());
                if self.at.row == MOST {
                    let what =
                        format!("version {} has more than {MOST} rows, the most that can be read", self.at.version);
                    return Err(self.table.refused(what));
                }
                self.at.row += 1;
            }
            if rows.is_at_end() {
                open.rows = None;
            }
            if !fetch.batch.is_empty() {
                break;
            }
        }
        let ended = open.rows.is_none() && open.files.is_empty();
        let next = if ended { Offset::of(self.at.version + 1) } else { self.at };
        fetch.next = next.number();
        Ok(if fetch.batch.is_empty() { None } else { Some(fetch) })
    }

    /// Opens the version that is to be read. Says whether it is there.
    fn open(&mut self) -> Result<bool, TableError> {
        let version = u64::from(self.at.version);
        let files = if self.at.whole {
            self.columns = None;
            self.whole(version)?
        } else {
            match self.table.entry(version)? {
                Some(actions) => self.added(version, actions)?,
                None if self.is_passed(version)? && self.table.entry(version)?.is_none() => {
                    return Err(self.table.refused(format!(
                        "the entry of version {version} was removed before it was read: the table keeps its log for a \
                         shorter time (delta.logRetentionDuration); read it again under another `group`"
                    )));
                }
                None => return Ok(false),
            }
        };
        if self.columns.is_none() {
            let Some(snapshot) = self.table.snapshot(Some(version))? else {
                return Err(self.table.refused("the table is gone; bring it back"));
            };
            self.change(version, Some(snapshot.protocol()), Some(snapshot.metadata()))?;
        }
        self.open = Some(Open { files: files.into(), rows: None, skip: u64::from(self.at.row) });
        Ok(true)
    }

    /// Whether the table is behind this version, whose entry was not there: what is seen later was put later.
    fn is_passed(&mut self, version: u64) -> Result<bool, TableError> {
        if self.table.entry(version + 1)?.is_some() {
            return Ok(true);
        }
        // The next ones may be gone, too.
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Ok(false);
        }
        self.looked = Some(Instant::now());
        Ok(self.table.snapshot(None)?.is_some_and(|last| last.version() >= version))
    }

    /// The files that a version adds, with its time.
    fn added(&mut self, version: u64, actions: Vec<Action>) -> Result<Vec<(Add, i64)>, TableError> {
        let (mut files, mut time) = (Vec::new(), None);
        for action in actions {
            match action {
                Action::CommitInfo(info) => time = info.in_commit_timestamp.or(info.timestamp),
                Action::Protocol(protocol) => self.change(version, Some(&protocol), None)?,
                Action::Metadata(metadata) => self.change(version, None, Some(&metadata))?,
                Action::Add(add) if add.data_change => files.push(add),
                Action::Remove(remove) if remove.data_change => {
                    return Err(self.table.refused(format!(
                        "version {version} takes rows away, which a stream cannot follow; go on behind it under another \
                         `group`, with `version = {}` in [source]",
                        version + 1
                    )));
                }
                _ => {}
            }
        }
        Ok(with_times(files, time))
    }

    /// All files of a version, by their names.
    #[expect(deprecated, reason = "the columns in its place have no names that can be relied on")]
    fn whole(&self, version: u64) -> Result<Vec<(Add, i64)>, TableError> {
        let gone = |error: &dyn Display| {
            self.table.refused(format!(
                "the rows of version {version} can no longer be told ({error}); read the table again under another `group`"
            ))
        };
        let snapshot = self.table.snapshot(Some(version)).map_err(|error| gone(&error))?;
        let snapshot = snapshot.ok_or_else(|| gone(&"there is no table"))?;
        let log = self.table.log().as_ref();
        let mut files: Vec<Add> = self.table.wait::<_, DeltaTableError>(async {
            snapshot.file_views(log, None).map_ok(|file| file.add_action()).try_collect().await
        })?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(with_times(files, None))
    }

    /// Takes note of what the table is from here on.
    fn change(
        &mut self,
        version: u64,
        protocol: Option<&Protocol>,
        metadata: Option<&Metadata>,
    ) -> Result<(), TableError> {
        if let Some(feature) = protocol.and_then(delta::unknown_reading) {
            return Err(self.table.refused(format!(
                "from version {version} on the table asks its readers for {feature}, which this host does not know"
            )));
        }
        if let Some(metadata) = metadata {
            let columns = Columns::new(metadata).map_err(|error| self.table.failed(&error))?;
            self.columns = Some(columns);
        }
        Ok(())
    }
}

/// Files with the time of their version, or where that is not known with their own.
fn with_times(files: Vec<Add>, time: Option<i64>) -> Vec<(Add, i64)> {
    files
        .into_iter()
        .map(|add| {
            let time = time.unwrap_or(add.modification_time);
            (add, time)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_in_the_order_of_the_rows() {
        let at = |version, whole, row| Offset { version, whole, row };
        let offsets = [
            at(0, false, 0),
            at(0, false, MOST),
            at(0, true, 0),
            at(0, true, 7),
            at(1, false, 0),
            at(7, true, MOST),
            at(MOST, false, 1),
        ];
        assert!(offsets.is_sorted_by(|a, b| a.number() < b.number()));
        assert_eq!(offsets.map(|offset| Offset::try_from(offset.number()).unwrap()), offsets);
        assert!(Offset::try_from(-1).is_err());
    }
}
