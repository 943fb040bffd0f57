//! Swaps, canaries and the author's loop, as a person asks for them.

use std::process::Stdio;

use serde_json::Value;

use super::{Stream, command};
use crate::program::{Running, plugin, wait_for};

/// How many messages have their altitude as it came, in this order: then as whole numbers, and so on in turn.
fn runs(messages: &[Value]) -> Vec<bool> {
    let mut whole: Vec<bool> =
        messages.iter().map(|message| message["altitude"].as_f64().unwrap().fract() == 0.0).collect();
    whole.dedup();
    whole
}

#[test]
fn a_swap_shows_what_changes_tells_its_pause_and_stays_in_force() {
    let stream = Stream::start(&[]);
    let changed = plugin("flatten-changed");
    let changed = changed.to_str().unwrap();
    let plan = stream.ok(&["swap", "flatten", changed, "--plan"]);
    assert!(plan.contains("version") && plan.contains("0.1.0 -> 0.1.1"), "{plan}");
    assert!(stream.status()["plugins"][0]["swapped"].is_null(), "a plan changes nothing");

    let text = stream.ok(&["swap", "flatten", changed, "--trial", "10"]);
    assert!(
        text.contains("0.1.0 -> 0.1.1") && text.contains("adopted after ") && text.contains("the pause was "),
        "{text}"
    );
    let status = stream.status();
    assert_eq!(status["plugins"][0]["version"], "0.1.1");
    assert!(status["plugins"][0]["swapped"].is_i64() && status["last_change"]["outcome"] == "adopted", "{status}");
    wait_for("the task to follow", || {
        stream.status()["tasks"][0]["plugins"][0].as_str().unwrap().starts_with("flatten 0.1.1 (").then_some(())
    });
    let hash = status["plugins"][0]["hash"].as_str().unwrap().to_owned();
    let list = stream.ok(&["plugin", "list"]);
    assert!(list.contains(&format!("flatten  keeps  {hash}  ")), "stored by its content: {list}");

    // The version that runs is refused, and changes nothing.
    let output = stream.command(&["swap", "flatten", changed]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let back = plugin("flatten");
    let answer: Value =
        serde_json::from_str(&stream.ok(&["swap", "flatten", back.to_str().unwrap(), "--json"])).unwrap();
    assert_eq!(answer["outcome"]["outcome"], "adopted", "{answer}");
    stream.goes_on();
    assert_eq!(runs(&stream.end_well()), [false, true, false], "each version was at work once");
}

#[test]
fn a_version_that_fails_its_trial_is_rolled_back() {
    let stream = Stream::start(&[]);
    let (hostile, flatten) = (plugin("hostile"), plugin("flatten"));
    for (component, set, code, said) in [
        // Rejects everything.
        (&flatten, r#"fields=[{"from":"name","type":"float"}]"#, 1, "rolled back, the version before"),
        // May keep state, where there is none.
        (&hostile, "how=trap", 2, "flatten 0.1.0 runs on"),
        (&flatten, "separater=.", 2, "separater"),
        (&flatten, "separator", 2, "write KEY=VALUE"),
    ] {
        let output = stream.command(&["swap", "flatten", component.to_str().unwrap(), "--plugin", "1", "--set", set]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{set}: {text}");
        assert!(text.contains(said), "{text}");
        assert!(stream.status()["plugins"][0]["swapped"].is_null());
    }
    assert_eq!(stream.status()["last_change"]["outcome"], "rolled-back");
    assert_eq!(runs(&stream.end_well()), [false]);
}

#[test]
fn every_host_of_a_pipeline_is_changed() {
    let stream = Stream::start(&[]);
    let elsewhere = tempfile::tempdir().unwrap();
    let flatten = plugin("flatten");
    let arguments = ["--plugin", flatten.to_str().unwrap(), "--from", "sim:iss?shape=wheretheiss", "--every", "10ms"];
    let mut other = command(stream.directory.path(), &[&arguments[..], &["--to", "kafka:///flat"]].concat());
    other.current_dir(elsewhere.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let other = Running::start(other);
    let versions = || {
        let text = stream.ok(&["status", "flatten", "--json"]);
        let version = |line: &str| {
            let status: Value = serde_json::from_str(line).unwrap();
            status["pipelines"][0]["plugins"][0]["version"].as_str().unwrap().to_owned()
        };
        text.lines().map(version).collect::<Vec<_>>()
    };
    let running =
        || stream.command(&["status", "flatten", "--json"]).stdout.iter().filter(|byte| **byte == b'\n').count();
    wait_for("both hosts", || (running() == 2).then_some(()));
    assert_eq!(versions(), ["0.1.0", "0.1.0"]);
    let text = stream.ok(&["swap", "flatten", plugin("flatten-changed").to_str().unwrap(), "--trial", "10"]);
    assert_eq!(text.matches("adopted after ").count(), 2, "{text}");
    assert_eq!(versions(), ["0.1.1", "0.1.1"]);
    assert!(other.stop("INT").success());
    stream.end_well();
}

#[test]
fn a_canary_counts_for_nothing_until_it_is_promoted() {
    let stream = Stream::start(&[]);
    let changed = plugin("flatten-changed");
    let changed = changed.to_str().unwrap();
    let compared = |most: u64| {
        wait_for("the comparison", || {
            let report: Value = serde_json::from_str(&stream.ok(&["canary", "flatten", "--json"])).unwrap();
            (report["messages"].as_u64().unwrap() >= most).then_some(report)
        })
    };
    assert!(stream.ok(&["swap", "flatten", changed, "--canary", "1h"]).contains("host canary flatten"));
    compared(20);
    let busy = stream.command(&["swap", "flatten", changed]);
    assert_eq!(busy.status.code(), Some(2), "{}", String::from_utf8_lossy(&busy.stderr));
    stream.ok(&["drop", "flatten"]);
    assert_eq!(stream.command(&["canary", "flatten"]).status.code(), Some(2), "it has ended");

    stream.ok(&["swap", "flatten", changed, "--canary", "30"]);
    let report = compared(30);
    let fields: Vec<&String> = report["fields"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["altitude"], "{report}");
    assert_eq!(report["changed"], report["messages"]);
    assert!(stream.ok(&["canary", "flatten"]).contains("altitude"));
    assert!(stream.status()["plugins"][0]["swapped"].is_null());
    assert!(stream.ok(&["promote", "flatten", "--trial", "10"]).contains("adopted after "));
    stream.goes_on();
    assert_eq!(runs(&stream.end_well()), [false, true]);
}

#[test]
fn the_file_of_a_plugin_is_followed_by_the_host_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flatten.wasm");
    let put = |name: &str| std::fs::copy(plugin(name), &file).unwrap();
    put("flatten");
    let stream = Stream::of(&file, &["--watch"]);
    put("flatten-changed");
    wait_for("the new version", || stream.log().contains("is at work").then_some(()));
    std::fs::write(&file, "half of a component").unwrap();
    wait_for("the refusal", || stream.log().contains("is not swapped in").then_some(()));
    stream.goes_on();
    put("flatten");
    wait_for("the old version", || (stream.log().matches("is at work").count() == 2).then_some(()));
    stream.goes_on();
    assert_eq!(runs(&stream.end_well()), [false, true, false]);
}

#[test]
fn the_file_of_a_plugin_is_followed_by_a_command() {
    let stream = Stream::start(&[]);
    let file = stream.directory.path().join("new.wasm");
    let put = |content: &[u8]| std::fs::write(&file, content).unwrap();
    put(&std::fs::read(plugin("flatten-changed")).unwrap());
    let mut command = command(stream.directory.path(), &["swap", "flatten", "new.wasm", "--watch"]);
    let said = stream.directory.path().join("said");
    command.stderr(std::fs::File::create(&said).unwrap()).stdout(Stdio::null());
    let watching = Running::start(command);
    let version = |version: &str| {
        wait_for("a version", || (stream.status()["plugins"][0]["version"] == version).then_some(()));
    };
    version("0.1.1");
    put(b"half of a component");
    wait_for("the refusal", || std::fs::read_to_string(&said).unwrap().contains("error: ").then_some(()));
    put(&std::fs::read(plugin("flatten")).unwrap());
    version("0.1.0");
    assert!(watching.stop("INT").success());
    stream.goes_on();
    assert_eq!(runs(&stream.end_well()), [false, true, false]);
}
