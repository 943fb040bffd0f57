//! A change that was called off is not made, not even at the moment of its commit.

use std::cell::Cell;

use host::config::{Overrides, Pipeline};
use host::control::handle::{Registry, Wanted};
use host::log::Log;
use host::log::embedded::Embedded;
use host::message::Batch;
use host::metrics::Counters;
use host::plugin::Engine;
use host::stop::Stop;
use host::swap::{Outcome, Trial};

use super::{assert_stamped, key, values, with};
use crate::program::{plugin, wait_for};

#[test]
fn a_swap_that_was_called_off_in_its_trial_is_taken_back_when_it_would_be_committed() {
    let directory = tempfile::tempdir().unwrap();
    let log = Embedded::open(&directory.path().join("apogee.db")).unwrap();
    log.create_topic("in", 1).unwrap();
    let file = directory.path().join("p.toml");
    let text = format!(
        "name = \"p\"\n[source]\nuri = \"kafka:///in\"\nidle = \"1h\"\n{}[sink]\nuri = \"kafka:///out\"\ninterval = \"20ms\"\n",
        with(&plugin("stamp-1"))
    );
    std::fs::write(&file, text).unwrap();
    let mut pipeline = Pipeline::read(&file, &Overrides::default()).unwrap();
    pipeline.log = directory.path().join("apogee.db");
    let sent = Cell::new(0);
    let send = |count: u64| {
        let mut batch = Batch::new();
        let from = sent.replace(sent.get() + count);
        (from..from + count)
            .for_each(|n| batch.push(Some(key(n)), Some(format!(r#"{{"id":{n}}}"#).as_bytes()), n as i64));
        let mut writer = log.writer("in").unwrap();
        writer.append(&batch).unwrap();
        writer.flush().unwrap();
    };
    let out = || values(&log, "out").len() as u64;
    let (engine, counters, stop, registry) =
        (Engine::new().unwrap(), Counters::default(), Stop::default(), Registry::default());
    std::thread::scope(|scope| {
        let run = scope.spawn(|| host::run::run(&pipeline, &engine, &counters, &stop, &registry));
        send(10);
        wait_for("the first messages", || (out() == 10).then_some(()));
        let component = std::fs::read(plugin("stamp-2")).unwrap();
        let wanted = Wanted { plugin: None, component, set: Vec::new() };
        let (_, change) = registry.plan("p", &wanted).unwrap();
        let handle = change.handle.clone();
        let long = Trial { messages: 1_000, time: std::time::Duration::from_secs(60), ..Trial::default() };
        let swap = scope.spawn(move || change.swap(&wanted.component, long));
        wait_for("the trial", || {
            send(10);
            (counters.get("messages in") >= out() + 50).then_some(())
        });
        let refused = Outcome::Refused { reason: "nobody waits for it".to_owned() };
        assert!(handle.versions.proposal().unwrap().call_off(refused.clone()));
        assert_eq!(swap.join().unwrap().unwrap(), refused);
        // No worker was told: they find out when the trial is over.
        send(1_000);
        wait_for("the output", || (out() == sent.get()).then_some(()));
        let status = handle.status();
        assert!(status.tasks[0].plugins[0].starts_with("stamp 1.0.0 "), "{status:?}");
        stop.request();
        run.join().unwrap().unwrap();
    });
    assert_stamped(&values(&log, "out"), &[(u64::MAX, "1.0.0")]);
    assert_eq!(counters.get("messages in"), sent.get());
}
