//! What one instance may use at most, and the keeper of memory and tables.

use std::time::Duration;

use wasmtime::ResourceLimiter;

use crate::plugin::error::Reached;

/// Bytes of stack for guest code; the same for all instances, because wasmtime sets it by engine.
pub(super) const STACK: usize = 512 << 10;

/// How often the epoch moves on, and so how exactly the time of a call is kept.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// The most that `memory` can be set to: all that 32 bits can address.
pub const MOST_MEMORY: usize = 4 << 30;

/// The most that `table_elements` can be set to.
pub const MOST_TABLE_ELEMENTS: usize = 1_000_000;

/// The limits of one plugin instance. Every one has a default and can be set in a pipeline file.
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
    /// Lines a minute that go to the host's log, of all instances in a pipeline together; the others are counted and
    /// dropped.
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

impl Limits {
    /// The time of a call, in ticks of the epoch.
    pub(super) fn ticks(&self) -> u64 {
        let ticks = self.call.as_nanos().div_ceil(TICK.as_nanos()) + 1;
        u64::try_from(ticks).unwrap_or(u64::MAX / 2)
    }

    /// The most data that wasmtime may copy out of the guest in one go: what may be put out, with what
    /// the canonical ABI needs for each message (lengths, timestamp, origin, a rejection's header).
    pub(super) fn copied(&self) -> usize {
        const PER_MESSAGE: usize = 64;
        self.output_bytes.saturating_add(self.output_messages.saturating_mul(PER_MESSAGE))
    }
}

/// Counts memory and tables of all core instances of a component together, and refuses what is over.
pub(super) struct Keeper {
    limits: (usize, usize),
    pub memory: usize,
    table_elements: usize,
    /// What was refused: the guest may live on for a while before it gives up.
    pub reached: Option<Reached>,
}

impl Keeper {
    pub fn new(limits: &Limits) -> Self {
        Self { limits: (limits.memory, limits.table_elements), memory: 0, table_elements: 0, reached: None }
    }

    fn refuse(&mut self, reached: Reached) -> wasmtime::Result<bool> {
        self.reached = Some(reached);
        Err(wasmtime::Error::msg(reached.to_string()))
    }
}

impl ResourceLimiter for Keeper {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let asked = self.memory.saturating_add(desired.saturating_sub(current));
        if asked > self.limits.0 {
            return self.refuse(Reached::Memory { asked, limit: self.limits.0 });
        }
        self.memory = asked;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let asked = self.table_elements.saturating_add(desired.saturating_sub(current));
        if asked > self.limits.1 {
            return self.refuse(Reached::TableElements { asked, limit: self.limits.1 });
        }
        self.table_elements = asked;
        Ok(true)
    }
}
