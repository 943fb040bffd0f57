//! One broker (KRaft, broker and controller in one process) on free ports of the loopback address.
//!
//! It dies with its owner: on drop and, on Linux, also when the owning process is killed.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::java;
use crate::command;

/// Sixteen bytes in base64, as Kafka writes a cluster's id; the data of one broker never meets another's.
const CLUSTER: &str = "YXBvZ2VlLXRlc3QtYnJrcg";
const READY: &str = "Kafka Server started";
const TAKEN: &str = "Address already in use";
const START_WITHIN: Duration = Duration::from_secs(90);
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// A running (or stopped, or killed) broker. The data stay in its folder.
pub struct Broker {
    dir: PathBuf,
    ports: [u16; 2],
    running: Option<Running>,
    /// Held as long as the folder is in use, where it was [`Broker::scratch`] that chose it.
    _lock: Option<File>,
}

struct Running {
    java: Child,
    /// Ends the thread that started Java, see [`spawn_owned`].
    _thread: mpsc::Sender<()>,
}

/// A broker that outlives the process that started it, known by the files `pid` and `address` in its folder.
pub struct Detached {
    pub address: String,
    pub pid: u32,
}

impl Broker {
    /// Starts a broker with its data and its `broker.log` in `dir`; ready when this returns.
    pub fn start(dir: &Path) -> Result<Self> {
        let mut broker = Self {
            dir: dir.to_owned(),
            ports: [0; 2],
            running: None,
            _lock: None,
        };
        for _ in 0..5 {
            broker.ports = free_ports()?;
            format(dir, broker.ports)?;
            let (java, thread) = spawn_owned(launch(dir)?)?;
            broker.running = Some(Running {
                java,
                _thread: thread,
            });
            if broker.ready()? {
                return Ok(broker);
            }
        }
        bail!("no free port for Kafka in five attempts")
    }

    /// Starts a broker in the first folder `kafka-N` of `parent` that no living process uses, emptied before.
    pub fn scratch(parent: &Path) -> Result<Self> {
        fs::create_dir_all(parent)?;
        for n in 0..100 {
            let lock = File::create(parent.join(format!("kafka-{n}.lock")))?;
            if lock.try_lock().is_err() {
                continue;
            }
            let dir = parent.join(format!("kafka-{n}"));
            if dir.exists() {
                fs::remove_dir_all(&dir)?;
            }
            let mut broker = Self::start(&dir)?;
            broker._lock = Some(lock);
            return Ok(broker);
        }
        bail!("a hundred brokers are running in {}", parent.display())
    }

    /// `127.0.0.1:PORT`; the same after [`Broker::restart`].
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// The broker's process; none while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.java.id())
    }

    /// Stops it as its operator would (SIGTERM), and waits for its end.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut running) = self.running.take() else {
            return Ok(());
        };
        terminate(running.java.id())?;
        let ended = until(STOP_WITHIN, || Ok(running.java.try_wait()?.is_some()))?;
        if !ended {
            end(&mut running.java);
            bail!(
                "the Kafka broker in {} did not stop within {STOP_WITHIN:?} and was killed",
                self.dir.display()
            );
        }
        Ok(())
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            end(&mut running.java);
        }
    }

    /// Starts it again after [`Broker::stop`] or [`Broker::kill`], on the same port and data.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        let deadline = Instant::now() + START_WITHIN;
        while Instant::now() < deadline {
            let (java, thread) = spawn_owned(launch(&self.dir)?)?;
            self.running = Some(Running {
                java,
                _thread: thread,
            });
            // A connection elsewhere may have the port for a moment.
            if self.ready()? {
                return Ok(());
            }
        }
        bail!(
            "port {} is still taken after {START_WITHIN:?}",
            self.ports[0]
        )
    }

    /// Starts a broker that stays when this process ends; port 0 is a free one.
    pub fn detach(dir: &Path, port: u16) -> Result<Detached> {
        if let Some(detached) = Detached::find(dir) {
            bail!(
                "a broker runs in {} already, on {}, process {}",
                dir.display(),
                detached.address,
                detached.pid
            );
        }
        let [mut client, controller] = free_ports()?;
        if port != 0 {
            client = port;
        }
        format(dir, [client, controller])?;
        let mut java = launch(dir)?
            .process_group(0)
            .spawn()
            .context("cannot start java")?;
        let address = format!("127.0.0.1:{client}");
        if !wait_ready(dir, &mut java, client)? {
            bail!("port {client} is taken; choose another with --port, or 0 for any");
        }
        fs::write(dir.join("pid"), java.id().to_string())?;
        fs::write(dir.join("address"), &address)?;
        Ok(Detached {
            address,
            pid: java.id(),
        })
    }

    /// Whether it got its port; an error when it ended for another reason or took too long.
    fn ready(&mut self) -> Result<bool> {
        let Some(running) = &mut self.running else {
            bail!("the broker is not running")
        };
        let ready = wait_ready(&self.dir, &mut running.java, self.ports[0]);
        if !matches!(ready, Ok(true)) {
            self.kill();
        }
        ready
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Detached {
    /// The broker that runs with its data in `dir`.
    pub fn find(dir: &Path) -> Option<Self> {
        let pid: u32 = fs::read_to_string(dir.join("pid")).ok()?.parse().ok()?;
        let address = fs::read_to_string(dir.join("address")).ok()?;
        // The number may be another program's by now.
        let named = command::output(Command::new("ps").args([
            "-ww",
            "-o",
            "command=",
            "-p",
            &pid.to_string(),
        ]))
        .ok()?;
        let ours = String::from_utf8_lossy(&named).contains(&*settings_file(dir).to_string_lossy());
        ours.then_some(Self { address, pid })
    }

    /// Stops it and waits for its end.
    pub fn stop(&self, dir: &Path) -> Result<()> {
        terminate(self.pid)?;
        if !until(STOP_WITHIN, || Ok(Self::find(dir).is_none()))? {
            bail!(
                "process {} did not stop within {STOP_WITHIN:?}; see {}",
                self.pid,
                log_file(dir).display()
            );
        }
        Ok(())
    }
}

fn settings_file(dir: &Path) -> PathBuf {
    dir.join("server.properties")
}

fn log_file(dir: &Path) -> PathBuf {
    dir.join("broker.log")
}

/// Two ports that were free a moment ago. Both are held at once, so they differ.
fn free_ports() -> Result<[u16; 2]> {
    let [a, b] = [
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
    ];
    Ok([a.local_addr()?.port(), b.local_addr()?.port()])
}

/// Writes the settings and, in a new folder, Kafka's empty data.
fn format(dir: &Path, ports: [u16; 2]) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    fs::write(settings_file(dir), settings(dir, ports))?;
    if !dir.join("data/meta.properties").exists() {
        let mut tool = java()?;
        tool.args([
            "kafka.tools.StorageTool",
            "format",
            "--cluster-id",
            CLUSTER,
            "--config",
        ])
        .arg(settings_file(dir));
        command::output(&mut tool)?;
    }
    Ok(())
}

fn settings(dir: &Path, [client, controller]: [u16; 2]) -> String {
    let data = dir.join("data");
    format!(
        "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{client}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
log.retention.hours=-1
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
",
        data = data.display()
    )
}

/// The broker's command. It writes `broker.log`; what the one before it wrote is kept in `broker.previous.log`.
fn launch(dir: &Path) -> Result<Command> {
    if log_file(dir).exists() {
        fs::rename(log_file(dir), dir.join("broker.previous.log"))?;
    }
    let log = File::create(log_file(dir))?;
    let mut java = java()?;
    java.arg("kafka.Kafka").arg(settings_file(dir));
    java.stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok(java)
}

/// Starts Java such that Linux kills it when this process ends, however it ends.
///
/// The signal comes when the *thread* that started the child ends, and a test's thread ends before its process:
/// so a thread of its own starts Java and stays until the sender is dropped.
fn spawn_owned(mut java: Command) -> Result<(Child, mpsc::Sender<()>)> {
    #[cfg(target_os = "linux")]
    {
        let parent = rustix::process::getpid();
        // SAFETY: between fork and exec the closure makes two system calls; it neither allocates nor takes a lock.
        unsafe {
            java.pre_exec(move || {
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
    thread::Builder::new().name("kafka".into()).spawn(move || {
        let sent = child.send(java.spawn());
        if sent.is_ok() {
            let _ = kept.recv();
        }
    })?;
    let java = started
        .recv()
        .context("the thread that starts java ended")?;
    Ok((
        java.context("cannot start java; it is in the package openjdk-17-jre-headless")?,
        keep,
    ))
}

/// Waits until the broker answers; `false` when another program has the port.
fn wait_ready(dir: &Path, java: &mut Child, port: u16) -> Result<bool> {
    let mut said = String::new();
    let mut ended = None;
    until(START_WITHIN, || {
        ended = java.try_wait()?;
        said = String::from_utf8_lossy(&fs::read(log_file(dir))?).into_owned();
        let started =
            said.contains(READY) && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
        Ok(started || ended.is_some())
    })?;
    if ended.is_none() && said.contains(READY) {
        return Ok(true);
    }
    end(java);
    if said.contains(TAKEN) {
        return Ok(false);
    }
    let how = ended.map_or_else(
        || format!("is not ready after {START_WITHIN:?}"),
        |status| format!("ended: {status}"),
    );
    bail!(
        "the Kafka broker {how}; the end of {}:\n{}",
        log_file(dir).display(),
        command::tail(said.as_bytes())
    )
}

/// Looks every 50 ms whether it is `done`; `false` when the time is over first.
fn until(time: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<bool> {
    let deadline = Instant::now() + time;
    while !done()? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(true)
}

fn terminate(pid: u32) -> Result<()> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .context("not a process number")?;
    kill_process(pid, Signal::TERM)
        .with_context(|| format!("cannot stop process {}", pid.as_raw_nonzero()))
}

/// kill -9. It fails only for a process that has ended.
fn end(java: &mut Child) {
    let _ = java.kill();
    let _ = java.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_differ() {
        let [a, b] = free_ports().unwrap();
        assert!(a != b && a != 0 && b != 0);
    }

    #[test]
    fn a_process_number_that_is_another_programs_by_now_is_not_our_broker() {
        let dir = crate::target()
            .join("tmp")
            .join(format!("detached-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("address"), "127.0.0.1:9092").unwrap();
        fs::write(dir.join("pid"), std::process::id().to_string()).unwrap();
        assert!(Detached::find(&dir).is_none());
        fs::remove_dir_all(dir).unwrap();
    }
}
