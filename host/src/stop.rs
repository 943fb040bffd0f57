//! How a run is asked to end: once for "finish what is in hand", by a signal, a time or an end of input.
//!
//! A run that does not end in time is ended: who sends SIGTERM sends SIGKILL not much later, and
//! then nobody would say what happened.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};

/// From the first signal to the end of the process, at most.
const GRACE: Duration = Duration::from_millis(4_500);

/// How long after the first signal another one is taken for the same: wrappers such as `timeout`
/// pass on what the terminal has already sent to the whole process group.
const ECHO: Duration = Duration::from_millis(200);

/// How often a stop is looked for where there is nothing else to do.
const LOOK: Duration = Duration::from_millis(20);

/// The shell's code for a program that an interrupt ended.
const INTERRUPTED: i32 = 128 + SIGINT;

/// A request to stop that any thread can make and every loop looks at.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns when it is requested.
    pub fn wait(&self) {
        while !self.requested() {
            std::thread::sleep(LOOK);
        }
    }
}

/// What a loop is told from outside.
pub enum Order {
    Go,
    /// Hand out what is there, then end.
    Drain,
    /// End with what is in hand.
    Stop,
}

/// SIGINT and SIGTERM as requests to stop, until this is dropped.
///
/// A SIGINT some time after the first signal (0.2 s) ends the process at once.
pub struct OnSignal {
    signals: Handle,
    thread: Option<JoinHandle<()>>,
    /// Dropped to tell the watchdog that the run has ended.
    ended: Option<Sender<()>>,
}

impl OnSignal {
    pub fn request(stops: Vec<Stop>) -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        flag::register_conditional_shutdown(SIGINT, INTERRUPTED, asked.clone())?;
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let handle = signals.handle();
        let (ended, end) = channel();
        let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            if signals.forever().next().is_some() {
                tracing::info!("stopping: finishing what is in hand (a second Ctrl-C ends at once)");
                stops.iter().for_each(Stop::request);
                watch(&end, &asked);
            }
        })?;
        Ok(Self { signals: handle, thread: Some(thread), ended: Some(ended) })
    }
}

/// Lets a second interrupt through, and ends the process when the run has not ended in time.
fn watch(end: &Receiver<()>, asked: &AtomicBool) {
    let running = |time| end.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
    if !running(ECHO) {
        return;
    }
    asked.store(true, Ordering::Relaxed);
    if running(GRACE - ECHO) {
        let text = "error: the run did not end within 4.5 s of the signal and was cut off; \
                    the next run reads again what was not committed, except what was polled with --via none";
        // Nobody is left to tell when standard error is gone too.
        let _ = writeln!(io::stderr(), "{text}");
        std::process::exit(1);
    }
}

impl Drop for OnSignal {
    fn drop(&mut self) {
        self.signals.close();
        drop(self.ended.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
