//! Apicurio Registry from its published archive, with its Confluent-compatible interface: for tests and for people. Never
//! a mock. What it knows is gone when it ends.
//!
//! Needs Java 17 and, the first time, Maven.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::kafka::broker::{JAVA, STOP_WITHIN};
use crate::kafka::jars;
use crate::process::{Owned, end, free_ports, spawn_owned, terminate, until};

const VERSION: &str = "3.0.9";
const POM: &str = include_str!("../registry/pom.xml");
const PARENT: &str = include_str!("../registry/parent.xml");
const START_WITHIN: Duration = Duration::from_secs(90);

/// A registry that dies with its owner.
pub struct Registry {
    java: Owned,
    port: u16,
}

impl Registry {
    /// Starts one on a free port, with its log in `dir`; ready when this returns.
    pub fn start(dir: &Path) -> Result<Self> {
        let [port] = free_ports()?;
        let mut java = spawn_owned(launch(dir, port)?, JAVA)?;
        wait_ready(dir, &mut java.child, port)?;
        Ok(Self { java, port })
    }

    /// Where its `/subjects` begins.
    pub fn url(&self) -> String {
        url(self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        end(&mut self.java.child);
    }
}

/// Starts a registry that stays when this process ends, known by the file `pid` in `dir`; port 0 is a free one.
pub fn start(dir: &Path, port: u16) -> Result<String> {
    if find(dir).is_some() {
        bail!("a registry runs in {} already", dir.display());
    }
    let [free] = free_ports()?;
    let port = if port == 0 { free } else { port };
    let mut java = launch(dir, port)?.process_group(0).spawn().context("cannot start java")?;
    wait_ready(dir, &mut java, port)?;
    fs::write(dir.join("pid"), java.id().to_string())?;
    Ok(url(port))
}

/// Stops the registry that was started in `dir`, and waits for its end.
pub fn stop(dir: &Path) -> Result<()> {
    let pid = find(dir).with_context(|| format!("no registry runs in {}", dir.display()))?;
    terminate(pid)?;
    if !until(STOP_WITHIN, || Ok(find(dir).is_none()))? {
        bail!("process {pid} did not stop within {STOP_WITHIN:?}; see {}", log_file(dir).display());
    }
    Ok(())
}

/// The process of the registry that was started in `dir`; the number may be another program's by now.
fn find(dir: &Path) -> Option<u32> {
    let pid: u32 = fs::read_to_string(dir.join("pid")).ok()?.parse().ok()?;
    let named = command::output(Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()])).ok()?;
    String::from_utf8_lossy(&named).contains("apicurio-registry-app").then_some(pid)
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/apis/ccompat/v7")
}

fn log_file(dir: &Path) -> PathBuf {
    dir.join("registry.log")
}

fn launch(dir: &Path, port: u16) -> Result<Command> {
    let program = jars::fetched(&format!("registry-{VERSION}"), &fetch)?;
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let log = File::create(log_file(dir))?;
    let mut java = Command::new("java");
    java.args(["-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args(["-Dquarkus.http.host=127.0.0.1", "-Dquarkus.management.enabled=false"])
        .arg(format!("-Dquarkus.http.port={port}"))
        .arg("-jar")
        .arg(program.join(format!("apicurio-registry-app-{VERSION}-runner.jar")))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok(java)
}

/// Waits until it listens, which it does once it can answer.
fn wait_ready(dir: &Path, java: &mut Child, port: u16) -> Result<()> {
    let mut ended = None;
    let ready = until(START_WITHIN, || {
        ended = java.try_wait()?;
        Ok(ended.is_some() || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
    })?;
    if ready && ended.is_none() {
        return Ok(());
    }
    end(java);
    let how = ended.map_or_else(|| format!("is not ready after {START_WITHIN:?}"), |status| format!("ended: {status}"));
    let said = command::tail(&fs::read(log_file(dir))?);
    bail!("the schema registry {how}; the end of {}:\n{said}", log_file(dir).display())
}

fn fetch(folder: &Path) -> Result<()> {
    eprintln!("fetching Apicurio Registry {VERSION} with Maven (104 MB, once)");
    let parent = folder.join(format!("parent/io/apicurio/apicurio-registry/{VERSION}"));
    fs::create_dir_all(&parent)?;
    fs::write(parent.join(format!("apicurio-registry-{VERSION}.pom")), PARENT)?;
    let pom = folder.join("pom.xml");
    fs::write(&pom, POM)?;
    let mut maven = Command::new("mvn");
    maven.args(["--quiet", "--batch-mode", "--file"]).arg(&pom).arg("dependency:unpack-dependencies");
    maven.arg(format!("-DoutputDirectory={}", folder.display()));
    command::output(&mut maven).map(drop).context(
        "Apicurio Registry cannot be fetched; see whether Maven Central is reachable, or set SCHEMA_REGISTRY to the URL of a \
         registry of your own",
    )
}
