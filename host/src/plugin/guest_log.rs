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

/// How much a plugin has written in this minute: all of its instances together, so that one that fails again and again
/// has no more lines for it. Clones are the same.
#[derive(Clone)]
pub(super) struct Pace(Arc<Mutex<Minute>>);

struct Minute {
    since: Instant,
    lines: u32,
    /// Lines that were not let through, of which plugin, and how many it may write.
    dropped: u64,
    plugin: String,
    most: u32,
}

impl Default for Pace {
    fn default() -> Self {
        let (plugin, most) = (String::new(), 0);
        Self(Arc::new(Mutex::new(Minute { since: Instant::now(), lines: 0, dropped: 0, plugin, most })))
    }
}

impl Pace {
    /// Whether one more line may go to the log; if not, it is counted.
    fn admits(&self, plugin: &str, most: u32) -> bool {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if minute.since.elapsed() > MINUTE {
            minute.report_dropped();
            (minute.since, minute.lines) = (Instant::now(), 0);
        }
        if minute.lines < most {
            minute.lines += 1;
            return true;
        }
        if minute.dropped == 0 {
            (minute.plugin, minute.most) = (plugin.to_owned(), most);
        }
        minute.dropped += 1;
        false
    }
}

impl Minute {
    fn report_dropped(&mut self) {
        if self.dropped > 0 {
            tracing::warn!(
                target: "plugin",
                "{}: {} log lines dropped; it may write {} a minute (`log_lines` in [plugin.limits])",
                self.plugin, self.dropped, self.most
            );
            self.dropped = 0;
        }
    }
}

impl Drop for Minute {
    fn drop(&mut self) {
        self.report_dropped();
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
    pace: Pace,
}

impl GuestLog {
    pub fn new(plugin: &str, lines_a_minute: u32, pace: &Pace) -> Self {
        Self(Arc::new(Mutex::new(State {
            plugin: plugin.to_owned(),
            lines_a_minute,
            line: Vec::new(),
            tail: VecDeque::new(),
            pace: pace.clone(),
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
        if self.pace.admits(&self.plugin, self.lines_a_minute) {
            tracing::info!(target: "plugin", "{}: {line}", self.plugin);
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.end_line();
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
