//! `host plugin`: what a component is, before it is given any message; and which ones run.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::cli::control::Reach;
use crate::cli::{Global, printable, status};
use crate::config::error::unreadable;
use crate::plugin::Engine;
use crate::sink::stdout::push_json;

const EXAMPLES: &str = "\
Examples:
  host plugin inspect plugins/flatten.wasm
  host plugin inspect plugins/flatten.wasm --json";

#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    /// Show name, version, hash, size, imports, exports and settings of a component
    #[command(after_help = EXAMPLES)]
    Inspect {
        /// The component
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// List the plugins that the hosts of this machine run, and those that they keep
    #[command(after_help = "Examples:\n  host plugin list\n  host plugin list --json")]
    List {
        #[command(flatten)]
        reach: Reach,
    },
}

impl Plugin {
    pub(super) fn run(self, global: Global) -> anyhow::Result<()> {
        match self {
            Self::Inspect { file } => inspect(&file, global),
            Self::List { reach } => status::plugins(&reach, global),
        }
    }
}

fn inspect(file: &Path, global: Global) -> anyhow::Result<()> {
    let size = std::fs::metadata(file).map_err(|error| unreadable(file, &error))?.len();
    let plugin = Engine::new()?.load(file)?;
    let description = &plugin.description;
    // A schema that is not JSON is shown as the text that it is.
    let schema: serde_json::Value =
        serde_json::from_str(&description.settings).unwrap_or_else(|_| printable(&description.settings).into());
    let mut out = io::stdout().lock();
    if global.json {
        let object = serde_json::json!({
            "file": file.display().to_string(),
            "name": description.name,
            "version": description.version,
            "summary": description.summary,
            "sha256": &*plugin.hash,
            "bytes": size,
            "imports": plugin.imports,
            "exports": plugin.exports,
            "settings": schema,
        });
        return out.write_all(&shown(&object.to_string())).map_err(Into::into);
    }
    let list = |names: &[String]| {
        if names.is_empty() { "none".to_owned() } else { printable(&names.join(", ")) }
    };
    writeln!(out, "{} {}", printable(&description.name), printable(&description.version))?;
    writeln!(out, "{}\n", printable(&description.summary))?;
    writeln!(out, "sha256    {}", plugin.hash)?;
    writeln!(out, "size      {size} bytes")?;
    writeln!(out, "imports   {}", list(&plugin.imports))?;
    writeln!(out, "exports   {}", list(&plugin.exports))?;
    write!(out, "settings  ")?;
    Ok(out.write_all(&shown(&serde_json::to_string_pretty(&schema)?))?)
}

/// JSON, fit for a terminal.
fn shown(json: &str) -> Vec<u8> {
    let mut shown = Vec::new();
    push_json(json.as_bytes(), &mut shown);
    shown.push(b'\n');
    shown
}
