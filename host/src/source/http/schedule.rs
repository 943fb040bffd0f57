//! When the next poll is due: on a tick of a schedule that never drifts, later after failures.
//!
//! Polls start on ticks only, and ticks that pass are skipped, not made up. It runs on the monotonic
//! clock, so that setting the machine's clock does not touch it.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

/// The longest wait that failures alone can lead to, unless the period is longer.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// The shortest period: the resolution of the timers.
const MIN_PERIOD: Duration = Duration::from_millis(1);

/// The ticks, and how many polls in a row have failed.
pub struct Schedule {
    every: Duration,
    due: Instant,
    /// Present after a failure.
    backoff: Option<ExponentialBackoff>,
}

impl Schedule {
    /// The first tick is `now`.
    pub fn new(every: Duration, now: Instant) -> Self {
        Self { every: every.max(MIN_PERIOD), due: now, backoff: None }
    }

    /// When the next poll starts.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// The poll that was due has come to a good end at `now`. Gives the number of ticks missed.
    pub fn succeeded(&mut self, now: Instant) -> u64 {
        self.backoff = None;
        self.advance(now)
    }

    /// The poll that was due has failed at `now`, and the server asks to wait `retry_after`.
    /// Where it does not ask: one failure alone costs nothing, from the second in a row on the wait
    /// doubles. Gives the number of ticks missed.
    pub fn failed(&mut self, now: Instant, retry_after: Option<Duration>) -> u64 {
        let longest = self.longest();
        let pause = match &mut self.backoff {
            Some(backoff) => backoff.next().unwrap_or(longest).min(longest),
            none => {
                *none = Some(exponential(self.every, longest));
                Duration::ZERO
            }
        };
        self.advance(now + retry_after.unwrap_or(pause))
    }

    fn longest(&self) -> Duration {
        MAX_BACKOFF.max(self.every)
    }

    /// Moves to the first tick that is not before `earliest`, but at least to the next one.
    fn advance(&mut self, earliest: Instant) -> u64 {
        let ahead = earliest.saturating_duration_since(self.due).as_nanos();
        let ticks = ahead.div_ceil(self.every.as_nanos()).max(1);
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        self.due += self.every.saturating_mul(ticks);
        u64::from(ticks - 1)
    }
}

/// Waits that double from `every` on, each up to twice as long by chance, so that many hosts that
/// lost one server do not come back to it together.
fn exponential(every: Duration, longest: Duration) -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(every)
        .with_factor(2.0)
        .with_max_delay(longest)
        .without_max_times()
        .with_jitter()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_slow_poll_misses_ticks_and_the_next_is_on_time() {
        let start = Instant::now();
        let mut schedule = Schedule::new(SECOND, start);
        assert_eq!(schedule.due(), start);
        assert_eq!(schedule.succeeded(start + SECOND / 10), 0);
        assert_eq!(schedule.due(), start + SECOND);
        assert_eq!(schedule.succeeded(start + SECOND * 35 / 10), 2);
        assert_eq!(schedule.due(), start + SECOND * 4);
        assert_eq!(schedule.failed(start + SECOND * 45 / 10, None), 0, "a timeout alone delays nothing");
        assert_eq!(schedule.due(), start + SECOND * 5);
    }

    #[test]
    fn failures_in_a_row_back_off_up_to_a_minute_and_a_success_ends_it() {
        let mut schedule = Schedule::new(SECOND, Instant::now());
        let mut gaps = Vec::new();
        for _ in 0..10 {
            let due = schedule.due();
            let missed = schedule.failed(due, None);
            let gap = schedule.due() - due;
            assert_eq!(u128::from(missed) + 1, gap.as_millis() / 1000, "every tick is a poll or missed");
            gaps.push(gap.as_secs());
        }
        assert_eq!(gaps[0], 1);
        for (n, gap) in gaps[1..].iter().enumerate() {
            let base = (1 << n).min(60);
            assert!((base..=(base * 2).min(60)).contains(gap), "wait {n} of {gaps:?}");
        }
        let due = schedule.due();
        schedule.succeeded(due);
        let due = schedule.due();
        schedule.failed(due, None);
        assert_eq!(schedule.due(), due + SECOND);
    }

    #[test]
    fn retry_after_is_honoured_but_never_polls_faster() {
        let mut schedule = Schedule::new(SECOND * 5, Instant::now());
        let due = schedule.due();
        assert_eq!(schedule.failed(due, Some(SECOND * 11)), 2);
        assert_eq!(schedule.due(), due + SECOND * 15);
        assert_eq!(schedule.failed(due + SECOND * 15, Some(Duration::ZERO)), 0);
        assert_eq!(schedule.due(), due + SECOND * 20);
    }
}
