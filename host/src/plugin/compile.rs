//! How components are compiled; and in a process of its own, which has limits, where somebody handed one in: a component
//! that is made to blow up the compiler costs only itself.
//!
//! That process is this program again, as `host compile`. Nothing comes back from it but how it ended and a text: what it
//! compiled is in the cache, under the hash of the component and of the compiler's settings, and is taken from there.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Resource, Rlimit, Signal, geteuid, nice, setrlimit};
use tempfile::TempDir;
use wasmtime::component::Component;
use wasmtime::{Cache, CacheConfig, Config, InstanceAllocationStrategy};

use crate::plugin::error::{PluginError, Uncompiled};
use crate::plugin::guest_log::cut;
use crate::plugin::limits::STACK;

/// The most bytes that a component has which somebody handed in.
pub const MOST_BYTES: usize = 64 << 20;

/// The most that is read of what the process says.
const SAID: u64 = 16 << 10;

/// The largest file that it writes, and how many it may have open.
const FILE: u64 = 1 << 30;
const FILES: u64 = 64;

/// What compiling one component may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompilerLimits {
    /// Seconds of processor time.
    pub cpu: u64,
    /// Bytes of address space.
    pub memory: u64,
    /// Time by the clock.
    pub time: Duration,
}

impl Default for CompilerLimits {
    fn default() -> Self {
        Self { cpu: 60, memory: 4 << 30, time: Duration::from_secs(300) }
    }
}

/// What a component is compiled with: the same in both processes, so that one finds what the other made.
pub(super) fn settings(cache: Option<Cache>) -> Config {
    let mut config = Config::new();
    config
        .cache(cache)
        .epoch_interruption(true)
        .max_wasm_stack(STACK)
        // The same input gives the same output, on every machine (Invariant 4).
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false);
    config
}

/// Where compiled code is kept: by content, wasmtime's version and its settings.
enum Folder {
    Users(PathBuf),
    /// Only for as long as this process lives.
    Own(TempDir),
}

impl Folder {
    /// The user's cache directory, or else one of our own. What is there is run as it is, so nobody else may write there.
    fn find() -> io::Result<Self> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let users = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        match users.map(|path| path.join("apogee/compiled")) {
            Some(path) if is_ours(&path) => Ok(Self::Users(path)),
            _ => {
                tracing::warn!(
                    "there is no cache directory that only this user can write to ($XDG_CACHE_HOME/apogee/compiled): \
                     compiled plugins are not kept for the next start"
                );
                tempfile::Builder::new().prefix("apogee-").tempdir().map(Self::Own)
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Users(path) => path,
            Self::Own(folder) => folder.path(),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let Self::Own(folder) = self else { return };
        // A thread of the cache may still write there, into what is being removed.
        if !(0..100).any(|_| std::fs::remove_dir_all(folder.path()).is_ok()) {
            tracing::debug!("{} is left behind", folder.path().display());
        }
    }
}

/// Makes it if it is not there; whether it belongs to this user, and no other can write there.
fn is_ours(folder: &Path) -> bool {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let about = made.and_then(|()| std::fs::metadata(folder));
    about.is_ok_and(|about| about.uid() == geteuid().as_raw() && about.mode() & 0o022 == 0)
}

fn open_cache(folder: &Path) -> wasmtime::Result<Cache> {
    let mut config = CacheConfig::new();
    config.with_directory(folder);
    Cache::new(config)
}

/// Starts the process that compiles, one at a time. Clones share that.
#[derive(Clone)]
pub(super) struct Compiler {
    program: PathBuf,
    limits: CompilerLimits,
    folder: Arc<Folder>,
    pub cache: Cache,
    turn: Arc<Mutex<()>>,
}

impl Compiler {
    pub fn new(program: PathBuf, limits: CompilerLimits) -> Result<Self, PluginError> {
        let folder = Folder::find().map_err(|error| PluginError::Engine(error.to_string()))?;
        let cache = open_cache(folder.path()).map_err(|error| PluginError::Engine(format!("{error:#}")))?;
        Ok(Self { program, limits, folder: folder.into(), cache, turn: Arc::default() })
    }

    /// Puts the compiled component into the cache; `name` is what messages call it.
    pub fn compile(&self, name: &Path, component: &[u8]) -> Result<(), PluginError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let why = match self.run(component) {
            Ok((Some(status), _)) if status.success() => return Ok(()),
            Ok((status, said)) => self.explain(status, &said),
            Err(error) => return Err(PluginError::Engine(format!("{}: {error}", self.program.display()))),
        };
        Err(PluginError::Uncompiled { component: name.display().to_string(), why })
    }

    /// How it ended, `None` where it was ended by us, and what it said.
    fn run(&self, component: &[u8]) -> io::Result<(Option<ExitStatus>, String)> {
        let mut input = tempfile::tempfile()?;
        input.write_all(component)?;
        input.rewind()?;
        let mut child = self.command(input).spawn()?;
        let (tell, told) = mpsc::channel();
        let stderr = child.stderr.take();
        let listener = std::thread::Builder::new().name("compile".to_owned()).spawn(move || {
            let mut said = Vec::new();
            // What was read until it broke is all that there is.
            let _ = stderr.map(|stderr| stderr.take(SAID).read_to_end(&mut said));
            // Nobody listens any more when it took too long.
            let _ = tell.send(String::from_utf8_lossy(&said).into_owned());
        });
        let said = match listener {
            Ok(_) => told.recv_timeout(self.limits.time).ok(),
            Err(error) => return end(child).and(Err(error)),
        };
        match said {
            Some(said) => Ok((Some(child.wait()?), said)),
            None => end(child).map(|()| (None, String::new())),
        }
    }

    fn command(&self, input: File) -> Command {
        let Self { program, limits, folder, .. } = self;
        let mut command = Command::new(program);
        command.arg("compile").arg("--cache").arg(folder.path());
        command.args(["--cpu", &limits.cpu.to_string(), "--memory", &limits.memory.to_string()]);
        command.env_clear().current_dir("/").stdin(input).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn explain(&self, status: Option<ExitStatus>, said: &str) -> Uncompiled {
        let Some(status) = status else { return Uncompiled::Time(self.limits.time) };
        let is = |signal: Signal| status.signal() == Some(signal.as_raw());
        if is(Signal::XCPU) || is(Signal::KILL) {
            return Uncompiled::Time(Duration::from_secs(self.limits.cpu));
        }
        let out_of_memory = ["memory allocation of", "Cannot allocate memory"];
        if out_of_memory.iter().any(|text| said.contains(text)) {
            return Uncompiled::Memory(self.limits.memory);
        }
        let said = cut(said.trim_start_matches("error: ").trim_end());
        if status.signal().is_some() {
            Uncompiled::Died { status: status.to_string(), said }
        } else {
            Uncompiled::Refused(said)
        }
    }
}

fn end(mut child: Child) -> io::Result<()> {
    child.kill()?;
    child.wait().map(drop)
}

/// The program that can be started as `host compile`: this one. A program of cargo's `deps` folder is a test or a bench,
/// which is not it; the one that it was built with is beside that folder.
pub(super) fn program() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    if let Some(deps) = own.parent()
        && deps.ends_with("deps")
    {
        return Ok(deps.with_file_name("host"));
    }
    // The very file that runs, even if another version has taken its place since.
    Ok(if cfg!(target_os = "linux") { PathBuf::from("/proc/self/exe") } else { own })
}

/// What the process does: takes limits upon itself, then compiles what comes from standard input into the cache.
pub fn compile(cache: &Path, cpu: u64, memory: u64) -> anyhow::Result<()> {
    // Nobody waits for it any more when the host is gone.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The lower limit tells by its signal that it was time.
    setrlimit(Resource::Cpu, Rlimit { current: Some(cpu), maximum: Some(cpu.saturating_add(1)) })?;
    for (what, most) in
        [(Resource::As, memory), (Resource::Core, 0), (Resource::Nofile, FILES), (Resource::Fsize, FILE)]
    {
        setrlimit(what, Rlimit { current: Some(most), maximum: Some(most) }).with_context(|| format!("{what:?}"))?;
    }
    // The stream comes first; and when the machine is short of memory, this is what it can do without.
    nice(10)?;
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");

    let mut component = Vec::new();
    io::stdin().lock().take(MOST_BYTES as u64 + 1).read_to_end(&mut component)?;
    ensure!(component.len() <= MOST_BYTES, "it has more than {MOST_BYTES} bytes");
    let cache = open_cache(cache)?;
    let mut config = settings(Some(cache.clone()));
    // Room for instances would be address space that is not there.
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    let engine = wasmtime::Engine::new(&config)?;
    Component::from_binary(&engine, &component)?;
    if cache.cache_hits() == 0 {
        // The other process must find it, or it would compile it itself.
        Component::from_binary(&engine, &component)?;
        ensure!(cache.cache_hits() > 0, "the cache {} does not keep what is compiled", cache.directory().display());
    }
    Ok(())
}
