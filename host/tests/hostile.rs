//! Plugins that misbehave on purpose. Each is stopped with a text that tells the operator which plugin, what it did
//! and what to do; the host lives on, and the next plugin is unharmed.

mod texts;

use std::collections::BTreeSet;
use std::time::Duration;

use host::error::Fault;
use host::message::Batch;
use host::plugin::{Engine, Entries, Instance, Limits, Output, PluginError};
use serde_json::json;

use self::texts::TEXTS;
use crate::program::{csv_rows, plugin, run};

/// Small limits, so that the tests are quick.
fn limits() -> Limits {
    Limits {
        memory: 32 << 20,
        call: Duration::from_millis(300),
        output_messages: 10_000,
        output_bytes: 1 << 20,
        resources: 100,
        ..Limits::default()
    }
}

fn open(engine: &Engine, how: &str, limits: &Limits) -> Result<Instance, PluginError> {
    engine.load(&plugin("hostile"))?.open(&json!({ "how": how }), limits)
}

fn batch() -> Batch {
    let mut batch = Batch::new();
    for value in [&b"one"[..], b"two", b"three"] {
        batch.push(None, Some(value), 0);
    }
    batch
}

/// All that a host asks of an instance, in order.
fn work(instance: &mut Instance) -> Result<Output, PluginError> {
    instance.restore("0.1.0", &Entries::default())?;
    let output = instance.process(&batch())?;
    instance.advance(0)?;
    while instance.changes()?.is_some() {}
    Ok(output)
}

/// What the operator sees when a hostile plugin is opened and put to work.
fn misbehave(engine: &Engine, how: &str, limits: &Limits) -> String {
    let outcome = open(engine, how, limits).and_then(|mut instance| work(&mut instance));
    let text = match outcome {
        Ok(output) => panic!("{how} got away with {output:?}"),
        Err(error) => error.to_string(),
    };
    // The host is alive, and whatever comes next is unharmed.
    let output = open(engine, "echo", limits).and_then(|mut echo| work(&mut echo)).expect("an echo");
    assert!(output.messages.values.iter().eq(batch().values.iter()), "after {how}");
    text
}

/// Every way that the plugin knows, as it lists them where it is asked for one that it does not know.
fn ways(engine: &Engine) -> BTreeSet<String> {
    let refusal = open(engine, "?", &limits()).map(|_| ()).unwrap_err().to_string();
    let (_, list) = refusal.split_once("expected one of ").expect("a list of the ways");
    // Names in backquotes, then the place in the settings.
    assert!(!list.ends_with('…'), "the list is cut: {list}");
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn each_is_stopped_with_a_text_that_says_what_to_do() {
    let engine = Engine::new().unwrap();
    let known = TEXTS.iter().map(|(how, _)| *how).chain(UNSTOPPED).map(str::to_owned).collect();
    assert_eq!(ways(&engine), known, "each way of the plugin has its text here");
    let texts = TEXTS.map(|(how, _)| (how, misbehave(&engine, how, &limits())));
    assert_eq!(texts.each_ref().map(|(how, text)| (*how, text.as_str())), TEXTS);
}

/// What is not stopped; the first is a comparison, the others have a test of their own.
const UNSTOPPED: [&str; 4] = ["echo", "log-flood", "clock-random-env", "reject"];

/// What is poison does no harm until it comes, and its plugin keeps counts, by which the host shows what it lost.
#[test]
fn poison_is_one_message_and_the_others_are_counted() {
    let engine = Engine::new().unwrap();
    let plugin = engine.load(&plugin("hostile")).unwrap();
    let open = |how: &str| plugin.open(&json!({ "how": how, "marked": true, "keep": true }), &limits()).unwrap();
    let values = |output: &Output| output.messages.values.iter().map(|it| it.map(<[u8]>::to_vec)).collect::<Vec<_>>();
    let mut kept = Entries::default();
    for (how, failure) in [
        ("trap", "failed in process: it gave up"),
        ("loop-in-process", "was stopped in process: it ran longer"),
        ("allocate", "was stopped in process: it asked for"),
    ] {
        let mut instance = open(how);
        let output = instance.process(&batch()).unwrap();
        assert_eq!(values(&output)[2].as_deref(), Some(&br#"{"count":3,"message":three}"#[..]));
        assert!(instance.memory() > 1 << 20 && instance.memory() <= limits().memory, "{}", instance.memory());
        kept = instance.changes().unwrap().expect("a count");
        assert!(instance.changes().unwrap().is_none());
        let mut poison = batch();
        poison.push(None, Some(b"a poison"), 0);
        let error = instance.process(&poison).unwrap_err().to_string();
        assert!(error.contains(failure), "{error}");
    }
    let mut other = open("loop-in-process");
    other.restore("0.1.0", &kept).unwrap();
    assert_eq!(values(&other.process(&batch()).unwrap())[0].as_deref(), Some(&br#"{"count":4,"message":one}"#[..]));
    // A shorter time for a call holds from the next one on.
    other.limit_calls(Duration::from_millis(30));
    let mut poison = Batch::new();
    poison.push(None, Some(b"poison"), 0);
    let error = other.process(&poison).unwrap_err().to_string();
    assert!(error.contains("it ran longer than 30ms"), "{error}");
}

#[test]
fn a_flood_of_log_lines_is_cut_escaped_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("in.jsonl"), "{}\n").unwrap();
    let plugin = plugin("hostile");
    let flood = ["--set", "how=log-flood", "--set", "count=1000"];
    let output = run(
        directory.path(),
        &[&["--plugin", plugin.to_str().unwrap(), "--from", "file:in.jsonl"][..], &flood].concat(),
    );
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{}\n");
    assert!(!stderr.contains('\x1b'), "an escape sequence came through");
    let said: Vec<&str> = stderr.lines().filter_map(|line| Some(line.split_once("hostile 0.1.0: ")?.1)).collect();
    let mut expected = vec!["long".repeat(256)];
    expected.extend((0..99).map(|n| format!("\\u{{1b}}[31mflood\\u{{7}}\\u{{1b}}[2J line {n}")));
    expected.push("901 log lines dropped; it may write 100 a minute (`log_lines` in [plugin.limits])".to_owned());
    assert_eq!(said, expected);
}

/// Each message that it fails on is looked for in new instances, each of which says why it gives up.
#[test]
fn a_plugin_that_fails_again_and_again_has_no_more_lines_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let messages: String = (0..1_000).map(|n| if n % 150 == 10 { "\"poison\"\n" } else { "{}\n" }).collect();
    std::fs::write(directory.path().join("in.jsonl"), messages).unwrap();
    let text = format!(
        "[source]\nuri = \"file:in.jsonl\"\n[[plugin]]\nfile = {:?}\nsettings = {{ how = \"trap\", marked = true }}\n\
         limits.log_lines = 5\n[sink]\nuri = \"stdout:\"\n",
        plugin("hostile")
    );
    std::fs::write(directory.path().join("it.toml"), text).unwrap();
    let output = run(directory.path(), &["run", "it.toml"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("rejected by hostile: trap  7"), "{stderr}");
    let said: Vec<&str> = stderr.lines().filter_map(|line| Some(line.split_once("hostile 0.1.0: ")?.1)).collect();
    assert!(said.len() == 6 && said[5].contains(" log lines dropped; it may write 5 a minute"), "{said:#?}");
}

#[test]
fn the_other_pipeline_of_a_process_is_unharmed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::write(path.join("in.jsonl"), "{\"a\":{\"b\":1}}\n").unwrap();
    for (name, plugin, settings, sink) in [
        ("bad", plugin("hostile"), "how = \"loop-in-process\"", "stdout:"),
        ("good", plugin("flatten"), "fields = [{ from = \"a_b\" }]", "csv:good"),
    ] {
        let text = format!(
            "failures.policy = \"stop\"\n[source]\nuri = \"file:in.jsonl\"\n[[plugin]]\nfile = {plugin:?}\n[plugin.settings]\n{settings}\n\
             [plugin.limits]\ncall = \"300ms\"\n[sink]\nuri = {sink:?}\n"
        );
        std::fs::write(path.join(format!("{name}.toml")), text).unwrap();
    }
    let output = run(path, &["run", "bad.toml", "good.toml"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("was stopped in process: it ran longer than 300ms"), "{stderr}");
    assert_eq!(csv_rows(&path.join("good"), &["a_b"]), [["1"]]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    // Nothing was committed, so the message is still to be read.
    let output = run(path, &["run", "bad.toml"]);
    assert_eq!(output.status.code(), Some(1), "the message was lost");
}

#[test]
fn what_is_not_a_component_of_this_interface_is_refused() {
    let engine = Engine::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("it.wasm");
    let load = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        engine.load(&path).map(|_| ()).unwrap_err().to_string().replace(path.to_str().unwrap(), "it.wasm")
    };
    let of_another_version = {
        let mut bytes = std::fs::read(plugin("flatten")).unwrap();
        let (old, new) = (b"apogee:plugin/transform@0.1.0", b"apogee:plugin/transform@0.9.0");
        let mut at = 0;
        while let Some(found) = bytes[at..].windows(old.len()).position(|window| window == old) {
            bytes[at + found..][..new.len()].copy_from_slice(new);
            at += found + new.len();
        }
        bytes
    };
    assert_eq!(load(b""), "it.wasm is not a WebAssembly component: the file is empty");
    assert_eq!(load(b"#!/bin/sh"), "it.wasm is not a WebAssembly component: it does not start as WebAssembly does");
    assert_eq!(
        load(b"\0asm\x01\0\0\0"),
        "it.wasm is not a WebAssembly component: it is a core module; build it for wasm32-wasip2, or wrap it with: \
         wasm-tools component new"
    );
    assert_eq!(
        load(b"\x7fELF\x02\x01\x01"),
        "it.wasm is not a WebAssembly component: it holds compiled code, which is never taken from outside; give the \
         .wasm it was compiled from"
    );
    assert_eq!(
        load(b"\0asm\x0d\0\x01\0"),
        "it.wasm does not export apogee:plugin/transform@0.1.0: it exports nothing; build it against the WIT in `wit/`"
    );
    assert_eq!(
        load(&of_another_version),
        "it.wasm does not export apogee:plugin/transform@0.1.0: it exports apogee:plugin/transform@0.9.0; build it \
         against the WIT in `wit/`"
    );
}

/// Components whose names fit and whose versions or types do not: a mistake in what was built, not a failure of the run.
#[test]
fn what_does_not_fit_the_interface_is_told_from_what_fails() {
    let engine = Engine::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("it.wasm");
    let text = |component: &str| {
        std::fs::write(&path, wat::parse_str(component).unwrap()).unwrap();
        let error = anyhow::Error::new(engine.load(&path).map(|_| ()).unwrap_err());
        assert_eq!(Fault::of(&error).code(), 2, "{error}");
        error.to_string().replace(path.to_str().unwrap(), "it.wasm")
    };
    let exporting = |functions: &str| {
        format!(
            r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))
                (func $f (canon lift (core func $i "f")))
                (instance $t {functions}) (export "apogee:plugin/transform@0.1.0" (instance $t)))"#
        )
    };
    assert_eq!(
        text(r#"(component (import "wasi:cli/stdout@0.3.0" (instance)))"#),
        "it.wasm imports wasi:cli/stdout@0.3.0, which no plugin gets: plugins compute, and have no network, no files and \
         no host of their own; build it without what needs that"
    );
    let other_functions = text(&exporting(r#"(export "describe" (func $f))"#));
    assert!(other_functions.starts_with("plugin it does not fit this host: "), "{other_functions}");
    assert!(other_functions.contains("does not have export `open`"), "{other_functions}");
    let other_types = r#"(export "describe" (func $f)) (export "open" (func $f)) (export "process" (func $f))"#;
    let other_types = text(&exporting(other_types));
    assert!(other_types.starts_with("plugin it does not fit this host: "), "{other_types}");
    assert!(
        other_types.ends_with("build it against the WIT in `wit/`, and against WASI 0.2 where at all"),
        "{other_types}"
    );
}

/// Random damage to a component, and random bytes after its magic number: an error or a plugin, never a crash.
#[test]
fn damaged_components_never_harm_the_host() {
    let engine = Engine::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("damaged.wasm");
    let whole = std::fs::read(plugin("flatten")).unwrap();
    let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..60 {
        let mut bytes = whole.clone();
        match round % 3 {
            0 => (0..random.usize(1..20)).for_each(|_| {
                let at = random.usize(8..bytes.len());
                bytes[at] = random.u8(..);
            }),
            1 => bytes.truncate(random.usize(8..whole.len())),
            _ => {
                bytes.truncate(8);
                bytes.extend(std::iter::repeat_with(|| random.u8(..)).take(200));
            }
        }
        std::fs::write(&path, bytes).unwrap();
        if let Ok(plugin) = engine.load(&path)
            && let Ok(mut instance) = plugin.open(&json!({}), &limits())
        {
            let _ = instance.process(&batch());
        }
    }
    let mut echo = open(&engine, "echo", &limits()).unwrap();
    assert_eq!(echo.process(&batch()).unwrap().messages.len(), 3);
}

#[test]
fn clock_randomness_environment_and_files_are_not_there() {
    let engine = Engine::new().unwrap();
    let ask = || {
        let output = open(&engine, "clock-random-env", &Limits::default()).unwrap().process(&batch()).unwrap();
        let value = output.messages.values.iter().next().flatten().expect("an answer").to_vec();
        serde_json::from_slice::<serde_json::Value>(&value).unwrap()
    };
    let first = ask();
    assert_eq!(first, ask(), "two instances see the same");
    assert_eq!(
        first,
        json!({
            "arguments": [], "clock_ns": "0", "directory": "/", "elapsed_ns": "0", "environment": [],
            "files": "NotFound", "random": "4952851536318644461", "write": "NotFound",
        })
    );
}

#[test]
fn an_import_of_sockets_is_refused_by_name() {
    let engine = Engine::new().unwrap();
    let path = plugin("hostile_socket");
    let error = engine.load(&path).map(|_| ()).unwrap_err().to_string();
    assert_eq!(
        error.replace(path.to_str().unwrap(), "plugins/hostile_socket.wasm"),
        "plugins/hostile_socket.wasm imports wasi:sockets/network@0.2.6, wasi:sockets/instance-network@0.2.6, \
         wasi:sockets/udp@0.2.6, wasi:sockets/udp-create-socket@0.2.6, wasi:sockets/tcp@0.2.6, \
         wasi:sockets/tcp-create-socket@0.2.6, wasi:sockets/ip-name-lookup@0.2.6, which no plugin gets: plugins \
         compute, and have no network, no files and no host of their own; build it without what needs that"
    );
}

/// Components in text, whose guest code runs before anything of the interface is called: the limits hold there too.
#[test]
fn bombs_go_off_harmlessly_while_a_component_starts() {
    let engine = Engine::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bomb.wasm");
    let load = |module: &str, instances: usize| {
        let instances: String = (0..instances).map(|n| format!("(core instance $i{n} (instantiate $m))")).collect();
        let component = format!(
            r#"(component
                (core module $m {module} (func (export "f")))
                {instances}
                (func $f (canon lift (core func $i0 "f")))
                (instance $t (export "describe" (func $f)) (export "open" (func $f)) (export "process" (func $f)))
                (export "apogee:plugin/transform@0.1.0" (instance $t)))"#
        );
        std::fs::write(&path, wat::parse_str(component).unwrap()).unwrap();
        engine.load(&path).map(|_| ()).unwrap_err().to_string()
    };
    let start = |body: &str| format!("(func $s {body}) (start $s)");
    for (bomb, instances, text) in [
        (start("(loop (br 0))"), 1, "it ran longer than 5s; if it needs longer, raise `call` in [plugin.limits]"),
        (
            "(memory 32768)".to_owned(),
            1,
            "it asked for 2147483648 bytes of memory and may have 268435456; if it needs more, raise `memory` in \
             [plugin.limits]",
        ),
        (
            format!(
                "(table $t 10 funcref) {}",
                start("(loop (drop (table.grow $t (ref.null func) (i32.const 90000))) (br 0))")
            ),
            1,
            "it asked for 180010 table elements and may have 100000; if it needs more, raise `table_elements` in \
             [plugin.limits]",
        ),
        ("(func $s (call $s)) (start $s)".to_owned(), 1, "it called itself deeper than its stack of 524288 bytes"),
        (
            "(memory 2000)".to_owned(),
            5,
            "it asked for 393216000 bytes of memory and may have 268435456; if it needs more, raise `memory` in \
             [plugin.limits]",
        ),
    ] {
        assert_eq!(load(&bomb, instances), format!("plugin bomb was stopped in its start: {text}"), "{bomb}");
    }
    let many = load("", 200);
    assert!(many.contains("200") && many.contains("instances"), "{many}");
}
