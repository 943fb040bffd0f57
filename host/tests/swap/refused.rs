//! Swaps that are refused, with the reason; the version at work goes on as if nobody had asked.

use std::path::Path;

use host::log::Log;
use host::swap::Outcome;

use super::{Live, SOON, assert_stamped, values, with};
use crate::operator::{self, Swapped};
use crate::program::{Running, csv_rows, host, plugin, wait_for};

fn assert_refused(swapped: &Swapped, why: &str) {
    let reason = match &swapped.outcome {
        Some(Outcome::Refused { reason }) => reason,
        Some(outcome) => panic!("{why}: {outcome:?}"),
        None => &swapped.told,
    };
    assert_eq!(swapped.code, 2, "{why}: {swapped:?}");
    assert!(reason.contains(why), "{why}: {swapped:?}");
}

#[test]
fn what_does_not_fit_is_refused_and_the_old_version_goes_on() {
    let live = Live::of("stamp-1", "");
    live.send(10);
    live.out();
    let before = live.status().plugins;
    let text = live.path().join("text.wasm");
    std::fs::write(&text, "no component").unwrap();
    let cases: [(&Path, &[&str], &str); 7] = [
        (&plugin("stamp-1"), &[], "already"),
        (&plugin("stamp-3"), &SOON, "state"),
        (&plugin("max-altitude"), &["--plugin", "1"], "max-altitude"),
        (&plugin("max-altitude"), &[], "max-altitude"),
        (&plugin("stamp-2"), &["--set", "nonsense=1"], "nonsense"),
        (&plugin("hostile_socket"), &["--plugin", "1"], "socket"),
        (&text, &[], "component"),
    ];
    for (component, more, why) in cases {
        assert_refused(&live.swap(component, more), why);
    }
    assert_eq!(operator::swap(live.path(), "q", &plugin("stamp-2"), &[]).code, 3, "there is no pipeline q");
    assert_eq!(live.status().plugins, before);
    live.send(10);
    assert_stamped(&live.out(), &[(20, "1.0.0")]);
    assert!(values(&live.log, "p.dead").is_empty());
}

#[test]
fn a_field_that_the_sink_needs_is_not_dropped() {
    let fields = "settings.fields = [{ from = \"id\" }, { from = \"name\" }]\n";
    let mut live = Live::start(&format!("{}{fields}", with(&plugin("flatten"))), "csv:out");
    let swapped = live.swap(&plugin("flatten"), &["--set", r#"fields=[{"from":"id"}]"#]);
    assert_refused(&swapped, "name");
    live.send_with(3, |n| format!(r#"{{"id":{n},"name":"n{n}"}}"#));
    wait_for("the messages", || (live.status().counters.get("messages in") == Some(&3)).then_some(()));
    live.end();
    let rows = csv_rows(&live.path().join("out"), &["id", "name"]);
    assert_eq!(rows, [["0", "n0"], ["1", "n1"], ["2", "n2"]]);
}

#[test]
fn a_pipeline_that_has_ended_says_so_beside_one_that_runs_and_takes_no_orders() {
    let mut live = Live::of("stamp-1", "");
    live.end();
    live.log.create_topic("empty", 1).unwrap();
    let text = std::fs::read_to_string(live.path().join("p.toml")).unwrap();
    let ends = text.replace("\"p\"", "\"q\"").replace("kafka:///in\"", "kafka:///empty\"\nuntil = \"end\"");
    std::fs::write(live.path().join("q.toml"), ends).unwrap();
    live.running = Some(Running::start(host(live.path(), &["--quiet", "run", "p.toml", "q.toml"])));
    let ended = wait_for("the end of q", || operator::line(live.path(), "q").pop()?.ended);
    assert_eq!(ended.error, None);
    assert_refused(&operator::swap(live.path(), "q", &plugin("stamp-2"), &SOON), "pipeline q has ended");
    let pause = operator::call(live.path(), &["pause", "q"]);
    assert!(pause.code == 2 && pause.err.contains("pipeline q has ended"), "{pause:?}");
    let shown = operator::call(live.path(), &["status"]).out;
    assert!(shown.contains("q  ended") && shown.contains("p  running"), "{shown}");
    operator::adopts(live.path(), "p", "stamp-2", &SOON);
}
