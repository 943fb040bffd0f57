//! Components that somebody hands in: compiled by another process, which has limits. Bombs for the compiler cost only
//! themselves, and whatever is handed in next is taken.

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use host::error::Fault;
use host::plugin::{CompilerLimits, Engine, MOST_BYTES, Plugin, PluginError, Uncompiled};

use crate::program::{host, plugin};

fn engine(limits: CompilerLimits) -> Engine {
    Engine::with_compiler(env!("CARGO_BIN_EXE_host").into(), limits).unwrap()
}

/// Small limits, so that the tests are quick.
fn small() -> CompilerLimits {
    CompilerLimits { cpu: 2, ..CompilerLimits::default() }
}

fn flatten() -> Vec<u8> {
    std::fs::read(plugin("flatten")).unwrap()
}

/// `flatten` as no cache has it: with a custom section of random bytes.
fn fresh() -> Vec<u8> {
    let mut bytes = flatten();
    bytes.extend_from_slice(&[0, 18, 1, b'x']);
    bytes.extend(std::iter::repeat_with(|| fastrand::u8(..)).take(16));
    bytes
}

fn refused(taken: Result<Plugin, PluginError>) -> PluginError {
    taken.map(|plugin| panic!("{} was taken in", plugin.title())).unwrap_err()
}

/// Takes a bomb in, and what is good right after it; says what became of the bomb.
fn set_off(engine: &Engine, bomb: &str) -> String {
    let bomb = wat::parse_str(bomb).unwrap();
    let start = Instant::now();
    let error = refused(engine.take_in(&bomb));
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    assert_eq!(engine.take_in(&flatten()).unwrap().description.name, "flatten");
    let error = anyhow::Error::new(error);
    assert_eq!(Fault::of(&error).code(), 2, "{error}");
    let text = error.to_string();
    assert!(text.len() < 2_000, "{text}");
    text
}

/// A component that takes the compiler a minute or more.
pub fn bomb() -> Vec<u8> {
    wat::parse_str(module(&web(4_000, 40_000))).unwrap()
}

/// A component with one core module of this text.
fn module(text: &str) -> String {
    format!("(component (core module {text}))")
}

/// A function whose many variables each have many values, in many blocks.
fn web(variables: usize, blocks: usize) -> String {
    let mut text = format!("(func (param i32) (local{})", " i32".repeat(variables));
    for block in 0..blocks {
        let (one, other) = (1 + block % variables, 1 + (block * 7 + 3) % variables);
        let _ = write!(
            text,
            "(block (loop (br_if 1 (local.get {one})) (local.set {other} (i32.add (local.get {one}) (local.get 0)))\
             (br_if 0 (local.get {other}))))"
        );
    }
    text + ")"
}

#[test]
fn a_component_is_compiled_by_another_process_and_once() {
    let engine = engine(CompilerLimits::default());
    let bytes = fresh();
    let taken = engine.take_in(&bytes).unwrap();
    assert_eq!(taken.path.to_string_lossy(), format!("sha256:{}", &taken.hash[..16]));
    assert_eq!((&*taken.title(), taken.size), ("flatten 0.1.0", bytes.len()));
    taken.open(&serde_json::json!({}), &host::plugin::Limits::default()).unwrap();
    assert_eq!(engine.compiled(), 0, "this process compiled it");

    // What is at hand starts no process: here there is none that could be.
    let alone = Engine::with_compiler("/nowhere/host".into(), CompilerLimits::default()).unwrap();
    let error = refused(alone.take_in(&bytes)).to_string();
    assert!(error.starts_with("the sandbox cannot start: /nowhere/host: No such file"), "{error}");
    assert_eq!(alone.load(&plugin("flatten")).unwrap().hash, alone.take_in(&flatten()).unwrap().hash);
}

#[test]
fn bombs_for_the_compiler_cost_only_themselves() {
    let engine = engine(small());
    engine.load(&plugin("flatten")).unwrap();
    let mut deep = "(component (type $t0 (tuple u8 u8))".to_owned();
    (1..100).for_each(|n| write!(deep, "(type $t{n} (tuple $t{} $t{}))", n - 1, n - 1).unwrap());
    let mut lists = "(component (type $t0 (list u8))".to_owned();
    (1..5_000).for_each(|n| write!(lists, "(type $t{n} (list $t{}))", n - 1).unwrap());
    let cases: String = (0..1_001).map(|n| format!("(case \"c{n}\" (list string))")).collect();
    let functions = "(func (param i32) (result i32) (i32.mul (local.get 0) (local.get 0)))".repeat(64_000);
    for (name, bomb) in [
        ("deep", format!("{deep})")),
        ("lists", format!("{lists})")),
        ("cases", format!("(component (type $t (variant {cases})) (export \"t\" (type $t)))")),
        ("functions", module(&functions)),
        ("locals", module(&format!("(func (local{}))", " i64".repeat(60_000)))),
        ("web", module(&web(2_000, 20_000))),
    ] {
        let start = Instant::now();
        println!("{name}: {} ({:?})", set_off(&engine, &bomb), start.elapsed());
    }
}

#[test]
fn a_compiler_that_needs_too_much_is_stopped() {
    let bomb = wat::parse_str(module(&web(2_000, 20_000))).unwrap();
    let why = |limits| match refused(engine(limits).take_in(&bomb)) {
        PluginError::Uncompiled { why, .. } => why,
        other => panic!("{other}"),
    };
    let default = CompilerLimits::default();
    assert_eq!(why(CompilerLimits { cpu: 1, ..default.clone() }), Uncompiled::Time(Duration::from_secs(1)));
    let moment = Duration::from_millis(20);
    assert_eq!(why(CompilerLimits { time: moment, ..default.clone() }), Uncompiled::Time(moment));
    let memory = 300 << 20;
    assert_eq!(why(CompilerLimits { memory, ..default }), Uncompiled::Memory(memory));
}

#[test]
fn without_a_cache_directory_there_is_one_for_as_long_as_it_takes() {
    let [directory, scratch] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut inspect = host(directory.path(), &["plugin", "inspect", plugin("flatten").to_str().unwrap()]);
    let output = inspect.env_clear().env("TMPDIR", scratch.path()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.contains("there is no cache directory"), "{stderr}");
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "it is left behind");
}

/// Compiled code is run as it is there, so whoever could put some there could run it.
#[test]
fn a_cache_directory_that_others_can_write_to_is_not_used() {
    let [directory, caches] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let cache = caches.path().join("apogee/compiled");
    let inspect = || {
        let mut inspect = host(directory.path(), &["plugin", "inspect", plugin("flatten").to_str().unwrap()]);
        let output = inspect.env("XDG_CACHE_HOME", caches.path()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        (std::fs::read_dir(&cache).unwrap().count(), stderr)
    };
    let mode = |mode| std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(mode)).unwrap();
    std::fs::create_dir_all(&cache).unwrap();
    for others in [0o777, 0o770, 0o702] {
        mode(others);
        let (kept, stderr) = inspect();
        assert!(
            kept == 0 && stderr.contains("there is no cache directory that only this user"),
            "{others:o}: {stderr}"
        );
    }
    std::fs::remove_dir(&cache).unwrap();
    let (kept, stderr) = inspect();
    assert!(kept > 0 && stderr.is_empty(), "{stderr}");
    assert_eq!(std::fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn what_is_no_component_never_reaches_the_compiler() {
    let engine = Engine::with_compiler("/nowhere/host".into(), CompilerLimits::default()).unwrap();
    let compiled = wasmtime::Engine::default().precompile_component(&wat::parse_str("(component)").unwrap()).unwrap();
    for (bytes, text) in [
        (Vec::new(), "the file is empty".to_owned()),
        (
            compiled,
            "it holds compiled code, which is never taken from outside; give the .wasm it was compiled from".to_owned(),
        ),
        (b"#!/bin/sh".to_vec(), "it does not start as WebAssembly does".to_owned()),
        (vec![0; MOST_BYTES + 1], format!("it has {} bytes, and {MOST_BYTES} are the most", MOST_BYTES + 1)),
    ] {
        let error = refused(engine.take_in(&bytes)).to_string();
        assert!(error.ends_with(&format!(" is not a WebAssembly component: {text}")), "{error}");
    }
}
