//! Two versions on the same messages: what differs is told, and only the old one counts.

use host::compare::Report;
use host::swap::Outcome;

use super::{Live, SOON};
use crate::operator;
use crate::program::{plugin, wait_for};

/// `name` becomes text of another kind: `n` as it is, or as text.
const FIELDS: &str = "settings.fields = [{ from = \"id\" }, { from = \"n\" }]\n";
const OTHER: &str = r#"fields=[{"from":"id"},{"from":"n","type":"text"}]"#;

/// Sends messages until the canary has ended, or has seen so many; gives its report.
fn report(live: &Live, is_over: impl Fn(&Report) -> bool) -> Report {
    wait_for("the canary to have seen its messages", || {
        send(live, 10);
        let said = operator::call(live.path(), &["canary", "p", "--json"]);
        let report: Report = serde_json::from_str(said.out.lines().next()?).ok()?;
        is_over(&report).then_some(report)
    })
}

fn send(live: &Live, count: u64) {
    live.send_with(count, |n| format!(r#"{{"id":{n},"n":{n}}}"#));
}

#[test]
fn one_changed_field_is_found_and_nothing_else() {
    let live = Live::of("flatten", FIELDS);
    let begun = live.swap(&plugin("flatten"), &["--set", OTHER, "--canary", "100"]);
    assert_eq!((begun.code, &begun.outcome), (0, &None), "{begun:?}");
    let report = report(&live, |report| report.messages >= 100);
    wait_for("the canary's end", || live.status().changing.is_none().then_some(()));
    assert_eq!((report.changed, report.equal, report.added, report.missing), (report.messages, 0, 0, 0), "{report:?}");
    assert!(report.fields.iter().eq([(&"n".to_owned(), &report.changed)]), "{report:?}");
    let first = &report.differences[0];
    assert_eq!((first.partition, first.offset, &*first.what), (0, first.offset, "changed"));
    let n = first.offset.expect("an offset").to_string();
    assert_eq!(first.fields, [("n".to_owned(), Some(n.clone()), Some(format!("\"{n}\"")))]);
    // Only the old one counts.
    let before = live.out();
    assert!(before.iter().all(|value| value["n"].is_u64()));

    let promoted = operator::call(live.path(), &[&["promote", "p", "--json"][..], &SOON].concat());
    let promoted = operator::swapped(&promoted);
    assert!(matches!(promoted.outcome, Some(Outcome::Adopted { .. })), "{promoted:?}");
    send(&live, 10);
    let values = live.out();
    assert!(values[before.len()..].iter().all(|value| value["n"].is_string()), "{values:?}");
}

/// The same component in other bytes: there is nothing to tell.
#[test]
fn a_version_against_itself_differs_in_nothing_and_is_dropped() {
    let live = Live::of("flatten", "");
    let same = live.path().join("same.wasm");
    std::fs::write(&same, super::lasting::other_bytes(&plugin("flatten"))).unwrap();
    let begun = live.swap(&same, &["--canary", "1000"]);
    assert_eq!((begun.code, &begun.outcome), (0, &None), "{begun:?}");
    // Nothing else is begun meanwhile.
    assert_eq!(live.swap(&same, &[]).code, 2);
    let report = report(&live, |report| report.messages >= 200);
    let counts = (report.equal, report.changed, report.added, report.missing);
    assert_eq!(counts, (report.messages, 0, 0, 0), "{report:?}");
    assert!(report.fields.is_empty() && report.differences.is_empty(), "{report:?}");
    assert!(report.old.ns_per_message > 0.0 && report.new.ns_per_message > 0.0 && report.new.memory > 0, "{report:?}");
    assert_ne!(report.old.hash, report.new.hash);
    assert_eq!(operator::call(live.path(), &["drop", "p"]).code, 0);
    assert_eq!(live.status().changing, None);
    assert_ne!(operator::call(live.path(), &["promote", "p"]).code, 0, "there is none any more");
    send(&live, 10);
    live.out();
    assert_eq!(live.status().plugins[0].hash, report.old.hash);
}

/// A canary that fails costs nothing, and says why it did.
#[test]
fn a_canary_that_traps_ends_and_the_stream_does_not() {
    let live = Live::of("hostile", "settings.how = \"echo\"\n");
    let begun = live.swap(&plugin("hostile"), &["--set", "how=trap", "--canary", "100"]);
    assert_eq!(begun.code, 0, "{begun:?}");
    let report = report(&live, |report| report.failed.is_some());
    assert!(report.failed.as_ref().is_some_and(|reason| reason.contains("hostile")), "{report:?}");
    wait_for("the canary's end", || live.status().changing.is_none().then_some(()));
    assert!(matches!(live.status().last_change, Some(Outcome::Compared(_))));
    live.out();
}
