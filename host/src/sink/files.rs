//! Files in a directory, each whole under its final name (Invariant 5), and the manifests that name them.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::checkpoint::Checkpoint;
use crate::message::Batch;
use crate::metrics::Counters;
use crate::plugin::Entries;
use crate::sink::{Positions, Sink, SinkError, Step};

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

/// How messages become the content of a file.
pub trait Format: Send {
    /// What the names of files end in, such as `csv`.
    const EXTENSION: &'static str;
    /// The URI's scheme and how errors name the sink, such as `csv`.
    const SCHEME: &'static str;

    /// The beginning of a file.
    fn begin(&mut self, file: &mut Vec<u8>) -> Result<(), String>;

    /// Appends messages. The error says what is wrong with one of them, and gives an excerpt of it.
    fn append(&mut self, batch: &Batch, file: &mut Vec<u8>) -> Result<(), (String, String)>;

    /// The end of a file.
    fn finish(&mut self, _file: &mut Vec<u8>) -> Result<(), String> {
        Ok(())
    }
}

/// Files of one format in a directory, a file for each partition at a time; the checkpoints are in `.apogee` there.
pub struct FileSink<F> {
    format: F,
    rolling: Rolling,
}

impl<F: Format> FileSink<F> {
    pub fn new(_directory: &Path, _group: &str, format: F, rolling: Rolling) -> Result<Self, SinkError> {
        Ok(Self { format, rolling })
    }

    /// Counts the finished files.
    pub fn counting(self, _counters: Counters) -> Self {
        self
    }
}

impl<F: Format> Sink for FileSink<F> {
    fn place(&self) -> String {
        todo!("{:p}", &self.format)
    }

    fn exactly_once(&self) -> bool {
        true
    }

    fn open(&mut self, _partition: i32) -> Result<Option<Checkpoint>, SinkError> {
        todo!()
    }

    fn state(
        &mut self,
        _last: &Checkpoint,
        _each: &mut dyn FnMut(&Entries) -> ControlFlow<()>,
    ) -> Result<(), SinkError> {
        todo!()
    }

    fn write(&mut self, _partition: i32, _batch: &Batch, _first: i64) -> Result<(), SinkError> {
        todo!()
    }

    fn due(&self, since: Instant) -> Instant {
        since + self.rolling.interval
    }

    fn commit(&mut self, _step: Step<'_>) -> Result<Positions, SinkError> {
        todo!()
    }

    fn close(&mut self, _partition: i32) -> Result<(), SinkError> {
        Ok(())
    }
}
