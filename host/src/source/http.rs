//! Polls an HTTP endpoint: one message for each good reply.

use std::time::Duration;

use crate::metrics::Counters;
use crate::source::{Poll, Source, SourceError};

/// What to poll and what to accept; every bound is set.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub url: url::Url,
    /// From the start of one poll to the start of the next.
    pub every: Duration,
    /// For one poll altogether: connecting, headers, body.
    pub deadline: Duration,
    /// Most bytes of a body as it comes over the network.
    pub max_body: u64,
    /// Most bytes of a body once decompressed.
    pub max_decoded: u64,
    /// JSON pointer of a field whose repeated value makes a reply a duplicate, such as `/timestamp`.
    pub distinct: Option<String>,
}

/// Polls on time, one request at a time; it cannot go back.
pub struct HttpSource {}

impl HttpSource {
    /// Every poll is counted in `counters` as `poll good`, `poll duplicate` or `poll CAUSE`.
    pub fn new(_options: Options, _counters: Counters) -> Result<Self, SourceError> {
        todo!()
    }
}

impl Source for HttpSource {
    fn poll(&mut self, _wait: Duration) -> Result<Poll, SourceError> {
        todo!()
    }
    fn commit(&mut self, _partition: i32, _next: i64) -> Result<(), SourceError> {
        Ok(())
    }
    fn drain(&mut self) -> Result<(), SourceError> {
        todo!()
    }
}

/// One poll before a run starts, so that a source that cannot be reached is told at once.
pub fn probe(_options: &Options) -> Result<(), SourceError> {
    todo!()
}
