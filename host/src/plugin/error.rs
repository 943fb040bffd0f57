//! What goes wrong with plugins, in words for the operator: which plugin, who is at fault, what to do.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::text::excerpt;
use crate::plugin::guest_log::{cut, quote};

/// Most lines of a backtrace that are told, and characters of each.
const FRAMES: usize = 50;
const FRAME: usize = 200;

/// What went wrong with a plugin. Texts that a guest wrote are cut and escaped.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    #[error("the sandbox cannot start: {0}")]
    Engine(String),

    #[error("{}: {error}; build the plugins of this project with: cargo xtask plugins", path.display())]
    Read { path: PathBuf, error: std::io::Error },

    #[error("{} is not a WebAssembly component: {what}", path.display())]
    NotAComponent { path: PathBuf, what: String },

    #[error("{component} was not compiled: {why}; nothing of it was used")]
    Uncompiled { component: String, why: Uncompiled },

    #[error("{} imports {}, which no plugin gets: plugins compute, and have no network, no files and no host of their own; \
             build it without what needs that", path.display(), cut(&imports.join(", ")))]
    Imports { path: PathBuf, imports: Vec<String> },

    #[error("{} does not export {wanted}: {instead}; build it against the WIT in `wit/`", path.display())]
    Exports { path: PathBuf, wanted: &'static str, instead: String },

    #[error(
        "{plugin} does not fit this host: {what}; build it against the WIT in `wit/`, and against WASI 0.2 where at all"
    )]
    Mismatch { plugin: String, what: String },

    #[error("{} declares a settings schema that is not JSON Schema: {what}; this is the plugin's fault", path.display())]
    Schema { path: PathBuf, what: String },

    #[error("plugin {plugin} does not take these settings: {}", problems.join("; "))]
    Settings { plugin: String, problems: Vec<String> },

    #[error("plugin {plugin} refuses its settings: {}", quote(reason))]
    Refused { plugin: String, reason: String },

    #[error(
        "plugin {plugin} refuses the state that its version {version} kept: {}; go back to that version, or start \
             without it under another `group`",
        quote(reason)
    )]
    State { plugin: String, version: String, reason: String },

    #[error("plugin {plugin} failed in {call}: {cause}{}", told(said))]
    Trap {
        plugin: String,
        call: &'static str,
        cause: String,
        /// The last lines that it wrote to its standard error.
        said: Vec<String>,
        /// The WebAssembly stack, innermost first.
        backtrace: String,
    },

    #[error("plugin {plugin} was stopped in {call}: {limit}")]
    Limit {
        plugin: String,
        call: &'static str,
        limit: Reached,
        /// The WebAssembly stack, innermost first; empty where it had ended.
        backtrace: String,
    },

    #[error(
        "plugin {plugin} gave back nonsense from {call}: {what}; nothing of it was used, and this is the plugin's fault"
    )]
    Nonsense { plugin: String, call: &'static str, what: String },
}

impl PluginError {
    /// The call in which the plugin failed: it trapped, reached a limit or gave back nonsense. `None` for what is no failure
    /// of a plugin that runs.
    pub fn call(&self) -> Option<&'static str> {
        match self {
            Self::Trap { call, .. } | Self::Limit { call, .. } | Self::Nonsense { call, .. } => Some(call),
            _ => None,
        }
    }

    /// What a failure is counted as.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Trap { .. } => "trap",
            Self::Limit { .. } => "limit",
            Self::Nonsense { .. } => "nonsense",
            _ => "error",
        }
    }

    /// The last lines that the plugin wrote before it failed.
    pub fn said(&self) -> &[String] {
        match self {
            Self::Trap { said, .. } => said,
            _ => &[],
        }
    }

    /// The WebAssembly stack when the plugin failed, innermost first; bounded, and escaped, for the names are the
    /// plugin's.
    pub fn backtrace(&self) -> Vec<String> {
        let (Self::Trap { backtrace, .. } | Self::Limit { backtrace, .. }) = self else { return Vec::new() };
        backtrace.lines().take(FRAMES).map(|line| excerpt(line.trim(), FRAME)).collect()
    }
}

fn told(said: &[String]) -> String {
    match said {
        [] => String::new(),
        said => format!("; it said: {}", quote(&said.join(" / "))),
    }
}

/// Why a component that was handed in was not compiled. Texts of the compiler are cut and escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Uncompiled {
    #[error("the compiler was stopped after {0:?}")]
    Time(Duration),
    #[error("the compiler needed more than {0} bytes of memory")]
    Memory(u64),
    #[error("the compiler refuses it: {0}")]
    Refused(String),
    #[error("the compiler died of it ({status}): {said}")]
    Died { status: String, said: String },
}

/// A limit of `[plugin.limits]` that an instance ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reached {
    #[error("it ran longer than {0:?}; if it needs longer, raise `call` in [plugin.limits]")]
    Call(Duration),
    #[error(
        "it asked for {asked} bytes of memory and may have {limit}; if it needs more, raise `memory` in [plugin.limits]"
    )]
    Memory { asked: usize, limit: usize },
    #[error(
        "it asked for {asked} table elements and may have {limit}; if it needs more, raise `table_elements` in [plugin.limits]"
    )]
    TableElements { asked: usize, limit: usize },
    #[error("it held more than {0} handles to host resources; if it needs more, raise `resources` in [plugin.limits]")]
    Resources(usize),
    #[error(
        "it put out more than {messages} messages or {bytes} bytes in one call; if it needs more, raise \
         `output_messages` and `output_bytes` in [plugin.limits]"
    )]
    Output { messages: usize, bytes: usize },
    #[error("it called itself deeper than its stack of {0} bytes")]
    Stack(usize),
}
