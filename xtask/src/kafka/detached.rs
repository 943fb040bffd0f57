//! A broker that outlives the program that started it: what `cargo xtask kafka start` leaves running.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::broker::{Ports, STOP_WITHIN, format, launch, log_file, settings_file, wait_ready};
use crate::command;
use crate::process::{free_ports, terminate, until};

/// A broker that outlives the process that started it, known by the files `pid` and `address` in its folder.
pub struct Detached {
    pub address: String,
    pub pid: u32,
}

impl Detached {
    /// Starts a broker that stays when this process ends; port 0 is a free one.
    pub fn start(dir: &Path, port: u16) -> Result<Self> {
        if let Some(detached) = Self::find(dir) {
            bail!("a broker runs in {} already, on {}, process {}", dir.display(), detached.address, detached.pid);
        }
        let [mut client, controller] = free_ports()?;
        if port != 0 {
            client = port;
        }
        format(dir, Ports { client, controller, proxied: None })?;
        let mut java = launch(dir)?.process_group(0).spawn().context("cannot start java")?;
        let address = format!("127.0.0.1:{client}");
        if !wait_ready(dir, &mut java, client)? {
            bail!("port {client} is taken; choose another with --port, or 0 for any");
        }
        fs::write(dir.join("pid"), java.id().to_string())?;
        fs::write(dir.join("address"), &address)?;
        Ok(Self { address, pid: java.id() })
    }

    /// The broker that runs with its data in `dir`.
    pub fn find(dir: &Path) -> Option<Self> {
        let pid: u32 = fs::read_to_string(dir.join("pid")).ok()?.parse().ok()?;
        let address = fs::read_to_string(dir.join("address")).ok()?;
        // The number may be another program's by now.
        let named = command::output(Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()])).ok()?;
        let ours = String::from_utf8_lossy(&named).contains(&*settings_file(dir).to_string_lossy());
        ours.then_some(Self { address, pid })
    }

    /// Stops it and waits for its end.
    pub fn stop(&self, dir: &Path) -> Result<()> {
        terminate(self.pid)?;
        if !until(STOP_WITHIN, || Ok(Self::find(dir).is_none()))? {
            bail!("process {} did not stop within {STOP_WITHIN:?}; see {}", self.pid, log_file(dir).display());
        }
        Ok(())
    }
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
        assert!(Detached::find(&dir).is_none());
        fs::remove_dir_all(dir).unwrap();
    }
}
