//! The commands, and what they say.

use super::{Stream, command};
use crate::program::wait_for;

#[test]
fn a_paused_pipeline_processes_nothing_and_then_everything() {
    let stream = Stream::start(&[]);
    let status = stream.status();
    assert_eq!(status["paused"], false);
    assert_eq!(status["tasks"].as_array().unwrap().len(), 1);
    assert!(status["tasks"][0]["plugins"][0].as_str().unwrap().starts_with("flatten 0.1.0 ("), "{status}");
    let text = stream.ok(&["status", "flatten"]);
    assert!(text.contains("flatten  running  ") && text.contains("partition 0  at "), "{text}");

    let polled = |stream: &Stream| stream.status()["counters"]["poll good"].as_u64().unwrap();
    assert!(stream.ok(&["pause", "flatten"]).contains("pauses"));
    // What is in hand is finished first.
    let held = wait_for("the pause", || {
        let (out, before) = (stream.out(), polled(&stream));
        wait_for("the feed to go on", || (polled(&stream) > before + 5).then_some(()));
        (stream.out() == out).then_some(out)
    });
    let before = polled(&stream);
    wait_for("the feed to go on", || (polled(&stream) > before + 50).then_some(()));
    assert_eq!(stream.out(), held, "nothing is processed while it is paused");
    assert!(stream.ok(&["status"]).contains("flatten  paused  "));
    assert!(stream.ok(&["resume", "flatten"]).contains("goes on"));
    wait_for("everything", || (stream.out() >= before + 50).then_some(()));
    stream.end_well();
}

#[test]
fn where_there_is_nothing_to_ask_it_is_said() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in ["status", "pause flatten", "canary flatten", "promote flatten", "drop flatten", "plugin list"] {
        let output = command(directory.path(), &arguments.split(' ').collect::<Vec<_>>()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{arguments}: {text}");
        assert!(text.contains("start one with `host run FILE.toml`"), "{text}");
    }
    let stream = Stream::start(&[]);
    let said = |arguments: &[&str], code, what: &str| {
        let output = stream.command(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(what), "{text}");
    };
    said(&["status", "other"], 3, "no host runs pipeline \"other\"; there is flatten");
    said(&["canary", "flatten"], 2, "has no canary; begin one with");
    said(&["promote", "flatten"], 2, "has no canary; begin one with");
    said(&["drop", "flatten"], 2, "has no canary; begin one with");
    said(&["swap", "flatten", "nowhere.wasm"], 3, "nowhere.wasm");
    stream.end_well();
}
