//! What a guest writes to its standard output and error: bounded, escaped, and sent to the host's log.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Most bytes of one line that are kept.
const LINE: usize = 1024;
/// How many of the last lines are kept, to be shown when the guest fails.
const TAIL: usize = 5;
const MINUTE: Duration = Duration::from_secs(60);

/// Text from a guest or the network, fit for a terminal and a log: control characters are escaped.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            quoted.extend(character.escape_default());
        } else {
            quoted.push(character);
        }
    }
    quoted
}

/// A guest's text as [`quote`] gives it, and of 1,000 characters at most.
pub(super) fn cut(text: &str) -> String {
    const MOST: usize = 1_000;
    let quoted = quote(text);
    match quoted.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &quoted[..at]),
        None => quoted,
    }
}

/// The log of one instance. Clones are the same log.
#[derive(Clone)]
pub(super) struct GuestLog(Arc<Mutex<State>>);

struct State {
    plugin: String,
    lines_a_minute: u32,
    line: Vec<u8>,
    tail: VecDeque<String>,
    minute: Instant,
    lines: u32,
    dropped: u64,
}

impl GuestLog {
    pub fn new(plugin: &str, lines_a_minute: u32) -> Self {
        Self(Arc::new(Mutex::new(State {
            plugin: plugin.to_owned(),
            lines_a_minute,
            line: Vec::new(),
            tail: VecDeque::new(),
            minute: Instant::now(),
            lines: 0,
            dropped: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last lines, the oldest first.
    pub fn tail(&self) -> Vec<String> {
        let mut state = self.state();
        state.end_line();
        state.tail.iter().cloned().collect()
    }
}

impl State {
    fn write(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|&b| b == b'\n') {
            self.extend(&bytes[..end]);
            self.end_line();
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LINE - self.line.len();
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self) {
        if self.line.is_empty() {
            return;
        }
        let line = quote(&String::from_utf8_lossy(&self.line));
        self.line.clear();
        if self.minute.elapsed() > MINUTE {
            self.report_dropped();
            (self.minute, self.lines) = (Instant::now(), 0);
        }
        if self.lines < self.lines_a_minute {
            self.lines += 1;
            tracing::info!(target: "plugin", "{}: {line}", self.plugin);
        } else {
            self.dropped += 1;
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    fn report_dropped(&mut self) {
        if self.dropped > 0 {
            tracing::warn!(
                target: "plugin",
                "{}: {} log lines dropped; it may write {} a minute (`log_lines` in [plugin.limits])",
                self.plugin, self.dropped, self.lines_a_minute
            );
            self.dropped = 0;
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.end_line();
        self.report_dropped();
    }
}

impl IsTerminal for GuestLog {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestLog {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for this one, and it is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for GuestLog {
    async fn ready(&mut self) {}
}

impl OutputStream for GuestLog {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.state().write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}
