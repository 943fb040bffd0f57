//! Runs a program to its end and reads what the operating system says that it used.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub struct Used {
    pub wall: Duration,
    /// User and system time of all its threads.
    pub cpu: Duration,
    /// Peak resident memory in bytes.
    pub peak: u64,
}

impl Used {
    /// Messages a second.
    pub fn speed(&self, messages: u64) -> f64 {
        messages as f64 / self.wall.as_secs_f64()
    }

    /// CPU-seconds for a million messages.
    pub fn cpu_per_million(&self, messages: u64) -> f64 {
        self.cpu.as_secs_f64() / messages as f64 * 1e6
    }
}

#[expect(clippy::zombie_processes, reason = "wait4 below is what waits for it")]
pub fn run(mut command: Command) -> Used {
    let start = Instant::now();
    let child = command.stdin(Stdio::null()).spawn().expect("a program that starts");
    let mut status = 0;
    // SAFETY: an all-zero `rusage` is a valid one: it holds integers only.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the two places to write to live until the call returns.
    let waited = unsafe { libc::wait4(child.id().cast_signed(), &raw mut status, 0, &raw mut usage) };
    let wall = start.elapsed();
    assert!(waited > 0 && status == 0, "{command:?} ended with status {status}");
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1_000);
    let unit = if cfg!(target_os = "macos") { 1 } else { 1_024 };
    Used { wall, cpu: time(usage.ru_utime) + time(usage.ru_stime), peak: usage.ru_maxrss as u64 * unit }
}
