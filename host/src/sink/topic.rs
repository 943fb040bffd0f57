//! Messages into a topic of either log.
//!
//! It does not choose partitions nor create the topic: the log's writer does the one, the run the other.

use std::time::{Duration, Instant};

use crate::log::Writer;
use crate::message::Batch;
use crate::sink::{Sink, SinkError};

/// Commits are due this long after the first message since the last one …
const EVERY: Duration = Duration::from_millis(100);
/// … or after so many messages.
const MESSAGES: usize = 10_000;

/// Writes what it is given to one topic.
pub struct TopicSink {
    writer: Box<dyn Writer>,
    written: usize,
    /// When the first message since the last commit came.
    since: Option<Instant>,
}

impl TopicSink {
    pub fn new(writer: Box<dyn Writer>) -> Self {
        Self { writer, written: 0, since: None }
    }
}

impl Sink for TopicSink {
    fn write(&mut self, batch: &Batch, _offset: i64) -> Result<(), SinkError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.writer.append(batch)?;
        self.written += batch.len();
        self.since.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn due(&self, now: Instant) -> bool {
        self.written >= MESSAGES || self.since.is_some_and(|since| now.duration_since(since) >= EVERY)
    }

    fn commit(&mut self) -> Result<(), SinkError> {
        self.writer.flush()?;
        self.written = 0;
        self.since = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Log;
    use crate::log::embedded::Embedded;

    #[test]
    fn is_due_by_time_or_number_and_visible_after_commit() {
        let folder = tempfile::tempdir().unwrap();
        let log = Embedded::open(&folder.path().join("log.sqlite")).unwrap();
        log.create_topic("t", 1).unwrap();
        let mut sink = TopicSink::new(log.writer("t").unwrap());
        let later = || Instant::now() + EVERY;
        assert!(!sink.due(later()), "nothing is written");
        let mut batch = Batch::new();
        batch.push(None, Some(b"1"), 1);
        let before = Instant::now();
        sink.write(&batch, 0).unwrap();
        assert!(!sink.due(before) && sink.due(later()));
        assert_eq!(log.read("t", 0, 0, 9).unwrap().batch.len(), 0);
        sink.commit().unwrap();
        assert!(!sink.due(later()), "all is committed");
        assert_eq!(log.read("t", 0, 0, 9).unwrap().batch.len(), 1);
        for _ in 0..MESSAGES {
            sink.write(&batch, 0).unwrap();
        }
        assert!(sink.due(before));
    }
}
