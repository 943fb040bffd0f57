//! The program as its user calls it. `cli/mistakes/NAME.txt` holds a call, its exit code and its
//! exact standard error; `UPDATE=1` rewrites the last two.

mod signals;
mod topics;
mod windows;

use std::path::Path;
use std::process::Command;

fn host(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_host"));
    command.args(arguments.split_whitespace()).env_remove("APOGEE_LOG").env_remove("COLUMNS");
    command.env_remove("APOGEE_CONTROL_TOKEN");
    command
}

/// Runs `$ host ARGUMENTS` as the first line says, with `NAME=VALUE` before `host` as the environment.
fn call(line: &str, folder: &Path) -> String {
    let (environment, arguments) = line.strip_prefix("$ ").unwrap().split_once("host ").unwrap();
    let variables = environment.split_whitespace().map(|variable| variable.split_once('=').unwrap());
    let output = host(arguments).envs(variables).current_dir(folder).output().unwrap();
    assert!(output.stdout.is_empty(), "{line} wrote to standard output: {}", String::from_utf8_lossy(&output.stdout));
    format!("{line}\nexit {}\n{}", output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn mistakes_get_their_exact_error_and_exit_code() {
    let mut differing = Vec::new();
    let mut cases = 0;
    for entry in std::fs::read_dir("tests/cli/mistakes").unwrap() {
        let file = entry.unwrap().path();
        let expected = std::fs::read_to_string(&file).unwrap();
        let actual = call(expected.lines().next().unwrap(), Path::new("tests/config/valid"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, &actual).unwrap();
        } else if actual != expected {
            differing.push(format!("{}\n--- expected\n{expected}--- actual\n{actual}", file.display()));
        }
        cases += 1;
    }
    assert!(differing.is_empty(), "UPDATE=1 rewrites these:\n\n{}", differing.join("\n"));
    assert!(cases >= 20, "only {cases} cases");
}

#[test]
fn every_command_has_help_with_examples() {
    for command in [
        "",
        "run",
        "check",
        "plugin inspect",
        "plugin list",
        "topics list",
        "topics create",
        "topics read",
        "simulate iss",
        "status",
        "swap",
        "canary",
        "promote",
        "drop",
        "pause",
        "resume",
        "replay",
        "dead list",
        "dead show",
        "dead replay",
    ] {
        let output = host(&format!("{command} --help")).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && text.contains("Examples:") && text.contains("--json"),
            "host {command} --help: {text}"
        );
    }
}

#[test]
fn every_file_is_checked_and_the_worst_decides() {
    let output =
        host("check ../invalid/unknown-key.toml nowhere.toml").current_dir("tests/config/valid").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("unknown key \"evry\"") && text.contains("nowhere.toml: no such file"), "{text}");
}

#[test]
fn what_becomes_of_failures_is_told_by_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let flatten = crate::program::plugin("flatten");
    for (keys, told) in [
        ("", "a message on which a plugin fails is a dead letter; more than 10 of 1000 stop the pipeline"),
        (
            "policy = \"skip\"\nmost = 1\nof = 5",
            "a message on which a plugin fails is counted and passed over; more than 1 of 5 stop the pipeline",
        ),
        ("policy = \"stop\"", "the pipeline stops before a message on which a plugin fails"),
    ] {
        let text = format!(
            "[source]\nuri = \"sim:iss\"\n[[plugin]]\nfile = {flatten:?}\n[failures]\n{keys}\n[sink]\nuri = \"stdout:\"\n"
        );
        std::fs::write(folder.path().join("iss.toml"), text).unwrap();
        let output = host("check iss.toml").current_dir(folder.path()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.lines().any(|line| line.starts_with("failures ") && line.ends_with(told)), "{text}");
    }
}

#[test]
fn a_chain_that_gives_the_sink_no_columns_fails_the_check_as_it_fails_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let flatten = crate::program::plugin("flatten");
    let pipeline = |settings: &str| {
        let text = format!(
            "[source]\nuri = \"sim:iss\"\n[[plugin]]\nfile = {flatten:?}\n{settings}\n[sink]\nuri = \"csv:out\"\n"
        );
        std::fs::write(folder.path().join("iss.toml"), text).unwrap();
    };
    let call = |arguments| {
        let output = host(arguments).current_dir(folder.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    pipeline("");
    let (code, error) = call("check iss.toml");
    assert!(error.starts_with("error: csv:out ") && error.contains("flatten"), "{error}");
    assert_eq!(code, Some(2), "{error}");
    assert_eq!(call("run --quiet iss.toml"), (code, error));
    assert!(!folder.path().join("out").exists());
    pipeline("settings.fields = [{ from = \"timestamp\", name = \"time\" }]");
    assert_eq!(call("check iss.toml"), (Some(0), String::new()));
}

#[test]
fn errors_are_json_when_asked() {
    let cases = [
        ("--json run nowhere.toml", 3),
        ("run --json smallest.toml --from htpp://x", 2),
        ("run --json not-there.toml", 3),
    ];
    for (arguments, code) in cases {
        let output = host(arguments).current_dir("tests/config/valid").output().unwrap();
        let line: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!((output.status.code(), &line["code"]), (Some(code), &code.into()), "{line}");
        assert!(line["error"].is_string(), "{line}");
    }
}
