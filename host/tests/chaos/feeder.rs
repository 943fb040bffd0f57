//! Whoever fills the topic that the host reads, whatever happens to the host.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use host::log::Log;

use super::chance::pass;
use super::input::Input;

/// How many messages are made durable at once.
const CHUNK: u64 = 100;

/// A thread that sends one message of an input after another.
pub struct Feeder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Feeder {
    /// Sends about `rate` messages a second until it is told to end.
    pub fn start(log: &dyn Log, topic: &str, input: Input, rate: u64) -> Self {
        let mut writer = log.writer(topic).expect("the input's topic");
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let thread = std::thread::spawn(move || {
            let (start, mut sent) = (Instant::now(), 0);
            while !asked.load(Ordering::Relaxed) {
                writer.append(&input.batch(sent..sent + CHUNK)).expect("the input takes a message");
                writer.flush().expect("the input is durable");
                sent += CHUNK;
                // A load of so many a second; after an outage it catches up.
                pass((start + Duration::from_secs(sent) / rate as u32).saturating_duration_since(Instant::now()));
            }
            sent
        });
        Self { stop, thread }
    }

    /// Ends it; says how many messages there are.
    pub fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the feeder sent all it was to")
    }
}

/// Sends the first `count` messages at once.
pub fn feed(log: &dyn Log, topic: &str, input: Input, count: u64) {
    let mut writer = log.writer(topic).expect("the input's topic");
    writer.append(&input.batch(0..count)).expect("the input takes a message");
    writer.flush().expect("the input is durable");
}
