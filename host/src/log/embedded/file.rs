//! The SQLite file itself: its schema, connections to it, and what its errors mean for a person.
//!
//! A file of another program or of a later version is left as it is and refused; one of an earlier version is
//! brought to this one when it is opened.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};

use crate::log::LogError;

/// Marks the file as ours (`file` and other tools show it): "Apog".
const APPLICATION: i32 = 0x4170_6f67;
/// Of the tables below; a change of them is a new version.
const VERSION: i32 = 2;

/// The tables of version 1. Messages are clustered by partition and offset, so that reading is one run through the file.
/// Headers are rare and stand apart.
const FIRST: &str = r#"
CREATE TABLE topics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL);
CREATE TABLE messages (
    topic INTEGER NOT NULL, partition INTEGER NOT NULL, "offset" INTEGER NOT NULL,
    timestamp INTEGER NOT NULL, key BLOB, value BLOB,
    PRIMARY KEY (topic, partition, "offset")
) WITHOUT ROWID;
CREATE TABLE headers (
    topic INTEGER NOT NULL, partition INTEGER NOT NULL, "offset" INTEGER NOT NULL, place INTEGER NOT NULL,
    name TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (topic, partition, "offset", place)
) WITHOUT ROWID;
CREATE TABLE positions (
    grp TEXT NOT NULL, topic INTEGER NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
    PRIMARY KEY (grp, topic, partition)
) WITHOUT ROWID;
CREATE TABLE source_positions (
    grp TEXT NOT NULL, source TEXT NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (grp, source)
) WITHOUT ROWID;
"#;

/// What version 2 adds: a name of the log that no other has, for which sink's checkpoints a position was committed, and
/// those that are kept here. An owner of a partition has its `epoch` until the next one raises it.
const SECOND: &str = r#"
CREATE TABLE log (name TEXT NOT NULL);
INSERT INTO log VALUES (lower(hex(randomblob(8))));
ALTER TABLE positions ADD COLUMN place TEXT NOT NULL DEFAULT '';
ALTER TABLE source_positions ADD COLUMN place TEXT NOT NULL DEFAULT '';
CREATE TABLE checkpoints (
    id INTEGER PRIMARY KEY, grp TEXT NOT NULL, partition INTEGER NOT NULL, epoch INTEGER NOT NULL, checkpoint TEXT,
    UNIQUE (grp, partition)
);
CREATE TABLE state (
    checkpoint INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (checkpoint, key)
) WITHOUT ROWID;
"#;

/// All of these tables; others in the file are the user's.
pub(super) const TABLES: [&str; 8] =
    ["topics", "messages", "headers", "positions", "source_positions", "log", "checkpoints", "state"];

/// How long a writer waits for one of another process.
const BUSY: Duration = Duration::from_secs(20);

/// How often it looks whether the file is free.
const LOOK: Duration = Duration::from_millis(1);

/// What the readers and writers of one [`super::Embedded`] have in common.
pub(super) struct Shared {
    path: PathBuf,
    /// For short reads, and for all writes: one at a time, so that threads of one process queue here
    /// instead of in SQLite's busy loop.
    connection: Mutex<Connection>,
    /// Counts commits, so that readers in this process wake at once.
    commits: Mutex<u64>,
    committed: Condvar,
}

impl Shared {
    pub(super) fn open(path: &Path) -> Result<Self, LogError> {
        let shown = path.display().to_string();
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|e| LogError::Broken {
                log: format!("embedded log {shown}"),
                error: format!("cannot make its folder: {e}; name another place for the log"),
            })?;
        }
        let connection = connect(path).and_then(|mut c| prepare(&mut c).map(|outcome| outcome.map(|()| c)));
        let connection = connection.map_err(|e| broken(path, &e))?.map_err(|error| named(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            connection: Mutex::new(connection),
            commits: Mutex::new(0),
            committed: Condvar::new(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A connection of one's own, for long reads.
    pub(super) fn connect(&self) -> Result<Connection, LogError> {
        connect(&self.path).map_err(|e| broken(&self.path, &e))
    }

    pub(super) fn read<T>(&self, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, LogError> {
        f(&self.lock()).map_err(|e| broken(&self.path, &e))
    }

    /// Runs `f` in one transaction: all of it is durable afterwards, or nothing of it happened.
    pub(super) fn write<T>(&self, f: impl FnOnce(&Transaction) -> rusqlite::Result<T>) -> Result<T, LogError> {
        let mut connection = self.lock();
        let outcome = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .and_then(|t| f(&t).and_then(|value| t.commit().map(|()| value)));
        drop(connection);
        let value = outcome.map_err(|e| broken(&self.path, &e))?;
        *self.commits.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.committed.notify_all();
        Ok(value)
    }

    /// How often this process has written.
    pub(super) fn commits(&self) -> u64 {
        *self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until this process has written more than `seen` times; no longer than `wait`.
    pub(super) fn wait(&self, seen: u64, wait: Duration) {
        let deadline = Instant::now() + wait;
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        while *commits == seen {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            commits = self.committed.wait_timeout(commits, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn error(&self, error: &rusqlite::Error) -> LogError {
        broken(&self.path, error)
    }

    pub(super) fn broken(&self, error: String) -> LogError {
        named(&self.path, error)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first offset of a partition and the one that the next message gets.
pub(super) fn bounds(c: &Connection, topic: i64, partition: i32) -> rusqlite::Result<(i64, i64)> {
    let first = r#"SELECT min("offset") FROM messages WHERE topic = ?1 AND partition = ?2"#;
    let last = r#"SELECT max("offset") FROM messages WHERE topic = ?1 AND partition = ?2"#;
    let one = |sql| c.prepare_cached(sql)?.query_row(params![topic, partition], |row| row.get::<_, Option<i64>>(0));
    Ok((one(first)?.unwrap_or(0), one(last)?.map_or(0, |last| last + 1)))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open(path)?;
    connection.busy_handler(Some(wait_for_the_lock))?;
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;")?;
    Ok(connection)
}

/// Looks often: SQLite's own way waits longer each time, and a process that writes one message after the other gives the
/// file free for moments only.
fn wait_for_the_lock(times: i32) -> bool {
    std::thread::sleep(LOOK);
    u128::try_from(times).is_ok_and(|times| times < BUSY.as_millis() / LOOK.as_millis())
}

/// Checks that the file is ours, and makes the tables that are missing; the inner error is for a person.
fn prepare(connection: &mut Connection) -> rusqlite::Result<Result<(), String>> {
    if let Some(refusal) = check(connection)? {
        return Ok(Err(refusal));
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let t = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been first.
    let version = number(&t, "user_version")?;
    for (_, tables) in (1..=VERSION).zip([FIRST, SECOND]).filter(|(later, _)| *later > version) {
        t.execute_batch(tables)?;
    }
    if version < VERSION {
        t.pragma_update(None, "application_id", APPLICATION)?;
        t.pragma_update(None, "user_version", VERSION)?;
    }
    t.commit()?;
    Ok(Ok(()))
}

/// Why this file cannot be the log; it is not touched then.
fn check(c: &Connection) -> rusqlite::Result<Option<String>> {
    let (application, version) = (number(c, "application_id")?, number(c, "user_version")?);
    let tables: i64 = c.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application == 0 && version == 0 && tables == 0 {
        return Ok(None);
    }
    if application != APPLICATION {
        return Ok(Some("the file is a database of another program; name another file".to_owned()));
    }
    Ok((!(1..=VERSION).contains(&version)).then(|| {
        format!(
            "the file has version {version} of the log's format and this host reads version {VERSION}; \
             use the host that wrote it, or name another file"
        )
    }))
}

fn number(c: &Connection, pragma: &str) -> rusqlite::Result<i32> {
    c.pragma_query_value(None, pragma, |row| row.get(0))
}

fn named(path: &Path, error: String) -> LogError {
    LogError::Broken { log: format!("embedded log {}", path.display()), error }
}

fn broken(path: &Path, error: &rusqlite::Error) -> LogError {
    let next = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => "the file is not a SQLite database; name another file",
        Some(ErrorCode::DatabaseCorrupt) => {
            "the file is damaged; restore it from a copy, or save what is left with: sqlite3 FILE .recover"
        }
        Some(ErrorCode::DiskFull) => "the disk is full; make room and run again, nothing was half written",
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "the file cannot be opened; check that it is a file and that this user may write it and its folder"
        }
        Some(ErrorCode::ReadOnly) => "the file cannot be written; give this user the right to write it and its folder",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process keeps the file locked; end it, or wait until it is done"
        }
        Some(ErrorCode::ConstraintViolation) => {
            "a row breaks a constraint that was added to the table; drop the index or the trigger and run again, nothing \
             was half written"
        }
        Some(ErrorCode::SystemIoFailure) => "the disk fails; look at the system's log, nothing was half written",
        _ => "the file is not as the host left it; restore it from a copy, or name another file",
    };
    named(path, format!("{next} (SQLite: {error})"))
}
