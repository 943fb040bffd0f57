//! How long calls take: a histogram of a fixed size, exact to an eighth.

use std::time::Duration;

use super::Cost;

/// Durations by their order of magnitude in nanoseconds, eight steps to each doubling.
#[derive(Debug, Clone, Default)]
pub(super) struct Latency {
    /// How many calls fell into each step; as long as the slowest needs.
    calls: Vec<u64>,
    count: u64,
    messages: u64,
    nanoseconds: u64,
}

impl Latency {
    pub fn add(&mut self, messages: usize, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let step = step(nanoseconds);
        if self.calls.len() <= step {
            self.calls.resize(step + 1, 0);
        }
        self.calls[step] += 1;
        self.count += 1;
        self.messages += messages as u64;
        self.nanoseconds = self.nanoseconds.saturating_add(nanoseconds);
    }

    pub fn tell(&self, cost: &mut Cost) {
        cost.ns_per_message = self.nanoseconds as f64 / self.messages.max(1) as f64;
        cost.call_p50 = self.quantile(0.5);
        cost.call_p99 = self.quantile(0.99);
    }

    /// Microseconds that so large a share of the calls took at most.
    fn quantile(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        let reached = self.calls.iter().position(|calls| {
            seen += calls;
            seen >= wanted.max(1)
        });
        reached.map_or(0.0, |step| middle(step) / 1_000.0)
    }
}

fn step(nanoseconds: u64) -> usize {
    match nanoseconds.checked_ilog2() {
        Some(order @ 3..) => (order as usize - 2) * 8 + ((nanoseconds >> (order - 3)) & 7) as usize,
        _ => nanoseconds as usize,
    }
}

/// The middle of a step, in nanoseconds.
fn middle(step: usize) -> f64 {
    match (step / 8, step % 8) {
        (0, small) => small as f64,
        (order, part) => (8.5 + part as f64) * 2_f64.powi(order as i32 - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_an_eighth() {
        for scale in [1_u64, 1_000, 1_000_000] {
            let mut latency = Latency::default();
            (1..=1_000).for_each(|i| latency.add(10, Duration::from_nanos(i * scale)));
            for (share, exact) in [(0.5, 500), (0.99, 990)] {
                let (found, exact) = (latency.quantile(share) * 1_000.0, (exact * scale) as f64);
                assert!((found - exact).abs() <= exact / 8.0, "{share} of {scale}: {found} for {exact}");
            }
        }
        let mut latency = Latency::default();
        latency.add(0, Duration::MAX);
        assert!(latency.quantile(0.5) > 1e15 && latency.calls.len() <= 512);
        assert_eq!(Latency::default().quantile(0.99), 0.0);
    }
}
