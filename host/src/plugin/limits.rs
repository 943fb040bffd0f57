//! What one instance may use at most. Every limit has a default and can be set in a pipeline file.

use std::time::Duration;

/// The limits of one plugin instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Bytes of linear memory.
    pub memory: usize,
    /// Elements of all tables together.
    pub table_elements: usize,
    /// Handles to host resources (streams, pollables) at a time.
    pub resources: usize,
    /// Time for one call.
    pub call: Duration,
    /// Messages that one call may put out.
    pub output_messages: usize,
    /// Bytes that one call may put out.
    pub output_bytes: usize,
    /// Lines a minute that go to the host's log; the others are counted and dropped.
    pub log_lines: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            table_elements: 100_000,
            resources: 1_000,
            call: Duration::from_secs(5),
            output_messages: 100_000,
            output_bytes: 64 << 20,
            log_lines: 100,
        }
    }
}
