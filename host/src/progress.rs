//! How a run goes on: one line on a terminal, a log line every 10 s elsewhere, and the closing
//! summary, all of them from the counters alone.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::metrics::Counters;

/// What [`Stderr`] must make room for.
static LINE: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// How a run shows that it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One line that changes.
    Line,
    /// A log line every 10 s.
    Lines,
    /// Nothing.
    Silent,
}

impl Style {
    /// A line where one can be seen undisturbed, log lines elsewhere.
    pub fn fitting(writes_to_stdout: bool) -> Self {
        let disturbed = writes_to_stdout && io::stdout().is_terminal();
        if io::stderr().is_terminal() && !disturbed { Self::Line } else { Self::Lines }
    }
}

/// Shows the counters of some pipelines until it is dropped.
pub struct Progress {
    thread: Option<JoinHandle<()>>,
    ended: Option<Sender<()>>,
}

impl Progress {
    pub fn start(pipelines: Vec<(String, Counters)>, style: Style) -> io::Result<Self> {
        let (ended, end) = channel();
        let thread = std::thread::Builder::new().name("progress".to_owned());
        let thread = match style {
            Style::Silent => None,
            Style::Line => Some(thread.spawn(move || line(&pipelines, &end))?),
            Style::Lines => Some(thread.spawn(move || lines(&pipelines, &end))?),
        };
        Ok(Self { thread, ended: Some(ended) })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.ended.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn line(pipelines: &[(String, Counters)], end: &Receiver<()>) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{spinner} {elapsed_precise} {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    *LINE.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
    let start = Instant::now();
    while waited(end, Duration::from_millis(200)) {
        let texts = pipelines
            .iter()
            .map(|(name, counters)| format!("{name}: {}", Totals::of(name, counters).text(start.elapsed())));
        bar.set_message(texts.collect::<Vec<_>>().join("  "));
        bar.tick();
    }
    *LINE.lock().unwrap_or_else(PoisonError::into_inner) = None;
    bar.finish_and_clear();
}

fn lines(pipelines: &[(String, Counters)], end: &Receiver<()>) {
    let start = Instant::now();
    while waited(end, Duration::from_secs(10)) {
        for (name, counters) in pipelines {
            let totals = Totals::of(name, counters);
            tracing::info!("{name}: {}", totals.text(start.elapsed()));
        }
    }
}

/// Waits; `false` once the run has ended.
fn waited(end: &Receiver<()>, time: Duration) -> bool {
    end.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
}

/// What a line has room for.
struct Totals {
    read: u64,
    written: u64,
    rejected: u64,
}

impl Totals {
    /// What the first stage read, the last one wrote, and any rejected.
    fn of(name: &str, counters: &Counters) -> Self {
        let all = counters.snapshot();
        let get = |name: &str| all.get(name).copied();
        let is_rejected = |name: &str| {
            name.starts_with("rejected ")
                || name.split_once(": ").is_some_and(|(_, name)| name.starts_with("rejected "))
        };
        Self {
            read: get(&format!("{name}.1: messages in")).or(get("messages in")).unwrap_or(0),
            written: get("messages out").unwrap_or(0),
            rejected: all.iter().filter(|(name, _)| is_rejected(name)).map(|(_, n)| n).sum(),
        }
    }

    fn text(&self, elapsed: Duration) -> String {
        let rate = self.read as f64 / elapsed.as_secs_f64().max(0.001);
        // A rate of polling is told in tenths, one of a topic is not.
        let rate = if rate < 100.0 { format!("{rate:.1}") } else { format!("{rate:.0}") };
        format!("{} messages in, {} out, {} rejected, {rate}/s", self.read, self.written, self.rejected)
    }
}

/// The closing summary of one pipeline, for a person: totals, then every other counter.
pub fn summary(name: &str, counters: &Counters, elapsed: Duration) -> String {
    let mut text = format!("{name}: {} in {:.1} s", Totals::of(name, counters).text(elapsed), elapsed.as_secs_f64());
    let others: BTreeMap<_, _> =
        counters.snapshot().into_iter().filter(|(name, _)| !name.starts_with("messages ")).collect();
    let width = others.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    for (name, count) in others {
        text.push_str(&format!("\n  {name:width$}  {count}"));
    }
    text
}

/// The same as one line of JSON.
pub fn summary_json(name: &str, counters: &Counters, elapsed: Duration, error: Option<&str>) -> String {
    let seconds = elapsed.as_millis() as f64 / 1_000.0;
    serde_json::json!({ "summary": { "pipeline": name, "seconds": seconds, "counters": counters.snapshot(), "error": error } }).to_string()
}

/// Standard error, with room made by the progress line for what is written.
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = LINE.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match line {
            Some(bar) => bar.suspend(|| io::stderr().write(bytes)),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_everything_by_cause() {
        let counters = Counters::default();
        for (name, n) in [
            ("messages in", 12),
            ("messages out", 9),
            ("rejected not json", 2),
            ("rejected trap", 1),
            ("poll good", 12),
        ] {
            counters.add(name, n);
        }
        let elapsed = Duration::from_secs(4);
        assert_eq!(
            summary("iss", &counters, elapsed),
            "iss: 12 messages in, 9 out, 3 rejected, 3.0/s in 4.0 s\n  poll good          12\n  rejected not json  2\n  rejected trap      1"
        );
        let json: serde_json::Value =
            serde_json::from_str(&summary_json("iss", &counters, elapsed, Some("no broker"))).unwrap();
        assert_eq!(json["summary"]["counters"]["rejected trap"], 1);
        assert_eq!(json["summary"]["error"], "no broker");
    }

    #[test]
    fn what_goes_from_stage_to_stage_counts_once() {
        let counters = Counters::default();
        let first = counters.of_stage("iss.1");
        for (counters, name, n) in [
            (&first, "messages in", 12),
            (&first, "messages out", 10),
            (&first, "rejected by flatten", 2),
            (&counters, "messages in", 10),
            (&counters, "messages out", 1),
            (&counters, "rejected by window-counts", 3),
        ] {
            counters.add(name, n);
        }
        assert_eq!((first.get("messages in"), counters.get("messages in")), (12, 10));
        assert_eq!(
            summary("iss", &counters, Duration::from_secs(4)),
            "iss: 12 messages in, 1 out, 5 rejected, 3.0/s in 4.0 s\n  iss.1: messages in          12\n  \
             iss.1: messages out         10\n  iss.1: rejected by flatten  2\n  rejected by window-counts   3"
        );
    }
}
