//! A run that waits to be asked, reports, and stays to answer.

use serde_json::json;

use super::{Asked, NUMBERS};
use crate::program::{csv_rows, host, wait_for};

const ALL: &str = "begin = \"/produce\"\n[[query]]\npath = \"/all\"\nsql = \"SELECT count(*) AS n FROM numbers\"";

#[test]
fn it_begins_when_it_is_asked_reports_and_stays() {
    let asked = Asked::numbers(ALL);
    // It has come as far as it may: the first task would be there else.
    let before = wait_for("an answer before the run", || {
        let reply = asked.get("/all", &[]);
        matches!(reply.status, 200 | 503).then_some(reply)
    });
    assert!(before.status == 503 || before.json()["data"][0]["n"] == 0, "{}", before.body);
    assert_eq!(asked.data("/")[0]["path"], "/produce");
    let report = json!({
        "total": NUMBERS, "success": NUMBERS, "success_percent": 100.0,
        "errors": { "transform": { "count": 0, "percent": 0.0 } },
    });
    for _ in 0..2 {
        assert_eq!(asked.data("/produce"), std::slice::from_ref(&report));
    }
    assert_eq!(asked.data("/all"), [json!({"n": NUMBERS})]);
    wait_for("the summary", || asked.log().contains("20000 messages in, 20000 out, 0 rejected").then_some(()));
    asked.end_well();
}

#[test]
fn what_was_rejected_is_reported_by_cause() {
    let directory = tempfile::tempdir().unwrap();
    let lines = "{\"n\":1,\"g\":\"a\"}\n{\"n\":\"x\",\"g\":\"a\"}\n{\"n\":3,\"g\":\"a\"}\nnot json\n";
    std::fs::write(directory.path().join("in.jsonl"), lines).unwrap();
    let asked = Asked::start(directory, &super::pipeline(ALL));
    let report = &asked.data("/produce")[0];
    assert_eq!(
        [&report["total"], &report["success"], &report["success_percent"]],
        [&json!(4), &json!(2), &json!(50.0)]
    );
    let causes = report["errors"].as_object().unwrap();
    let sum: i64 = causes.values().map(|cause| cause["count"].as_i64().unwrap()).sum();
    assert!(sum == 2 && causes["transform"]["count"].as_i64().unwrap() >= 1, "{report}");
    let csv = asked.get("/produce", &["Accept: text/csv"]).body;
    assert!(csv.starts_with("errors,success,success_percent,total\n"), "{csv}");
    asked.end_well();
}

#[test]
fn stopped_before_it_began_it_has_read_nothing() {
    let asked = Asked::numbers(ALL);
    assert_eq!(asked.get("/", &[]).status, 200);
    let log = asked.path().join("stderr");
    let Asked { directory, process, .. } = asked;
    assert!(process.stop("TERM").success());
    let text = std::fs::read_to_string(log).unwrap();
    assert!(text.contains("numbers: 0 messages in, 0 out"), "{text}");
    drop(directory);
}

#[test]
fn without_stay_it_ends_with_its_input() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("in.jsonl"), "{\"n\":1,\"g\":\"a\"}\n").unwrap();
    std::fs::write(directory.path().join("numbers.toml"), super::pipeline("stay = false")).unwrap();
    let output = host(directory.path(), &["run", "numbers.toml"]).output().unwrap();
    assert!(output.status.success());
    assert!(csv_rows(&directory.path().join("results"), &[]).is_empty());
}

/// What failed is not waited for.
#[test]
fn a_pipeline_that_fails_says_so_and_ends() {
    let asked = Asked::numbers(ALL);
    std::fs::remove_file(asked.path().join("in.jsonl")).unwrap();
    std::fs::create_dir(asked.path().join("in.jsonl")).unwrap();
    let reply = asked.get("/produce", &[]);
    assert!(reply.problem(500).starts_with("the pipeline failed: "), "{}", reply.body);
    let mut process = asked.process;
    let status = wait_for("the end", || process.ended());
    assert!(!status.success());
}
