//! Processes that are started for others to use: they end with who started them.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

pub(crate) struct Owned {
    pub child: Child,
    /// Ends the thread that started it, see [`spawn_owned`].
    _thread: mpsc::Sender<()>,
}

/// Ports that were free a moment ago. All are held at once, so they differ.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut held = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Starts a program such that Linux kills it when this process ends, however it ends.
///
/// The signal comes when the *thread* that started the child ends, and a test's thread ends before its process:
/// so a thread of its own starts it and stays until the sender is dropped.
pub(crate) fn spawn_owned(mut command: Command, cannot: &'static str) -> Result<Owned> {
    #[cfg(target_os = "linux")]
    {
        let parent = rustix::process::getpid();
        // SAFETY: between fork and exec the closure makes two system calls; it neither allocates nor takes a lock.
        unsafe {
            command.pre_exec(move || {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                // The parent may have ended before the call above.
                match rustix::process::getppid() == Some(parent) {
                    true => Ok(()),
                    false => Err(rustix::io::Errno::SRCH.into()),
                }
            });
        }
    }
    let (child, started) = mpsc::channel();
    let (keep, kept) = mpsc::channel::<()>();
    thread::Builder::new().name("owner".into()).spawn(move || {
        let sent = child.send(command.spawn());
        if sent.is_ok() {
            let _ = kept.recv();
        }
    })?;
    let started = started.recv().context("the thread that starts a program ended")?;
    Ok(Owned { child: started.context(cannot)?, _thread: keep })
}

/// Looks every 50 ms whether it is `done`; `false` when the time is over first.
pub(crate) fn until(time: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<bool> {
    let deadline = Instant::now() + time;
    while !done()? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(true)
}

pub(crate) fn terminate(pid: u32) -> Result<()> {
    send(pid, Signal::TERM)
}

pub(crate) fn send(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("not a process number")?;
    kill_process(pid, signal).with_context(|| format!("cannot signal process {}", pid.as_raw_nonzero()))
}

/// kill -9. It fails only for a process that has ended.
pub(crate) fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_differ() {
        let [a, b, c] = free_ports().unwrap();
        assert!(a != b && b != c && c != a && a != 0 && b != 0 && c != 0);
    }
}
