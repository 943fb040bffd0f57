//! Services that run beside us: those that end with who started them, and those that a person starts and stops.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::command;
use crate::process::{Owned, end, free_ports, send, terminate, until};

const STOP_WITHIN: Duration = Duration::from_secs(30);

/// A kind of service. All that it writes is in a folder.
pub trait Service {
    /// What errors call it.
    const NAME: &str;
    /// Where a person's own is, in cargo's target folder, and its port, unless they say otherwise.
    const FOLDER: &str;
    const PORT: u16;

    /// How clients name it.
    fn address(port: u16) -> String;

    /// The command that serves at a port.
    fn command(dir: &Path, port: u16) -> Result<Command>;

    /// Waits until it can be asked; `false` when another program has the port.
    fn wait_ready(dir: &Path, child: &mut Child, port: u16) -> Result<bool>;

    fn log_file(dir: &Path) -> PathBuf;

    /// What the command lines of this folder's service have in them, and no others.
    fn mark(dir: &Path) -> String;
}

/// A service that outlives the process that started it, known by the files `pid` and `address` in its folder.
pub struct Detached {
    pub address: String,
    pub pid: u32,
}

impl Detached {
    /// Starts a service that stays when this process ends; port 0 is a free one.
    pub fn start<S: Service>(dir: &Path, port: u16) -> Result<Self> {
        if let Some(Self { address, pid }) = Self::find::<S>(dir) {
            bail!("a {} runs in {} already, at {address}, process {pid}", S::NAME, dir.display());
        }
        let [free] = free_ports()?;
        let port = if port == 0 { free } else { port };
        let mut command = S::command(dir, port)?;
        let mut child = command.process_group(0).spawn().with_context(|| format!("cannot start a {}", S::NAME))?;
        if !S::wait_ready(dir, &mut child, port)? {
            bail!("port {port} is taken; choose another with --port, or 0 for any");
        }
        let (address, pid) = (S::address(port), child.id());
        fs::write(dir.join("pid"), pid.to_string())?;
        fs::write(dir.join("address"), &address)?;
        Ok(Self { address, pid })
    }

    /// The service that runs in `dir`.
    pub fn find<S: Service>(dir: &Path) -> Option<Self> {
        let pid: u32 = fs::read_to_string(dir.join("pid")).ok()?.parse().ok()?;
        let address = fs::read_to_string(dir.join("address")).ok()?;
        // The number may be another program's by now.
        let named = command::output(Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()])).ok()?;
        String::from_utf8_lossy(&named).contains(&S::mark(dir)).then_some(Self { address, pid })
    }

    /// Stops the one that runs in `dir`, and waits for its end.
    pub fn stop<S: Service>(dir: &Path) -> Result<()> {
        let running = || Self::find::<S>(dir);
        let Self { pid, .. } = running().with_context(|| format!("no {} runs in {}", S::NAME, dir.display()))?;
        terminate(pid)?;
        if !until(STOP_WITHIN, || Ok(running().is_none()))? {
            bail!("process {pid} did not stop within {STOP_WITHIN:?}; see {}", S::log_file(dir).display());
        }
        Ok(())
    }
}

/// The process of a service that ends with who started it; none while it is stopped.
#[derive(Default)]
pub(crate) struct Process(pub Option<Owned>);

impl Process {
    pub fn pid(&self) -> Option<u32> {
        self.0.as_ref().map(|running| running.child.id())
    }

    pub fn send(&self, signal: Signal) -> Result<()> {
        send(self.pid().context("the service is not running")?, signal)
    }

    /// Stops it as its operator would (SIGTERM); an error when it had to be killed.
    pub fn stop(&mut self) -> Result<()> {
        let Some(running) = &mut self.0 else { return Ok(()) };
        terminate(running.child.id())?;
        let ended = until(STOP_WITHIN, || Ok(running.child.try_wait()?.is_some()))?;
        self.kill();
        anyhow::ensure!(ended, "it did not stop within {STOP_WITHIN:?} and was killed");
        Ok(())
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.0.take() {
            end(&mut running.child);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The first folder `NAME-N` of `parent` that no living process uses, emptied, and what is held as long as it is used.
pub(crate) fn scratch(parent: &Path, name: &str) -> Result<(PathBuf, File)> {
    fs::create_dir_all(parent)?;
    for n in 0..100 {
        let lock = File::create(parent.join(format!("{name}-{n}.lock")))?;
        if lock.try_lock().is_err() {
            continue;
        }
        let dir = parent.join(format!("{name}-{n}"));
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        return Ok((dir, lock));
    }
    bail!("a hundred services are running in {}", parent.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_number_that_is_another_programs_by_now_is_not_our_broker() {
        let dir = crate::target().join("tmp").join(format!("detached-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("address"), "127.0.0.1:9092").unwrap();
        fs::write(dir.join("pid"), std::process::id().to_string()).unwrap();
        assert!(Detached::find::<crate::kafka::Broker>(&dir).is_none());
        fs::remove_dir_all(dir).unwrap();
    }
}
