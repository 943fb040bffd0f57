//! Plans with real plugins, in the pipelines that they are meant for.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::config::{Overrides, Pipeline, PluginSpec, Source};
use crate::control::handle::{Registry, Wanted};
use crate::log::embedded::Embedded;
use crate::metrics::Counters;
use crate::plugin::{Engine, Limits};
use crate::store::Store;
use crate::swap::{Outcome, Trial};
use crate::versions::Versions;

struct Bench {
    engine: Engine,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { engine: Engine::new().unwrap(), folder: tempfile::tempdir().unwrap() }
    }

    fn version(&self, plugin: &str, settings: Value) -> Version {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../plugins/{plugin}.wasm"));
        Version::new(self.engine.load(&path).unwrap(), settings, Limits::default(), 0).unwrap()
    }

    /// A pipeline of the line `line` with these plugins.
    fn handle(&self, line: &str, name: &str, from: &str, to: &str, plugins: &[&Version]) -> Arc<Handle> {
        let spec = PluginSpec { path: "a.wasm".into(), settings: json!({}), limits: Limits::default() };
        let source = Source::new(&from.parse().unwrap()).unwrap();
        let sink = Sink::new(&to.parse().unwrap(), "p");
        let mut pipeline = Pipeline::new(name, source, vec![spec], sink, &Overrides::default()).unwrap();
        pipeline.partitions = 4;
        let log = Arc::new(Embedded::open(&self.folder.path().join("apogee.db")).unwrap());
        let file = plugins.iter().map(|version| (*version).clone()).collect();
        let versions = Versions::new(file, self.engine.clone(), Store::new(log, "group"));
        Handle::new(&pipeline, line, versions, Counters::default())
    }
}

const KAFKA: &str = "kafka://localhost:9092/in";

fn refusal(handle: &Arc<Handle>, slot: usize, new: &Version) -> String {
    plan(handle, slot, &handle.versions.current(), new).map(|plan| plan.changes).unwrap_err().to_string()
}

fn changes(handle: &Arc<Handle>, slot: usize, new: &Version) -> Vec<(String, String, String)> {
    plan(handle, slot, &handle.versions.current(), new).unwrap().changes
}

fn row(what: &str, old: &str, new: &str) -> (String, String, String) {
    (what.to_owned(), old.to_owned(), new.to_owned())
}

fn picks(names: &[&str]) -> Value {
    let fields: Vec<Value> = names.iter().map(|name| json!({ "from": name, "type": "float" })).collect();
    json!({ "fields": fields })
}

#[test]
fn a_plan_names_all_that_changes() {
    let bench = Bench::new();
    let flatten = bench.version("flatten", picks(&["a", "b"]));
    let handle = bench.handle("p", "p", KAFKA, "kafka://localhost:9092/out", &[&flatten]);
    let mut new = bench.version("flatten", json!({ "fields": [{ "from": "a" }, { "from": "c" }], "key": ["a"] }));
    assert_eq!(
        changes(&handle, 0, &new)[2..],
        [
            row("field a", "float or null", "text or null"),
            row("field b", "float or null", "(none)"),
            row("field c", "(none)", "text or null"),
            row("key", "none", "a"),
        ]
    );
    let settings: Vec<String> = changes(&handle, 0, &new).into_iter().map(|(what, _, _)| what).take(2).collect();
    assert_eq!(settings, ["setting fields", "setting key"]);
    new = flatten.clone();
    new.plugin.description.version = "9.9.9".to_owned();
    new.plugin.hash = "0123456789abcdef".into();
    let version = flatten.plugin.description.version.clone();
    let short = format!("{}…", &flatten.plugin.hash[..8]);
    assert_eq!(changes(&handle, 0, &new), [row("version", &version, "9.9.9"), row("hash", &short, "01234567…")]);
    let same = refusal(&handle, 0, &flatten);
    assert!(same.starts_with("pipeline p: flatten ") && same.ends_with("is what runs already"), "{same}");
}

#[test]
fn what_columns_need_must_stay() {
    let bench = Bench::new();
    let flatten = bench.version("flatten", picks(&["a", "b"]));
    let csv = bench.handle("p", "p", KAFKA, "csv:out", &[&flatten]);
    for (settings, problem) in [
        (picks(&["a"]), "has no field b;"),
        (picks(&["a", "b", "c"]), "has a new field c;"),
        (picks(&["a", "c"]), "has no field b, and a new field c;"),
        (json!({}), "does not say which fields"),
    ] {
        let refusal = refusal(&csv, 0, &bench.version("flatten", settings));
        assert!(refusal.contains("csv:out has the columns a, b") && refusal.contains(problem), "{refusal}");
        assert!(refusal.contains(" runs on: "), "{refusal}");
    }
    // In another order or of another kind they are the same columns.
    assert!(!changes(&csv, 0, &bench.version("flatten", picks(&["b", "a"]))).is_empty());
    // A table minds of which kind they are.
    let table = bench.handle("p", "p", KAFKA, "delta:out", &[&flatten]);
    let refusal = refusal(
        &table,
        0,
        &bench.version(
            "flatten",
            json!({ "fields": [{ "from": "a", "type": "integer" }, { "from": "b", "type": "float" }] }),
        ),
    );
    assert!(refusal.contains("has no field a (float), and a new field a (integer);"), "{refusal}");
    // Where another plugin follows, it is what the sink gets; another sink takes what comes.
    let followed = bench.handle("p", "p", KAFKA, "csv:out", &[&flatten, &flatten]);
    assert!(!changes(&followed, 0, &bench.version("flatten", picks(&["a"]))).is_empty());
}

#[test]
fn state_is_neither_lost_nor_given_to_another_plugin() {
    let bench = Bench::new();
    let counts = bench.version("window-counts", json!({ "window": "30s" }));
    let flatten = bench.version("flatten", json!({}));
    let handle = bench.handle("p", "p", KAFKA, "stdout:", &[&counts]);
    assert!(refusal(&handle, 0, &flatten).contains("keeps no state, and that of window-counts"));
    let altitude = bench.version("max-altitude", json!({}));
    assert!(altitude.plugin.has_state());
    assert!(refusal(&handle, 0, &altitude).contains("the state is that of window-counts"));
    let stateless = bench.handle("p", "p", KAFKA, "stdout:", &[&flatten]);
    assert!(refusal(&stateless, 0, &counts).contains("there is no place for it in the checkpoints"));
    let aggregates = json!({ "window": "30s", "aggregates": ["count", "max(x)"] });
    let more = bench.version("window-counts", aggregates);
    assert!(changes(&handle, 0, &more).contains(&row("setting aggregates", "(none)", "[\"count\",\"max(x)\"]")));
}

#[test]
fn a_new_import_is_refused_and_another_version_of_an_old_one_is_not() {
    let bench = Bench::new();
    let flatten = bench.version("flatten", json!({}));
    let handle = bench.handle("p", "p", KAFKA, "stdout:", &[&flatten]);
    let mut new = flatten.clone();
    new.plugin.imports.push("wasi:random/random@0.2.0".to_owned());
    assert!(refusal(&handle, 0, &new).contains(" imports wasi:random/random@0.2.0, which"));
    new.plugin.imports.pop();
    let known = new.plugin.imports[0].clone();
    new.plugin.imports[0] = format!("{}@0.2.99", known.split('@').next().unwrap());
    assert_eq!(changes(&handle, 0, &new)[0].0, "imports");
}

#[test]
fn groups_stay_in_one_partition() {
    let bench = Bench::new();
    let keyed =
        |key: &[&str]| bench.version("flatten", json!({ "key": key, "fields": [{ "from": "a" }, { "from": "b" }] }));
    let by = |by: &[&str]| bench.version("window-counts", json!({ "window": "30s", "by": by }));
    let (flatten, counts) = (keyed(&["a"]), by(&["a"]));
    let first = bench.handle("p", "p.1", KAFKA, "kafka://localhost:9092/between", &[&flatten]);
    let refused = refusal(&first, 0, &keyed(&["b"]));
    assert!(
        refused.contains("a key of the fields a,") && refused.contains(" of b: groups would be in several"),
        "{refused}"
    );
    // At the end of a line nobody here counts by it.
    let last = bench.handle("p", "p", KAFKA, "kafka://localhost:9092/out", &[&flatten]);
    assert_eq!(changes(&last, 0, &keyed(&["b"])).last(), Some(&row("key", "a", "b")));
    // A key that is made within a stage comes too late for what follows in it.
    let one = bench.handle("p", "p", KAFKA, "stdout:", &[&keyed(&[]), &counts]);
    assert!(refusal(&one, 0, &flatten).contains("makes that the key only after"));
    // Behind a topic of the line, by more fields, but not by others.
    let mut pipeline = bench.handle("p", "p", KAFKA, "stdout:", &[&counts]);
    Arc::get_mut(&mut pipeline).unwrap().pipeline.upstream = Some(Box::new(first.pipeline.clone()));
    assert!(refusal(&pipeline, 0, &by(&["b"])).contains("by b: groups would be in several partitions"));
    assert_eq!(changes(&pipeline, 0, &by(&["a", "b"])).last(), Some(&row("groups", "a", "a, b")));
}

#[test]
fn a_plugin_is_found_by_name_or_place() {
    let bench = Bench::new();
    let (flatten, counts) =
        (bench.version("flatten", json!({})), bench.version("window-counts", json!({ "window": "1m" })));
    let first = bench.handle("p", "p.1", KAFKA, "kafka://localhost:9092/between", &[&flatten, &flatten]);
    let line = [first, bench.handle("p", "p", KAFKA, "stdout:", &[&counts])];
    let found = |wanted, new: &Version| {
        place(&line, wanted, &new.plugin)
            .map(|(handle, slot)| (handle.pipeline.name.clone(), slot))
            .map_err(|e| e.to_string())
    };
    assert_eq!(found(None, &counts), Ok(("p".into(), 0)));
    assert_eq!(found(Some("window-counts"), &flatten), Ok(("p".into(), 0)));
    assert_eq!(found(Some("2"), &flatten), Ok(("p.1".into(), 1)));
    assert_eq!(found(Some("3"), &flatten), Ok(("p".into(), 0)));
    let all = "with --plugin and its name or number: 1 flatten, 2 flatten, 3 window-counts";
    for (wanted, what) in
        [(None, "more than one plugin \"flatten\""), (Some("4"), "no plugin \"4\""), (Some("0"), "no plugin \"0\"")]
    {
        let error = found(wanted, &flatten).unwrap_err();
        assert!(error.contains(what) && error.ends_with(all), "{error}");
    }
}

#[test]
fn settings_are_put_upon_the_present_ones() {
    let set = |set: &[&str]| {
        let set: Vec<String> = set.iter().map(|set| (*set).to_owned()).collect();
        settings(&json!({ "a": 1, "b": "x" }), &set).map_err(|error| error.to_string())
    };
    assert_eq!(set(&["b=2", "c=text"]), Ok(json!({ "a": 1, "b": 2, "c": "text" })));
    assert_eq!(set(&["b"]), Err("--set b: no value; write KEY=VALUE".to_owned()));
    assert_eq!(set(&["b=1", "b=2"]), Err("--set b=2: this key is set twice; remove one".to_owned()));
}

/// A change to `flatten` with a field more, as it is asked for.
fn wanted() -> Wanted {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/flatten.wasm");
    Wanted { plugin: None, component: std::fs::read(path).unwrap(), set: vec!["separator=.".to_owned()] }
}

#[test]
fn no_trial_holds_a_transaction_open_for_longer_than_half_its_time() {
    let bench = Bench::new();
    let flatten = bench.version("flatten", json!({}));
    let registry = Registry::default();
    registry.add(&bench.handle("p", "p", KAFKA, "kafka://localhost:9092/out", &[&flatten]));
    let (_, change) = registry.plan("p", &wanted()).unwrap();
    let trial = Trial { time: Duration::from_millis(5_001), ..Trial::default() };
    let refused = change.swap(&wanted().component, trial).unwrap_err().to_string();
    assert!(refused.contains("make it 5s or less (--trial-time)"), "{refused}");
}

#[test]
fn what_has_ended_says_so_and_keeps_nobody_waiting() {
    let bench = Bench::new();
    let flatten = bench.version("flatten", json!({}));
    let handle = bench.handle("p", "p", KAFKA, "kafka:///out", &[&flatten]);
    let registry = Registry::default();
    registry.add(&handle);
    let (_, change) = registry.plan("p", &wanted()).unwrap();
    let (_, late) = registry.plan("p", &wanted()).unwrap();
    std::thread::scope(|scope| {
        let swap = scope.spawn(|| change.swap(&wanted().component, Trial::default()));
        while handle.status().changing.is_none() {
            std::thread::yield_now();
        }
        handle.end(Some("the disk is full".to_owned()));
        let outcome = swap.join().unwrap().unwrap();
        assert_eq!(outcome, Outcome::Refused { reason: "the pipeline has ended".to_owned() });
    });
    assert_eq!(handle.status().ended.unwrap().error.as_deref(), Some("the disk is full"));
    let ended = "pipeline p has ended with an error: the disk is full";
    assert_eq!(late.swap(&wanted().component, Trial::default()).unwrap_err().to_string(), ended);
    assert_eq!(registry.plan("p", &wanted()).err().unwrap().to_string(), ended);
}

#[test]
fn a_swap_that_was_planned_upon_another_version_is_refused() {
    let bench = Bench::new();
    let flatten = bench.version("flatten", json!({}));
    let handle = bench.handle("p", "p", KAFKA, "kafka:///out", &[&flatten]);
    let registry = Registry::default();
    registry.add(&handle);
    let (_, change) = registry.plan("p", &wanted()).unwrap();
    let other = Version { swapped: Some(handle.versions.swapped(0)), ..bench.version("flatten", json!({})) };
    handle.versions.adopt(0, other);
    let refused = change.swap(&wanted().component, Trial::default()).unwrap_err().to_string();
    assert!(refused.contains("another version was swapped in since this change was planned"), "{refused}");
    assert_eq!(handle.status().changing, None);
}
