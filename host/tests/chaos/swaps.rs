//! Two versions that take turns under load, and now and then one that is no good (fault 52).

use host::swap::Outcome;

use super::chance::Chance;
use super::stamped::{Stamped, VERSIONS, pause, tell_pauses};
use crate::operator;

/// A new version has proved itself after so many messages.
const TRIAL: [&str; 2] = ["--trial", "50"];

/// One swap in so many is to one of these.
const BAD_EVERY: u32 = 10;

#[test]
fn versions_take_turns_under_load_and_no_message_is_lost_repeated_or_miscounted() {
    let mut chance = Chance::of("swaps");
    let mut stamped = Stamped::on_kafka("swaps", &chance, 2);
    let feeder = stamped.stream.load();
    let mut host = stamped.stream.start();
    stamped.stream.beyond(0);
    operator::status(&stamped.stream.path, stamped.name(), 2);
    let (mut pauses, mut at_work) = (Vec::new(), 0);
    for round in 1..=chance.scale(25, 1_000) {
        host.must_run();
        if round % BAD_EVERY == 0 {
            bad(&mut chance, &stamped);
        } else {
            let next = 1 - at_work;
            let swapped = stamped.swap(VERSIONS[next], &TRIAL);
            let pause = pause(&swapped).unwrap_or_else(|| panic!("swap {round} came to {swapped:?}"));
            assert_eq!(swapped.code, 0, "{swapped:?}");
            pauses.push(pause);
            at_work = next;
        }
        if round % 20 == 0 {
            stamped.look();
        }
    }
    let sent = feeder.end();
    host.terminate();
    tell_pauses(&mut pauses);
    stamped.conclude(sent);
}

/// A version that fails, that rejects everything, or that refuses the state: the one at work goes on.
fn bad(chance: &mut Chance, stamped: &Stamped) {
    let (build, arguments, why): (&str, &[&str], &str) = [
        // Much of it has gone through by then.
        ("stamp-trap", &["--trial", "1000000", "--trial-time", "5s"][..], "stamp 1.0.2 failed in process"),
        ("stamp-1", &["--trial", "50", "--set", "id=nothing"], "it rejected"),
        ("stamp-3", &TRIAL, "state"),
    ][chance.index(3)];
    let before = operator::status(&stamped.stream.path, stamped.name(), 2).plugins;
    let swapped = stamped.swap(build, arguments);
    match (&swapped.outcome, swapped.code) {
        (Some(Outcome::Refused { reason }), 2) if build == "stamp-3" => assert!(reason.contains(why), "{reason}"),
        (Some(Outcome::RolledBack { reason }), 1) if build != "stamp-3" => assert!(reason.contains(why), "{reason}"),
        _ => panic!("a swap to {build} came to {swapped:?}"),
    }
    let after = operator::status(&stamped.stream.path, stamped.name(), 2);
    assert_eq!(after.plugins, before);
    let progress = stamped.stream.beyond(-1);
    stamped.stream.beyond(progress);
}
