//! One broker (KRaft, broker and controller in one process) on free ports of the loopback address.
//!
//! It dies with its owner: on drop and, on Linux, also when the owning process is killed.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::java;
use crate::command;
use crate::process::{end, free_ports, spawn_owned, until};
use crate::service::{Process, Service, scratch};

/// Sixteen bytes in base64, as Kafka writes a cluster's id; the data of one broker never meets another's.
const CLUSTER: &str = "YXBvZ2VlLXRlc3QtYnJrcg";
const READY: &str = "Kafka Server started";
const TAKEN: &str = "Address already in use";
/// How often the broker looks for transactions whose time is over …
const SOON: Duration = Duration::from_millis(500);
/// … and, as by default, where it was restarted: Kafka 4.3.1 takes partitions that have no leader yet for deleted ones,
/// and would forget to abort in them what it ends in its first seconds.
const LATER: Duration = Duration::from_secs(10);
pub(crate) const JAVA: &str = "cannot start java; it is in the package openjdk-17-jre-headless";
const START_WITHIN: Duration = Duration::from_secs(90);

/// A running (or stopped, or killed) broker. The data stay in its folder.
pub struct Broker {
    dir: PathBuf,
    ports: Ports,
    process: Process,
    /// Held as long as the folder is in use, where it was [`Broker::scratch`] that chose it.
    _lock: Option<File>,
}

/// Where a broker listens.
#[derive(Clone, Copy, Default)]
struct Ports {
    client: u16,
    controller: u16,
    proxied: Option<Proxied>,
}

/// A port that clients reach through a proxy: whoever connects to it is told that the broker is at the proxy's.
#[derive(Clone, Copy)]
struct Proxied {
    port: u16,
    proxy: u16,
}

impl Broker {
    /// Starts a broker with its data and its `broker.log` in `dir`; ready when this returns.
    pub fn start(dir: &Path) -> Result<Self> {
        Self::start_with(dir, None)
    }

    fn start_with(dir: &Path, proxy: Option<u16>) -> Result<Self> {
        let mut broker =
            Self { dir: dir.to_owned(), ports: Ports::default(), process: Process::default(), _lock: None };
        for _ in 0..5 {
            let [client, controller, port] = free_ports()?;
            broker.ports = Ports { client, controller, proxied: proxy.map(|proxy| Proxied { port, proxy }) };
            format(dir, broker.ports)?;
            broker.process = Process(Some(spawn_owned(launch(dir)?, JAVA)?));
            if broker.ready()? {
                return Ok(broker);
            }
        }
        bail!("no free port for Kafka in five attempts")
    }

    /// Starts a broker in the first folder `kafka-N` of `parent` that no living process uses, emptied before.
    pub fn scratch(parent: &Path) -> Result<Self> {
        Self::scratch_with(parent, None)
    }

    /// As [`Broker::scratch`], with one more port for clients that come through a proxy on the loopback port `proxy`:
    /// that is the only address that they are told.
    pub fn scratch_behind(parent: &Path, proxy: u16) -> Result<Self> {
        Self::scratch_with(parent, Some(proxy))
    }

    fn scratch_with(parent: &Path, proxy: Option<u16>) -> Result<Self> {
        let (dir, lock) = scratch(parent, "kafka")?;
        Ok(Self { _lock: Some(lock), ..Self::start_with(&dir, proxy)? })
    }

    /// `127.0.0.1:PORT`; the same after [`Broker::restart`].
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.client)
    }

    /// The port that a proxy goes on to, where there is one.
    pub fn behind_proxy(&self) -> Option<u16> {
        self.ports.proxied.map(|proxied| proxied.port)
    }

    /// The broker's process; none while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// Stops it as its operator would (SIGTERM), and waits for its end.
    pub fn stop(&mut self) -> Result<()> {
        self.process.stop().with_context(|| format!("the Kafka broker in {}", self.dir.display()))
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Halts it in mid-air (SIGSTOP), connections and all, until [`Broker::resume`].
    pub fn pause(&self) -> Result<()> {
        self.process.send(Signal::STOP)
    }

    pub fn resume(&self) -> Result<()> {
        self.process.send(Signal::CONT)
    }

    /// Starts it again after [`Broker::stop`] or [`Broker::kill`], on the same port and data.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        fs::write(settings_file(&self.dir), settings(&self.dir, self.ports, LATER))?;
        let deadline = Instant::now() + START_WITHIN;
        while Instant::now() < deadline {
            self.process = Process(Some(spawn_owned(launch(&self.dir)?, JAVA)?));
            // A connection elsewhere may have the port for a moment.
            if self.ready()? {
                return Ok(());
            }
        }
        bail!("port {} is still taken after {START_WITHIN:?}", self.ports.client)
    }

    /// Whether it got its port; an error when it ended for another reason or took too long.
    fn ready(&mut self) -> Result<bool> {
        let Some(running) = &mut self.process.0 else { bail!("the broker is not running") };
        let ready = Self::wait_ready(&self.dir, &mut running.child, self.ports.client);
        if !matches!(ready, Ok(true)) {
            self.kill();
        }
        ready
    }
}

fn settings_file(dir: &Path) -> PathBuf {
    dir.join("server.properties")
}

/// Writes the settings and, in a new folder, Kafka's empty data.
fn format(dir: &Path, ports: Ports) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    fs::write(settings_file(dir), settings(dir, ports, SOON))?;
    if !dir.join("data/meta.properties").exists() {
        let mut tool = java()?;
        tool.args(["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER, "--config"]).arg(settings_file(dir));
        command::output(&mut tool)?;
    }
    Ok(())
}

/// A broker that is alone, told nothing by anyone, and quick to notice that a client has gone.
fn settings(dir: &Path, Ports { client, controller, proxied }: Ports, look: Duration) -> String {
    let data = dir.join("data");
    let listen =
        |port: u16, proxy: u16| (format!(",PROXIED://127.0.0.1:{port}"), format!(",PROXIED://127.0.0.1:{proxy}"));
    let (listens, says) = proxied.map(|proxied| listen(proxied.port, proxied.proxy)).unwrap_or_default();
    format!(
        "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners=PLAINTEXT://127.0.0.1:{client}{listens},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{client}{says}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
log.retention.hours=-1
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.abort.timed.out.transaction.cleanup.interval.ms={look}
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
",
        data = data.display(),
        look = look.as_millis()
    )
}

/// The broker's command. It writes `broker.log`; what the one before it wrote is kept in `broker.previous.log`.
fn launch(dir: &Path) -> Result<Command> {
    if Broker::log_file(dir).exists() {
        fs::rename(Broker::log_file(dir), dir.join("broker.previous.log"))?;
    }
    let log = File::create(Broker::log_file(dir))?;
    let mut java = java()?;
    java.arg("kafka.Kafka").arg(settings_file(dir));
    java.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(java)
}

impl Service for Broker {
    const NAME: &str = "Kafka broker";
    const FOLDER: &str = "kafka";
    const PORT: u16 = 9092;

    fn address(port: u16) -> String {
        format!("127.0.0.1:{port}")
    }

    fn command(dir: &Path, port: u16) -> Result<Command> {
        let [controller] = free_ports()?;
        format(dir, Ports { client: port, controller, proxied: None })?;
        launch(dir)
    }

    fn wait_ready(dir: &Path, java: &mut Child, port: u16) -> Result<bool> {
        let mut said = String::new();
        let mut ended = None;
        until(START_WITHIN, || {
            ended = java.try_wait()?;
            said = String::from_utf8_lossy(&fs::read(Self::log_file(dir))?).into_owned();
            let started = said.contains(READY) && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
            Ok(started || ended.is_some())
        })?;
        if ended.is_none() && said.contains(READY) {
            return Ok(true);
        }
        end(java);
        if said.contains(TAKEN) {
            return Ok(false);
        }
        let how =
            ended.map_or_else(|| format!("is not ready after {START_WITHIN:?}"), |status| format!("ended: {status}"));
        bail!(
            "the Kafka broker {how}; the end of {}:\n{}",
            Self::log_file(dir).display(),
            command::tail(said.as_bytes())
        )
    }

    fn log_file(dir: &Path) -> PathBuf {
        dir.join("broker.log")
    }

    fn mark(dir: &Path) -> String {
        settings_file(dir).to_string_lossy().into_owned()
    }
}
