//! Topics, positions, checkpoints and state in one SQLite file, so that nothing needs to be installed.
//!
//! Several processes may have the file open, and any SQLite tool can look into it. It refuses files of
//! other programs and later versions, and a second reader of the same group and topic: embedded groups
//! do not spread over processes, Kafka's do.

mod file;
mod lock;
mod reader;
pub(crate) mod store;
pub(crate) mod table;
pub(crate) mod writer;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use crate::checkpoint::Position;
use crate::log::{Log, LogError, READ_BYTES, Reading, Topic, Writer, check_name};
use crate::message::Fetch;
use crate::source::Source;
use file::Shared;

/// How the embedded log is called in what a person types: `kafka:///TOPIC`.
const NAME: &str = "kafka://";

/// The embedded log. Clones share one database.
#[derive(Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
}

/// A topic's row.
#[derive(Debug, Clone, Copy)]
struct TopicRow {
    id: i64,
    partitions: u32,
}

impl TopicRow {
    fn find(c: &Connection, name: &str) -> rusqlite::Result<Option<Self>> {
        c.prepare_cached("SELECT id, partitions FROM topics WHERE name = ?1")?
            .query_row([name], |row| Ok(Self { id: row.get(0)?, partitions: row.get(1)? }))
            .optional()
    }

    /// Creates a topic where it is absent; says whether it did.
    fn create(c: &Connection, name: &str, partitions: u32) -> rusqlite::Result<bool> {
        let sql = "INSERT OR IGNORE INTO topics (name, partitions) VALUES (?1, ?2)";
        Ok(c.execute(sql, params![name, partitions])? == 1)
    }

    fn describe(self, c: &Connection, name: String) -> rusqlite::Result<Topic> {
        let partitions = (0..self.partitions as i32).map(|p| file::bounds(c, self.id, p));
        Ok(Topic { name, partitions: partitions.collect::<Result<_, _>>()? })
    }
}

impl Embedded {
    /// Opens the file, creating it and its folder when absent.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        Ok(Self { shared: Arc::new(Shared::open(path)?) })
    }

    /// What tells this log from all others: offsets mean nothing in another one.
    pub fn name(&self) -> Result<String, LogError> {
        self.shared.read(|c| c.query_row("SELECT name FROM log", [], |row| row.get(0)))
    }

    /// Where `group` goes on reading `source` (a URI of something that is not a topic, such as a file).
    pub fn position(&self, group: &str, source: &str) -> Result<Option<Position>, LogError> {
        self.shared.read(|c| {
            c.prepare_cached("SELECT next, place FROM source_positions WHERE grp = ?1 AND source = ?2")?
                .query_row(params![group, source], reader::position)
                .optional()
        })
    }

    pub fn set_position(&self, group: &str, source: &str, position: &Position) -> Result<(), LogError> {
        self.shared.write(|t| {
            t.execute(
                "INSERT OR REPLACE INTO source_positions (grp, source, next, place) VALUES (?1, ?2, ?3, ?4)",
                params![group, source, position.next, position.place],
            )?;
            Ok(())
        })
    }

    /// Makes the holder of the file the only reader of `source` as `group`, for as long as it lives.
    pub(crate) fn reader_of(&self, group: &str, source: &str) -> Result<File, LogError> {
        lock::take(&self.shared, group, source, source)
    }

    fn topic(&self, topic: &str) -> Result<TopicRow, LogError> {
        check_name(topic)?;
        let row = self.shared.read(|c| TopicRow::find(c, topic))?;
        row.ok_or_else(|| LogError::NoTopic { topic: topic.to_owned(), log: NAME.to_owned() })
    }
}

impl Log for Embedded {
    fn create_topic(&self, topic: &str, partitions: u32) -> Result<bool, LogError> {
        check_name(topic)?;
        let asked = partitions.max(1);
        let created = self.shared.write(|t| TopicRow::create(t, topic, asked))?;
        let actual = self.topic(topic)?.partitions;
        if actual < asked {
            return Err(LogError::Partitions { topic: topic.to_owned(), actual, asked });
        }
        Ok(created)
    }

    /// Nothing is ever forgotten here.
    fn create_compacted(&self, topic: &str, partitions: u32) -> Result<bool, LogError> {
        self.create_topic(topic, partitions)
    }

    fn topics(&self) -> Result<Vec<Topic>, LogError> {
        self.shared.read(|c| {
            let mut statement = c.prepare_cached("SELECT name, id, partitions FROM topics ORDER BY name")?;
            let mut rows = statement.query([])?;
            let mut topics = Vec::new();
            while let Some(row) = rows.next()? {
                let topic = TopicRow { id: row.get(1)?, partitions: row.get(2)? };
                topics.push(topic.describe(c, row.get(0)?)?);
            }
            Ok(topics)
        })
    }

    fn describe(&self, topic: &str) -> Result<Topic, LogError> {
        let row = self.topic(topic)?;
        self.shared.read(|c| row.describe(c, topic.to_owned()))
    }

    fn writer(&self, topic: &str) -> Result<Box<dyn Writer>, LogError> {
        let row = self.topic(topic)?;
        Ok(Box::new(writer::EmbeddedWriter::new(self.shared.clone(), row)))
    }

    fn reader(&self, topic: &str, reading: &Reading) -> Result<Box<dyn Source>, LogError> {
        let row = self.topic(topic)?;
        Ok(Box::new(reader::EmbeddedReader::open(self.shared.clone(), topic, row, reading)?))
    }

    fn read(&self, topic: &str, partition: i32, offset: i64, limit: usize) -> Result<Fetch, LogError> {
        let row = self.topic(topic)?;
        if !(0..i64::from(row.partitions)).contains(&i64::from(partition)) {
            let error = format!("topic {topic:?} has no partition {partition}; it has {}", row.partitions);
            return Err(self.shared.broken(error));
        }
        self.shared.read(|c| reader::scan(c, row.id, partition, offset.max(0), i64::MAX, limit, READ_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Batch;

    /// SQLite reports a file that may not grow as it does a full disk.
    #[test]
    fn a_full_disk_is_told_and_leaves_nothing_half_written() {
        let folder = tempfile::tempdir().unwrap();
        let log = Embedded::open(&folder.path().join("log.sqlite")).unwrap();
        log.create_topic("t", 1).unwrap();
        let pages = |count: i64| {
            log.shared.read(|c| c.query_row(&format!("PRAGMA max_page_count = {count}"), [], |_| Ok(()))).unwrap();
        };
        let mut writer = log.writer("t").unwrap();
        let mut batch = Batch::new();
        for _ in 0..100 {
            batch.push(None, Some(&[b'x'; 1000]), 1);
        }
        writer.append(&batch).unwrap();
        pages(20);
        let error = writer.flush().unwrap_err().to_string();
        assert!(error.contains("the disk is full; make room and run again, nothing was half written"), "{error}");
        assert_eq!(log.topics().unwrap()[0].partitions, [(0, 0)]);
        pages(1_000_000);
        writer.flush().unwrap();
        assert_eq!(log.topics().unwrap()[0].partitions, [(0, 100)]);
    }
}
