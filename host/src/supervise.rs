//! Keeps a worker going: a new one in its place each time that it is interrupted. Then what it had under way is undone and
//! done again from the last checkpoint, in the same way as after a crash.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::log::LogError;
use crate::metrics::Counters;
use crate::sink::SinkError;
use crate::source::SourceError;
use crate::stop::Order;

/// How long a worker waits before it starts again from the last checkpoint: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How long a topic that was there may seem not to be.
const GONE: Duration = Duration::from_secs(60);

/// How often in a row the host itself may fail: what fails at the same message each time is not cured by another try.
const PANICS: u32 = 3;

/// The host itself failed, in one thread.
#[derive(Debug, thiserror::Error)]
#[error("the host itself failed (a panic, told above); please report it")]
pub struct Panicked;

/// Calls `work` until it ends well, is not to be tried again, or `order` says stop. `shared` is whether others share the
/// partitions: whoever was paused for long finds out at the sink.
pub fn supervise(
    name: &str,
    counters: &Counters,
    shared: bool,
    order: &dyn Fn() -> Order,
    mut work: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut pause = PAUSE.0;
    let mut panics = 0;
    // Since when a topic seems not to be there, which was when this began.
    let mut missing: Option<Instant> = None;
    loop {
        let start = Instant::now();
        // Nothing of a worker that panicked is used again.
        let result = catch_unwind(AssertUnwindSafe(&mut work)).unwrap_or_else(|_| Err(Panicked.into()));
        let Err(error) = result else { return Ok(()) };
        let went_well = start.elapsed() > PAUSE.1;
        panics = if !error.is::<Panicked>() {
            0
        } else if went_well {
            1
        } else {
            panics + 1
        };
        missing = is_missing(&error).then(|| missing.unwrap_or_else(Instant::now));
        let back_soon = missing.is_some_and(|since| since.elapsed() < GONE);
        let again =
            is_interrupted(&error) || (shared && is_fenced(&error)) || back_soon || (1..PANICS).contains(&panics);
        if !again || matches!(order(), Order::Stop) {
            return Err(error);
        }
        counters.add("interruptions", 1);
        tracing::warn!("{name}: {error:#}; going on from the last checkpoint");
        pause = if went_well { PAUSE.0 } else { PAUSE.1.min(pause * 2) };
        let until = Instant::now() + pause;
        while Instant::now() < until && !matches!(order(), Order::Stop) {
            std::thread::sleep(PAUSE.0.min(pause));
        }
    }
}

/// Whether another host has taken over a partition at the sink.
fn is_fenced(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(SinkError::Fenced { .. })))
}

/// Whether what failed can be done again from the last checkpoint, by a new worker.
pub fn is_interrupted(error: &anyhow::Error) -> bool {
    let sink =
        |cause: &(dyn std::error::Error + 'static)| matches!(cause.downcast_ref(), Some(SinkError::Interrupted { .. }));
    matches!(log_error(error), Some(LogError::Interrupted { .. })) || error.chain().any(sink)
}

/// Whether a topic is not there; for a moment a broker says so of any topic when it comes back.
fn is_missing(error: &anyhow::Error) -> bool {
    matches!(log_error(error), Some(LogError::NoTopic { .. }))
}

/// The error of a log that is behind this one, if any is.
pub fn log_error(error: &anyhow::Error) -> Option<&LogError> {
    error.chain().find_map(|cause| match (cause.downcast_ref(), cause.downcast_ref()) {
        (Some(SinkError::Log(error)), _) | (_, Some(SourceError::Log(error))) => Some(error),
        _ => cause.downcast_ref(),
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_panic_is_an_interruption_but_not_for_ever() {
        let (counters, mut calls) = (Counters::default(), 0);
        let ended = supervise("p", &counters, false, &|| Order::Go, || {
            calls += 1;
            if calls == 1 { panic!("injected") } else { Ok(()) }
        });
        assert!(ended.is_ok() && calls == 2 && counters.get("interruptions") == 1);
        let error = supervise("p", &counters, false, &|| Order::Go, || panic!("injected")).unwrap_err();
        assert!(error.is::<Panicked>(), "{error:#}");
        assert_eq!(counters.get("interruptions"), 3);
    }

    #[test]
    fn what_can_be_done_again_is_known_wherever_it_comes_from() {
        let interrupted = || LogError::Interrupted { log: "kafka://b".into(), error: "fenced".into() };
        let missing = || LogError::NoTopic { topic: "t".into(), log: "kafka://b".into() };
        let everywhere = |error: &dyn Fn() -> LogError| -> [anyhow::Error; 3] {
            [error().into(), SinkError::Log(error()).into(), SourceError::Log(error()).into()]
        };
        for error in everywhere(&interrupted) {
            let error = Err::<(), _>(error).context("the sink").unwrap_err();
            assert!(is_interrupted(&error) && !is_missing(&error), "{error:#}");
        }
        for error in everywhere(&missing) {
            assert!(is_missing(&error) && !is_interrupted(&error), "{error:#}");
        }
        let fenced = SinkError::Fenced { place: "csv:out".into(), what: "taken over".into() }.into();
        assert!(is_fenced(&fenced) && !is_interrupted(&fenced) && !is_fenced(&anyhow::anyhow!("other")));
    }
}
