//! Taking more than is given: time, memory, stack, handles, the log.

use std::hint::black_box;
use std::io::Write;

use crate::apogee::plugin::messages::{Batch, Output};
use crate::lie;

/// Never returns.
pub fn time() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Takes memory a MiB at a time, and writes to all of it.
pub fn memory() -> ! {
    let mut taken = Vec::new();
    loop {
        taken.push(black_box(vec![0xA5_u8; 1 << 20]));
    }
}

/// Deeper at each call, with something on the stack that cannot be optimised away.
pub fn stack(depth: u64) -> String {
    let frame = black_box([depth; 64]);
    let deeper = if black_box(true) { stack(depth + 1) } else { String::new() };
    format!("{deeper}{}", frame[black_box(0)])
}

/// Pollables, never given back.
pub fn handles() -> ! {
    loop {
        black_box(());
        #[cfg(target_family = "wasm")]
        std::mem::forget(wasip2::clocks::monotonic_clock::subscribe_duration(u64::MAX));
    }
}

/// Output streams, never given back.
pub fn streams() -> ! {
    loop {
        black_box(());
        #[cfg(target_family = "wasm")]
        std::mem::forget(wasip2::cli::stdout::get_stdout());
    }
}

/// So many random bytes at once; says how many came.
pub fn random(bytes: u64) -> String {
    #[cfg(target_family = "wasm")]
    let bytes = wasip2::random::random::get_random_bytes(bytes).len();
    format!("{bytes} bytes")
}

/// Writes a long line to stderr and so many that are red and have a bell, then behaves.
pub fn log(lines: u64, batch: Batch) -> Output {
    let mut stderr = std::io::stderr().lock();
    // A host that takes no more is as good as one that takes all.
    let _ = writeln!(stderr, "{}", "long".repeat(2_000));
    for line in 0..lines {
        let _ = writeln!(stderr, "\x1b[31mflood\x07\x1b[2J line {line}");
    }
    lie::echo(batch)
}
