//! `host compile`: what the host starts to compile a component that somebody handed in. Not for people.

use std::path::PathBuf;

use clap::Args;

use crate::plugin;

#[derive(Debug, Args)]
pub(super) struct Compile {
    /// Where compiled code is kept
    #[arg(long)]
    cache: PathBuf,
    /// Seconds of processor time
    #[arg(long)]
    cpu: u64,
    /// Bytes of address space
    #[arg(long)]
    memory: u64,
}

impl Compile {
    pub(super) fn run(self) -> anyhow::Result<()> {
        plugin::compile(&self.cache, self.cpu, self.memory)
    }
}
