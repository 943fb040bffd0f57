//! Which version of a plugin a task goes on with, and who does a change.

use std::sync::Arc;

use host::checkpoint::{Checkpoint, Identity, Sum, Swapped};
use host::log::embedded::Embedded;
use host::plugin::{Engine, Limits};
use host::store::Store;
use host::swap::{Aim, Outcome, Proposal, Trial};
use host::version::Version;
use host::versions::Versions;
use serde_json::{Value, json};

use crate::program::plugin;

fn version(engine: &Engine, settings: Value) -> Version {
    let plugin = engine.load(&plugin("flatten")).unwrap();
    Version::new(plugin, settings, Limits::default(), 0).unwrap()
}

fn separated(engine: &Engine, separator: &str) -> Version {
    version(engine, json!({ "separator": separator }))
}

/// What `file` was swapped for.
fn swapped(file: &Version, by: Version, since: i64) -> Version {
    Version { swapped: Some(Swapped { since, ..Version::swapped_for(file) }), ..by }
}

/// A checkpoint that such a version made.
fn checkpoint(version: &Version) -> Checkpoint {
    let identity = Identity {
        pipeline: "p".into(),
        source: "kafka:///t".into(),
        place: "kafka:///?group=p".into(),
        plugins: Vec::new(),
        exactly_once: true,
    };
    identity.with(vec![version.mark()]).checkpoint(0, 100, None, Sum::default())
}

struct Bench {
    _folder: tempfile::TempDir,
    engine: Engine,
    store: Arc<Embedded>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Embedded::open(&folder.path().join("apogee.db")).unwrap());
        Self { _folder: folder, engine: Engine::new().unwrap(), store }
    }

    /// A host that is started with a pipeline file.
    fn host(&self, file: Version) -> Versions {
        Versions::new(vec![file], self.engine.clone(), Store::new(self.store.clone(), "p"))
    }

    fn keep(&self, name: &str) {
        let component = std::fs::read(plugin(name)).unwrap();
        Store::new(self.store.clone(), "p").put(&component).unwrap();
    }
}

fn settings(versions: &Versions, last: Option<&Checkpoint>) -> Value {
    versions.of(last).unwrap()[0].settings.clone()
}

#[test]
fn a_swap_holds_over_restarts_until_the_file_says_something_else() {
    let bench = Bench::new();
    let file = separated(&bench.engine, "_");
    let last = checkpoint(&swapped(&file, separated(&bench.engine, "."), 10));
    bench.keep("flatten");

    let host = bench.host(file.clone());
    assert_eq!(settings(&host, None), json!({ "separator": "_" }), "before any checkpoint the file holds");
    assert_eq!(settings(&host, Some(&checkpoint(&file))), json!({ "separator": "_" }));
    assert_eq!(settings(&host, Some(&last)), json!({ "separator": "." }));
    assert_eq!(host.current()[0].since(), 10, "whoever begins now begins with it, too");
    assert_eq!(settings(&host, None), json!({ "separator": "." }));

    let deployed = bench.host(separated(&bench.engine, "-"));
    assert_eq!(settings(&deployed, Some(&last)), json!({ "separator": "-" }));
}

#[test]
fn a_version_that_is_only_named_comes_from_the_store_or_is_missed() {
    let bench = Bench::new();
    let file = separated(&bench.engine, "_");
    let hostile = bench.engine.load(&plugin("hostile")).unwrap();
    let hostile = Version::new(hostile, json!({ "how": "echo" }), Limits::default(), 0).unwrap();
    let last = checkpoint(&swapped(&file, hostile, 10));
    let host = bench.host(file);
    let missed = host.of(Some(&last)).err().expect("nobody has it").to_string();
    assert!(missed.contains(last.plugins[0].hash.as_str()), "{missed}");
    bench.keep("hostile");
    assert_eq!(host.of(Some(&last)).unwrap()[0].plugin.description.name, "hostile");
}

#[test]
fn of_two_swaps_the_later_one_holds() {
    let bench = Bench::new();
    let file = separated(&bench.engine, "_");
    bench.keep("flatten");
    let host = bench.host(file.clone());
    let made_by = |separator: &str, since: i64| checkpoint(&swapped(&file, separated(&bench.engine, separator), since));
    assert_eq!(settings(&host, Some(&made_by(".", 20))), json!({ "separator": "." }));
    // A task goes on with its own, and is behind.
    assert_eq!(settings(&host, Some(&made_by("-", 10))), json!({ "separator": "-" }));
    assert_eq!((host.current()[0].since(), host.current()[0].settings.clone()), (20, json!({ "separator": "." })));
    // Back to what the file says is a swap, too.
    host.adopt(0, swapped(&file, file.clone(), 30));
    assert_eq!(settings(&host, None), json!({ "separator": "_" }));
    let changes = host.changes();
    host.adopt(0, swapped(&file, separated(&bench.engine, "."), 20));
    assert_eq!(host.current()[0].since(), 30);
    assert!(host.changes() > changes, "whoever is told something looks");
}

#[test]
fn one_worker_does_a_change_and_another_one_if_that_is_interrupted() {
    let bench = Bench::new();
    let file = separated(&bench.engine, "_");
    let host = bench.host(file.clone());
    let proposal = || Proposal::new(0, swapped(&file, separated(&bench.engine, "."), 10), Aim::Swap(Trial::default()));
    let first = proposal();
    assert!(host.propose(&first).is_ok());
    assert!(host.propose(&proposal()).is_err(), "one change at a time");

    let claim = first.claim().expect("nobody is at it");
    assert!(first.claim().is_none());
    drop(claim);
    for _ in 1..3 {
        drop(first.claim().expect("another attempt"));
    }
    assert!(first.claim().is_none());
    match first.outcome() {
        Some(Outcome::Refused { reason }) => assert!(reason.contains("interrupted 3 times"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(host.propose(&proposal()).is_ok(), "the one before has come to its end");
}

/// Another host's clock may be ahead.
#[test]
fn a_swap_is_later_than_what_it_takes_the_place_of() {
    let bench = Bench::new();
    let file = separated(&bench.engine, "_");
    let host = bench.host(file.clone());
    let now = Version::swapped_for(&file).since;
    assert!(host.swapped(0).since >= now);
    host.adopt(0, swapped(&file, separated(&bench.engine, "."), now + 1_000_000));
    host.adopt(0, Version { swapped: Some(host.swapped(0)), ..separated(&bench.engine, "-") });
    assert_eq!(host.current()[0].settings, json!({ "separator": "-" }));
}

#[test]
fn what_is_being_committed_is_not_called_off_and_what_was_called_off_is_not_committed() {
    let bench = Bench::new();
    let file = separated(&bench.engine, "_");
    let proposal = || Proposal::new(0, swapped(&file, separated(&bench.engine, "."), 10), Aim::Swap(Trial::default()));
    let refused = || Outcome::Refused { reason: "too late".into() };
    let (first, second, third) = (proposal(), proposal(), proposal());
    assert!(first.call_off(refused()));
    assert!(!first.decide());

    let claim = second.claim().unwrap();
    assert!(second.decide() && !second.call_off(refused()));
    // A commit of which nobody knows what came: the next one to look finds out.
    drop(claim);
    assert!(!second.call_off(refused()) && second.outcome().is_none());
    let _claim = second.claim().unwrap();
    second.undecided();
    assert!(second.call_off(refused()));

    // Whoever panicked at it would again.
    let panicked = std::thread::scope(|scope| {
        let panics = scope.spawn(|| {
            let _claim = third.claim().unwrap();
            panic!("injected");
        });
        panics.join().is_err()
    });
    assert!(panicked && matches!(third.outcome(), Some(Outcome::Refused { .. })));
}
