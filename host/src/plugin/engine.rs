//! Loads components, and checks them before any of their code runs.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::plugin::bindings::transform::Description;
use crate::plugin::compile::{self, Compiler, CompilerLimits, MOST_BYTES};
use crate::plugin::error::PluginError;
use crate::plugin::guest_log::{Pace, cut};
use crate::plugin::instance::{Instance, Running};
use crate::plugin::limits::{Limits, MOST_MEMORY, MOST_TABLE_ELEMENTS, TICK};
use crate::plugin::wasi::{self, Guest};

/// The interfaces that a component may export.
const TRANSFORM: &str = "apogee:plugin/transform@0.1.0";
const INTERFACES: &str = "apogee:plugin/";

/// How many components are at hand without looking for them on the disk.
const AT_HAND: usize = 16;

/// Compiles components; one for the whole process. Clones share everything.
#[derive(Clone)]
pub struct Engine {
    wasmtime: wasmtime::Engine,
    linker: Arc<Linker<Guest>>,
    compiler: Compiler,
    /// What was loaded last, so that swapping there and back costs nothing.
    loaded: Arc<Mutex<VecDeque<Plugin>>>,
}

/// A compiled component, checked against the interface. Clones share the code.
#[derive(Clone)]
pub struct Plugin {
    pub path: PathBuf,
    pub description: Description,
    /// SHA-256 of the component, in hexadecimal.
    pub hash: Arc<str>,
    /// Bytes of the component.
    pub size: usize,
    /// Every import of the component, such as `wasi:cli/stderr@0.2.6`.
    pub imports: Vec<String>,
    /// Which interfaces it exports: `transform`, and maybe `timer`, `state`, `position`, `query`.
    pub exports: Vec<String>,
    pre: InstancePre<Guest>,
    settings: Arc<jsonschema::Validator>,
    pace: Pace,
}

impl Engine {
    /// An engine that keeps compiled code in the user's cache directory (without one, for as long as it lives), and
    /// compiles what is handed in with this program.
    pub fn new() -> Result<Self, PluginError> {
        let program = compile::program().map_err(|error| PluginError::Engine(error.to_string()))?;
        Self::with_compiler(program, CompilerLimits::default())
    }

    /// The same, with another `host` program of the same build to compile what is handed in.
    pub fn with_compiler(program: PathBuf, limits: CompilerLimits) -> Result<Self, PluginError> {
        let error = |error: wasmtime::Error| PluginError::Engine(format!("{error:#}"));
        let compiler = Compiler::new(program, limits)?;
        let mut config = compile::settings(Some(compiler.cache.clone()));
        let wasmtime = wasmtime::Engine::new(config.allocation_strategy(pool())).map_err(error)?;
        let mut linker = Linker::new(&wasmtime);
        wasi::link(&mut linker).map_err(error)?;
        keep_time(&wasmtime).map_err(|e| PluginError::Engine(e.to_string()))?;
        Ok(Self { wasmtime, linker: Arc::new(linker), compiler, loaded: Arc::default() })
    }

    /// How many components this process itself has compiled, instead of taking them from the cache.
    pub fn compiled(&self) -> usize {
        self.compiler.cache.cache_misses()
    }

    /// Compiles a component (or takes its code from the cache), checks its imports, exports and types,
    /// and asks it to describe itself.
    pub fn load(&self, path: &Path) -> Result<Plugin, PluginError> {
        let bytes = std::fs::read(path).map_err(|error| PluginError::Read { path: path.to_owned(), error })?;
        let hash = hash(&bytes);
        if let Some(plugin) = self.at_hand(&hash) {
            return Ok(Plugin { path: path.to_owned(), ..plugin });
        }
        refuse_other_formats(path, &bytes)?;
        self.finish(path, &bytes, hash)
    }

    /// A component that somebody handed in, of [`MOST_BYTES`] at most: compiled in a process of its own first, which has
    /// limits, so that one made to blow up the compiler harms nobody. Its path is `sha256:` and the start of its hash,
    /// whatever it was called, unless it was loaded from a file before.
    pub fn take_in(&self, component: &[u8]) -> Result<Plugin, PluginError> {
        if component.len() > MOST_BYTES {
            let what = format!("it has {} bytes, and {MOST_BYTES} are the most", component.len());
            return Err(not_a_component(Path::new("what was handed in"), what));
        }
        let hash = hash(component);
        if let Some(plugin) = self.at_hand(&hash) {
            return Ok(plugin);
        }
        let path = PathBuf::from(format!("sha256:{}", &hash[..16]));
        refuse_other_formats(&path, component)?;
        self.compiler.compile(&path, component)?;
        self.finish(&path, component, hash)
    }

    /// Makes a plugin of a component, and keeps it at hand.
    fn finish(&self, path: &Path, bytes: &[u8], hash: Arc<str>) -> Result<Plugin, PluginError> {
        let component = Component::from_binary(&self.wasmtime, bytes)
            .map_err(|error| not_a_component(path, format!("{error:#}")))?;
        let imports = self.check_imports(path, &component)?;
        let exports = self.check_exports(path, &component)?;
        let pre = self.linker.instantiate_pre(&component).map_err(|error| PluginError::Mismatch {
            plugin: path.display().to_string(),
            what: cut(&format!("{error:#}")),
        })?;
        let description = self.describe(path, &pre)?;
        let settings = compile_schema(path, &description.settings)?.into();
        let (path, size) = (path.to_owned(), bytes.len());
        let plugin = Plugin { path, description, hash, size, imports, exports, pre, settings, pace: Pace::default() };
        let mut loaded = self.loaded();
        loaded.truncate(AT_HAND - 1);
        loaded.push_front(plugin.clone());
        Ok(plugin)
    }

    fn at_hand(&self, hash: &str) -> Option<Plugin> {
        let mut loaded = self.loaded();
        let place = loaded.iter().position(|plugin| &*plugin.hash == hash)?;
        let plugin = loaded.remove(place)?;
        loaded.push_front(plugin.clone());
        // Whoever else uses it has lines of their own.
        Some(Plugin { pace: Pace::default(), ..plugin })
    }

    fn loaded(&self) -> MutexGuard<'_, VecDeque<Plugin>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_imports(&self, path: &Path, component: &Component) -> Result<Vec<String>, PluginError> {
        let imports: Vec<String> =
            component.component_type().imports(&self.wasmtime).map(|(name, _)| name.to_owned()).collect();
        let refused: Vec<String> = imports.iter().filter(|name| !wasi::may_import(name)).cloned().collect();
        if refused.is_empty() {
            Ok(imports)
        } else {
            Err(PluginError::Imports { path: path.to_owned(), imports: refused })
        }
    }

    fn check_exports(&self, path: &Path, component: &Component) -> Result<Vec<String>, PluginError> {
        let ty = component.component_type();
        let exports: Vec<&str> = ty.exports(&self.wasmtime).map(|(name, _)| name).collect();
        if !exports.contains(&TRANSFORM) {
            let instead = match exports.as_slice() {
                [] => "it exports nothing".to_owned(),
                exports => cut(&format!("it exports {}", exports.join(", "))),
            };
            return Err(PluginError::Exports { path: path.to_owned(), wanted: TRANSFORM, instead });
        }
        let short = |name: &str| Some(name.strip_prefix(INTERFACES)?.split('@').next()?.to_owned());
        Ok(exports.into_iter().filter_map(short).collect())
    }

    /// Asks an instance of its own, under the default limits.
    fn describe(&self, path: &Path, pre: &InstancePre<Guest>) -> Result<Description, PluginError> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let mut running = Running::start(pre, &stem, &Limits::default(), &Pace::default())?;
        let description = running.describe()?;
        for text in [&description.name, &description.version] {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
            if text.is_empty() || text.len() > 100 || !text.chars().all(plain) {
                return Err(PluginError::Nonsense {
                    plugin: stem.into_owned(),
                    call: "describe",
                    what: "a name or version that is not 1 to 100 letters, digits and -_.+".to_owned(),
                });
            }
        }
        Ok(description)
    }
}

impl Plugin {
    /// Name and version, as messages show them.
    pub fn title(&self) -> String {
        format!("{} {}", self.description.name, self.description.version)
    }

    /// Whether it keeps state, which outlives an instance.
    pub fn has_state(&self) -> bool {
        self.exports.iter().any(|interface| interface == "state")
    }

    /// Whether it acts when event time passes.
    pub fn has_timer(&self) -> bool {
        self.exports.iter().any(|interface| interface == "timer")
    }

    /// Whether it answers questions about its state.
    pub fn has_answers(&self) -> bool {
        self.exports.iter().any(|interface| interface == "query")
    }

    /// Checks `settings` (a JSON object) against the plugin's schema, then opens an instance.
    pub fn open(&self, settings: &serde_json::Value, limits: &Limits) -> Result<Instance, PluginError> {
        let problems: Vec<String> = self
            .settings
            .iter_errors(settings)
            .take(10)
            .map(|error| match error.instance_path().to_string().as_str() {
                "" => cut(&error.to_string()),
                at => cut(&format!("{}: {error}", at.trim_start_matches('/').replace('/', "."))),
            })
            .collect();
        if !problems.is_empty() {
            return Err(PluginError::Settings { plugin: self.title(), problems });
        }
        Instance::open(Running::start(&self.pre, &self.title(), limits, &self.pace)?, &settings.to_string())
    }
}

/// SHA-256 in hexadecimal.
fn hash(bytes: &[u8]) -> Arc<str> {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

fn pool() -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    // The limits of each instance are kept by `limits::Keeper`; these only make room for the largest.
    pool.total_component_instances(1_000)
        .total_core_instances(10_000)
        .max_component_instance_size(16 << 20)
        .max_core_instance_size(16 << 20)
        .max_core_instances_per_component(100)
        .max_memories_per_component(10)
        .max_tables_per_component(20)
        .total_memories(1_000)
        .total_tables(2_000)
        .table_elements(MOST_TABLE_ELEMENTS)
        .max_memory_size(MOST_MEMORY);
    InstanceAllocationStrategy::Pooling(pool)
}

/// Moves the epoch on for as long as the engine lives.
fn keep_time(engine: &wasmtime::Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    std::thread::Builder::new().name("epoch".to_owned()).spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    })?;
    Ok(())
}

fn not_a_component(path: &Path, what: String) -> PluginError {
    PluginError::NotAComponent { path: path.to_owned(), what: cut(&what) }
}

/// Says what a file is that only looks like a component, and never takes compiled code (which wasmtime
/// could not check) from outside.
fn refuse_other_formats(path: &Path, bytes: &[u8]) -> Result<(), PluginError> {
    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    let what = match bytes {
        [] => "the file is empty",
        [0x7f, b'E', b'L', b'F', ..] => {
            "it holds compiled code, which is never taken from outside; give the .wasm it was compiled from"
        }
        bytes if bytes.starts_with(MODULE) => {
            "it is a core module; build it for wasm32-wasip2, or wrap it with: wasm-tools component new"
        }
        bytes if !bytes.starts_with(b"\0asm") => "it does not start as WebAssembly does",
        _ => return Ok(()),
    };
    Err(not_a_component(path, what.to_owned()))
}

fn compile_schema(path: &Path, schema: &str) -> Result<jsonschema::Validator, PluginError> {
    let bad = |what: String| PluginError::Schema { path: path.to_owned(), what: cut(&what) };
    let schema = serde_json::from_str(schema).map_err(|error| bad(error.to_string()))?;
    jsonschema::validator_for(&schema).map_err(|error| bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_schema_says_is_bounded() {
        let path = Path::new("it.wasm");
        let long = "x".repeat(100_000);
        let bad = compile_schema(path, &serde_json::json!({ "type": long }).to_string()).unwrap_err().to_string();
        assert!(bad.contains("…; this is the plugin's fault") && bad.len() < 1_200, "{bad}");
    }
}
