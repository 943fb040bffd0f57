//! Who of a line's threads may go on, and who is to end: each after the one that it reads from, and none when nobody is left
//! to read what it writes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::config::Until;
use crate::stop::{Order, Stop};

/// How often a pipeline that waits to be asked looks whether it was.
const BEGINNING: Duration = Duration::from_millis(10);

/// Who may go on: each thread of a line after the one that it reads from and the ones that read from it.
pub struct Flow<'a> {
    stop: &'a Stop,
    until: &'a Until,
    /// From when the first one has begun.
    ends: OnceLock<Ends<'a>>,
    /// For each thread of the line.
    ended: Vec<AtomicBool>,
    /// Whether one has ended before its end.
    failed: AtomicBool,
}

impl<'a> Flow<'a> {
    pub fn new(stop: &'a Stop, until: &'a Until, threads: usize) -> Self {
        let ended = (0..threads).map(|_| AtomicBool::new(false)).collect();
        Self { stop, until, ends: OnceLock::new(), ended, failed: AtomicBool::new(false) }
    }

    /// Waits until the first one may begin; `false` where it was stopped before, or another one has failed.
    pub fn begin(&self, may_begin: impl Fn() -> bool) -> bool {
        let over = || self.stop.requested() || self.failed.load(Ordering::Acquire);
        while !may_begin() && !over() {
            std::thread::sleep(BEGINNING);
        }
        !over() || may_begin()
    }

    /// What the thread in this place of the line is to do next.
    pub fn order(&self, place: usize) -> Order {
        let ended = |place: &AtomicBool| place.load(Ordering::Acquire);
        // Before the rest: what has failed, or was stopped, is known to be so when it is seen to have ended.
        let before = place.checked_sub(1).map(|before| ended(&self.ended[before]));
        // Nobody is left to take what this one would give; or what is there waits for the next run. What comes after
        // one that failed has not come to its end: it is not to close its windows.
        let waits = self.stop.requested() || self.failed.load(Ordering::Acquire);
        if self.ended[place + 1..].iter().any(ended) || (place > 0 && waits) {
            return Order::Stop;
        }
        match before {
            None => self.ends.get_or_init(|| Ends::new(self.until, self.stop)).order(),
            Some(true) => Order::Drain,
            Some(false) => Order::Go,
        }
    }
}

/// Says at its end, whichever way that comes, that a thread has ended, and how.
pub struct Ending<'a> {
    pub flow: &'a Flow<'a>,
    pub place: usize,
    pub well: bool,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.flow.failed.fetch_or(!self.well, Ordering::AcqRel);
        self.flow.ended[self.place].store(true, Ordering::Release);
    }
}

/// When the first source of a line ends.
struct Ends<'a> {
    stop: &'a Stop,
    at: Option<Instant>,
    at_end: bool,
}

impl<'a> Ends<'a> {
    fn new(until: &Until, stop: &'a Stop) -> Self {
        let at = match until {
            Until::Elapsed(duration) => Instant::now().checked_add(*duration),
            Until::End | Until::Stopped => None,
        };
        Self { stop, at, at_end: *until == Until::End }
    }

    fn order(&self) -> Order {
        if self.stop.requested() || self.at.is_some_and(|at| at <= Instant::now()) {
            Order::Stop
        } else if self.at_end {
            Order::Drain
        } else {
            Order::Go
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_to_be_asked_does_not_wait_for_what_has_failed() {
        let stop = Stop::default();
        let flow = Flow::new(&stop, &Until::End, 2);
        drop(Ending { flow: &flow, place: 1, well: false });
        assert!(!flow.begin(|| false));
        assert!(flow.begin(|| true));
    }

    #[test]
    fn what_follows_upon_a_failure_stops_and_does_not_come_to_its_end() {
        let stop = Stop::default();
        for (well, drains) in [(true, true), (false, false)] {
            let flow = Flow::new(&stop, &Until::End, 3);
            assert!(matches!(flow.order(1), Order::Go));
            drop(Ending { flow: &flow, place: 0, well });
            assert_eq!(matches!(flow.order(1), Order::Drain), drains);
            assert_eq!(matches!(flow.order(1), Order::Stop), !drains);
            assert_eq!(matches!(flow.order(2), Order::Stop), !drains);
        }
    }
}
