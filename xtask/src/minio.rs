//! MinIO: an S3 service on loopback, for tests and for people. Never a mock.
//!
//! The program is the one that the variable `MINIO` names; else it is built, once, with `go install` into cargo's target
//! folder. A bucket, [`BUCKET`], is there from the start.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::command;
use crate::process::{end, free_ports, spawn_owned, until};
use crate::service::{Process, Service, scratch};

/// The keys of every service that is started here, and its one bucket.
pub const ACCESS_KEY: &str = "apogee-tests";
pub const SECRET_KEY: &str = "not-a-secret-at-all";
pub const BUCKET: &str = "lake";

const START_WITHIN: Duration = Duration::from_secs(60);

/// A running (or killed) service. The data stay in its folder.
pub struct Minio {
    dir: PathBuf,
    port: u16,
    process: Process,
    /// Held as long as the folder is in use, where it was [`Minio::scratch`] that chose it.
    _lock: Option<File>,
}

impl Minio {
    /// Starts a service with its data and its `minio.log` in `dir`; ready when this returns.
    pub fn start(dir: &Path) -> Result<Self> {
        let program = program()?;
        for _ in 0..5 {
            let [port] = free_ports()?;
            let mut minio = Self { dir: dir.to_owned(), port, process: Process::default(), _lock: None };
            if minio.launch(&program)? {
                return Ok(minio);
            }
        }
        bail!("no free port for MinIO in five attempts")
    }

    /// Starts a service in the first folder `minio-N` of `parent` that no living process uses, emptied before.
    pub fn scratch(parent: &Path) -> Result<Self> {
        let (dir, lock) = scratch(parent, "minio")?;
        Ok(Self { _lock: Some(lock), ..Self::start(&dir)? })
    }

    /// `http://127.0.0.1:PORT`; the same after [`Minio::restart`].
    pub fn endpoint(&self) -> String {
        Self::address(self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many uploads were begun and neither completed nor ended, of all objects; as they are on its disk.
    pub fn uploads(&self) -> Result<usize> {
        let folder = data(&self.dir).join(".minio.sys/multipart");
        let mut uploads = 0;
        // A folder for each object, with one for each upload.
        for object in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            uploads += fs::read_dir(object?.path()).map_or(0, Iterator::count);
        }
        Ok(uploads)
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Halts it in mid-air (SIGSTOP), connections and all, until [`Minio::resume`].
    pub fn pause(&self) -> Result<()> {
        self.process.send(Signal::STOP)
    }

    pub fn resume(&self) -> Result<()> {
        self.process.send(Signal::CONT)
    }

    /// Starts it again after [`Minio::kill`], on the same port and data.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let program = program()?;
        // A connection elsewhere may have the port for a moment.
        match until(START_WITHIN, || self.launch(&program))? {
            true => Ok(()),
            false => bail!("port {} is still taken after {START_WITHIN:?}", self.port),
        }
    }

    /// Whether it got its port.
    fn launch(&mut self, program: &Path) -> Result<bool> {
        let server = server(program, &self.dir, self.port)?;
        let running = self.process.0.insert(spawn_owned(server, "cannot start MinIO")?);
        Self::wait_ready(&self.dir, &mut running.child, self.port)
    }
}

/// Whether nothing has to be built: a service or a program is named, or the program was built before.
pub fn is_there() -> bool {
    let named = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    named("S3_ENDPOINT") || named("MINIO") || crate::target().join("minio/minio").exists()
}

/// Where the program is, which is built the first time.
pub fn program() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("MINIO").filter(|named| !named.is_empty()) {
        return Ok(named.into());
    }
    let folder = crate::target().join("minio");
    let program = folder.join("minio");
    if !program.exists() {
        eprintln!("building MinIO, once; this takes some minutes");
        let mut go = Command::new("go");
        go.args(["install", "github.com/minio/minio@latest"]).env("GOBIN", std::path::absolute(&folder)?);
        command::run(&mut go).context("MinIO cannot be built; get Go from https://go.dev, or name a MinIO in MINIO")?;
    }
    Ok(program)
}

fn data(dir: &Path) -> PathBuf {
    dir.join("data")
}

/// The service's command, with its bucket: a folder is one.
fn server(program: &Path, dir: &Path, port: u16) -> Result<Command> {
    let bucket = data(dir).join(BUCKET);
    fs::create_dir_all(&bucket).with_context(|| format!("cannot create {}", bucket.display()))?;
    let log = File::options().create(true).append(true).open(Minio::log_file(dir))?;
    let mut server = Command::new(program);
    server.args(["server", "--quiet", "--address", &format!("127.0.0.1:{port}"), "--console-address", "127.0.0.1:0"]);
    server.arg(data(dir)).env("MINIO_ROOT_USER", ACCESS_KEY).env("MINIO_ROOT_PASSWORD", SECRET_KEY);
    server.env("MINIO_UPDATE", "off").env("MINIO_BROWSER", "off");
    server.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(server)
}

impl Service for Minio {
    const NAME: &str = "MinIO";
    const FOLDER: &str = "minio/data";
    const PORT: u16 = 9000;

    fn address(port: u16) -> String {
        format!("http://127.0.0.1:{port}")
    }

    fn command(dir: &Path, port: u16) -> Result<Command> {
        server(&program()?, dir, port)
    }

    fn wait_ready(dir: &Path, child: &mut Child, port: u16) -> Result<bool> {
        let mut ended = None;
        let ready = until(START_WITHIN, || {
            ended = child.try_wait()?;
            Ok(ended.is_some() || answers(port))
        })?;
        if ready && ended.is_none() {
            return Ok(true);
        }
        end(child);
        let said = fs::read(Self::log_file(dir))?;
        let said = command::tail(&said);
        if said.contains("already in use") {
            return Ok(false);
        }
        let how =
            ended.map_or_else(|| format!("is not ready after {START_WITHIN:?}"), |status| format!("ended: {status}"));
        bail!("MinIO {how}; the end of {}:\n{said}", Self::log_file(dir).display())
    }

    fn log_file(dir: &Path) -> PathBuf {
        dir.join("minio.log")
    }

    fn mark(dir: &Path) -> String {
        data(dir).to_string_lossy().into_owned()
    }
}

/// Whether it says that it is ready to take objects.
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /minio/health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    ask().is_ok_and(|answer| answer == "HTTP/1.1 200")
}
