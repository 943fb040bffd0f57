//! What a scenario leaves to chance, from a seed that it prints; and how long it goes on.

use std::time::Duration;

use fastrand::Rng;

pub struct Chance {
    pub seed: u64,
    /// `CHAOS_LONG`: the form that `cargo xtask chaos` runs, not the one among the tests.
    long: bool,
    rng: Rng,
}

impl Chance {
    /// Of a scenario, with `CHAOS_SEED` or else one of its own.
    pub fn of(scenario: &str) -> Self {
        let seed = match std::env::var("CHAOS_SEED") {
            Ok(seed) => seed.parse().expect("CHAOS_SEED is a whole number"),
            Err(_) => u64::from(fastrand::u32(..)),
        };
        println!("{scenario}: again with: cargo xtask chaos {scenario} --seed {seed}");
        Self { seed, long: std::env::var_os("CHAOS_LONG").is_some(), rng: Rng::with_seed(seed) }
    }

    /// How much of something there is in the short and in the long form.
    pub fn scale<T>(&self, short: T, long: T) -> T {
        if self.long { long } else { short }
    }

    pub fn index(&mut self, length: usize) -> usize {
        self.rng.usize(..length)
    }

    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: u32) -> bool {
        self.rng.u32(..n) == 0
    }

    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        self.rng.shuffle(things);
    }

    /// Lets up to `most` pass. There is no condition to wait for: that it is just any moment is what is tested.
    pub fn pass(&mut self, most: Duration) -> Duration {
        let time = most.mul_f64(self.rng.f64());
        pass(time);
        time
    }
}

/// Lets time pass where that is the fault: how long it lasts, or that it comes at any moment. All else in the tests waits
/// for a condition.
pub fn pass(time: Duration) {
    std::thread::sleep(time);
}
