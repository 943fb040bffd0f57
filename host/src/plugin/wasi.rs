//! WASI 0.2 with nothing behind it, because most toolchains import it whether they need it or not.
//!
//! No files, no environment, no arguments, no input. The clocks stand still at zero, waiting is over
//! at once, and randomness is a fixed sequence: a plugin is a function of its input (Invariant 4).
//! Sockets are not linked at all.

use std::time::Duration;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{HostWallClock, WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::bindings::{self, sync};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::random::{Deterministic, WasiRandom};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::plugin::guest_log::GuestLog;
use crate::plugin::limits::{Keeper, Limits};

/// Whether a plugin may import this: the types of the wall, and what is linked below.
pub(super) fn may_import(name: &str) -> bool {
    const WASI: &[&str] = &["cli/", "clocks/", "filesystem/", "io/", "random/"];
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    match interface.strip_prefix("wasi:") {
        Some(interface) => version.starts_with("0.2.") && WASI.iter().any(|package| interface.starts_with(package)),
        None => name == "apogee:plugin/messages@0.1.0",
    }
}

/// Most random bytes in one call.
const RANDOM: u64 = 64 << 10;

/// What belongs to one instance on the host's side.
pub(super) struct Guest {
    wasi: WasiCtx,
    table: ResourceTable,
    pub keeper: Keeper,
    pub log: GuestLog,
}

impl Guest {
    pub fn new(limits: &Limits, log: GuestLog) -> Self {
        let wasi = WasiCtx::builder()
            .stdout(log.clone())
            .stderr(log.clone())
            .wall_clock(Standstill)
            .secure_random(Deterministic::new(vec![0x5a, 0xa5, 0x3c, 0xc3]))
            .insecure_random(Deterministic::new(vec![0x5a, 0xa5, 0x3c, 0xc3]))
            .insecure_random_seed(0)
            .max_random_size(RANDOM)
            .allow_tcp(false)
            .allow_udp(false)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resources);
        Self { wasi, table, keeper: Keeper::new(limits), log }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    use bindings::{cli, clocks, filesystem, random};

    clocks::wall_clock::add_to_linker::<Guest, WasiClocks>(linker, Guest::clocks)?;
    monotonic_clock::add_to_linker::<Guest, NoTime<'static>>(linker, |guest| NoTime(&mut guest.table))?;
    filesystem::preopens::add_to_linker::<Guest, WasiFilesystem>(linker, Guest::filesystem)?;
    sync::filesystem::types::add_to_linker::<Guest, WasiFilesystem>(linker, Guest::filesystem)?;
    random::random::add_to_linker::<Guest, WasiRandom>(linker, |guest| guest.wasi.random())?;
    random::insecure::add_to_linker::<Guest, WasiRandom>(linker, |guest| guest.wasi.random())?;
    random::insecure_seed::add_to_linker::<Guest, WasiRandom>(linker, |guest| guest.wasi.random())?;
    cli::exit::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::environment::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::stdin::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::stdout::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::stderr::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_input::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_output::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    bindings::io::error::add_to_linker::<Guest, Table>(linker, |guest| &mut guest.table)?;
    sync::io::poll::add_to_linker::<Guest, Table>(linker, |guest| &mut guest.table)?;
    sync::io::streams::add_to_linker::<Guest, Table>(linker, |guest| &mut guest.table)
}

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

struct Standstill;

impl HostWallClock for Standstill {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

/// A monotonic clock that stands still. Waiting for it must not hold a host thread,
/// because epochs interrupt guest code only.
struct NoTime<'a>(&'a mut ResourceTable);

impl HasData for NoTime<'static> {
    type Data<'a> = NoTime<'a>;
}

impl monotonic_clock::Host for NoTime<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(0)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1_000_000_000)
    }

    fn subscribe_instant(&mut self, _: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let over = self.0.push(Over)?;
        subscribe(self.0, over)
    }

    fn subscribe_duration(&mut self, _: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe_instant(0)
    }
}

/// A wait that is over.
struct Over;

#[wasmtime_wasi::async_trait]
impl Pollable for Over {
    async fn ready(&mut self) {}
}
