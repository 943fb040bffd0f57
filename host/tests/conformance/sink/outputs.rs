//! What the checks write to, and how a reader sees it.

use std::path::PathBuf;
use std::time::Duration;

use host::metrics::Counters;
use host::sink::Sink;
use host::sink::csv::{CsvSink, Options};
use host::sink::topic::TopicSink;
use tempfile::TempDir;

use crate::conformance::Topic;

/// How many messages make a commit due, whatever the sink.
pub const FULL: usize = 10_000;

/// Where a sink's messages go. A message is a JSON object with one field, `text`.
pub trait Output {
    fn open(&self) -> Box<dyn Sink>;

    /// The texts that a reader finds, in their order.
    fn visible(&self) -> Vec<String>;
}

/// CSV files in a directory.
pub struct Files(TempDir);

pub fn csv() -> Files {
    Files(tempfile::tempdir().unwrap())
}

impl Files {
    /// The files of output, by the first offsets in their names.
    fn paths(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap());
        let mut found: Vec<(i64, PathBuf)> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                // Hidden files are no output.
                let first = name.strip_suffix(".csv").filter(|name| !name.starts_with('.'))?.rsplit('-').next()?;
                Some((first.parse().unwrap(), entry.path()))
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, path)| path).collect()
    }
}

impl Output for Files {
    fn open(&self) -> Box<dyn Sink> {
        let directory = self.0.path().to_owned();
        // Each row has at least two bytes.
        let size = 2 * FULL as u64;
        let options = Options { directory, every: Duration::from_secs(3600), size, escape_formulas: false };
        Box::new(CsvSink::new(options, vec!["text".to_owned()], 0, Counters::default()))
    }

    fn visible(&self) -> Vec<String> {
        let read = |path: PathBuf| {
            let mut reader = ::csv::Reader::from_path(path).unwrap();
            assert_eq!(reader.headers().unwrap(), ["text"].as_slice());
            let texts: Vec<_> = reader.records().map(|row| row.unwrap()[0].to_owned()).collect();
            assert!(!texts.is_empty(), "a file without rows");
            texts
        };
        self.paths().into_iter().flat_map(read).collect()
    }
}

pub fn embedded_topic() -> Topic {
    Topic::embedded()
}

pub fn kafka_topic() -> Topic {
    Topic::kafka()
}

impl Output for Topic {
    fn open(&self) -> Box<dyn Sink> {
        Box::new(TopicSink::new(self.log.writer(&self.name).unwrap()))
    }

    fn visible(&self) -> Vec<String> {
        let (mut texts, mut next) = (Vec::new(), 0);
        loop {
            let found = self.log.read(&self.name, 0, next, usize::MAX).unwrap();
            if found.batch.is_empty() {
                return texts;
            }
            for value in &found.batch.values {
                let value: serde_json::Value = serde_json::from_slice(value.unwrap()).unwrap();
                texts.push(value["text"].as_str().unwrap().to_owned());
            }
            next = found.next;
        }
    }
}
