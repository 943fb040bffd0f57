//! Apicurio Registry from its published archive, with its Confluent-compatible interface: for tests and for people. Never
//! a mock. What it knows is gone when it ends.
//!
//! Needs Java 17 and, the first time, Maven.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::kafka::broker::JAVA;
use crate::kafka::jars;
use crate::process::{end, free_ports, spawn_owned, until};
use crate::service::{Process, Service};

const VERSION: &str = "3.0.9";
const POM: &str = include_str!("../registry/pom.xml");
const PARENT: &str = include_str!("../registry/parent.xml");
const START_WITHIN: Duration = Duration::from_secs(90);

/// A registry that dies with its owner.
pub struct Registry {
    _process: Process,
    port: u16,
}

impl Registry {
    /// Starts one on a free port, with its log in `dir`; ready when this returns.
    pub fn start(dir: &Path) -> Result<Self> {
        let [port] = free_ports()?;
        let mut java = spawn_owned(Self::command(dir, port)?, JAVA)?;
        Self::wait_ready(dir, &mut java.child, port)?;
        Ok(Self { _process: Process(Some(java)), port })
    }

    /// Where its `/subjects` begins.
    pub fn url(&self) -> String {
        Self::address(self.port)
    }
}

impl Service for Registry {
    const NAME: &str = "schema registry";
    const FOLDER: &str = "registry";
    const PORT: u16 = 8081;

    fn address(port: u16) -> String {
        format!("http://127.0.0.1:{port}/apis/ccompat/v7")
    }

    fn command(dir: &Path, port: u16) -> Result<Command> {
        let program = jars::fetched(&format!("registry-{VERSION}"), &fetch)?;
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let log = File::create(Self::log_file(dir))?;
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

    /// Until it listens, which it does once it can answer. One whose port is taken ends with an error that says so.
    fn wait_ready(dir: &Path, java: &mut Child, port: u16) -> Result<bool> {
        let mut ended = None;
        let ready = until(START_WITHIN, || {
            ended = java.try_wait()?;
            Ok(ended.is_some() || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
        })?;
        if ready && ended.is_none() {
            return Ok(true);
        }
        end(java);
        let how =
            ended.map_or_else(|| format!("is not ready after {START_WITHIN:?}"), |status| format!("ended: {status}"));
        let said = command::tail(&fs::read(Self::log_file(dir))?);
        bail!("the schema registry {how}; the end of {}:\n{said}", Self::log_file(dir).display())
    }

    fn log_file(dir: &Path) -> PathBuf {
        dir.join("registry.log")
    }

    fn mark(_dir: &Path) -> String {
        "apicurio-registry-app".to_owned()
    }
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
