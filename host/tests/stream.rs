//! Whole streams through the program: chains, languages, topics, dead letters.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::program::{host, plugin, run, run_ok};

/// Replies of Open Notify, and two lines that are none.
const REPLIES: &str = r#"{"iss_position": {"longitude": "-85.6433", "latitude": "-15.3433"}, "timestamp": 1690000000, "message": "success"}
not json
{"iss_position": {"longitude": "10.0000", "latitude": "51.5000"}, "timestamp": 1690000001, "message": "success"}
{"iss_position": {"longitude": "NaN", "latitude": NaN}, "timestamp": 1690000002, "message": "success"}
"#;

fn lines(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn a_component_in_javascript_follows_one_in_rust() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("replies.jsonl"), REPLIES).unwrap();
    let (flatten, hemisphere) = (plugin("flatten"), plugin("hemisphere"));
    let out = run_ok(
        directory.path(),
        &[
            "--plugin",
            flatten.to_str().unwrap(),
            "--plugin",
            hemisphere.to_str().unwrap(),
            "--from",
            "file:replies.jsonl",
            "--set",
            r#"flatten.fields=[{"from":"iss_position_latitude","name":"latitude","type":"float"}]"#,
        ],
    );
    assert_eq!(
        lines(&out),
        [json!({"latitude": -15.3433, "hemisphere": "S"}), json!({"latitude": 51.5, "hemisphere": "N"})]
    );
}

#[test]
fn what_is_rejected_is_kept_with_its_origin_and_reason() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("replies.jsonl"), REPLIES).unwrap();
    let flatten = plugin("flatten");
    let arguments = ["--plugin", flatten.to_str().unwrap(), "--from", "file:replies.jsonl", "--json"];
    let output = run(directory.path(), &arguments);
    assert!(output.status.success());
    assert_eq!(lines(&String::from_utf8(output.stdout).unwrap()).len(), 2);

    let dead = lines(&run_ok(directory.path(), &["topics", "read", "kafka:///flatten.dead", "--raw"]));
    assert_eq!(dead.len(), 2);
    let line = |n: usize| REPLIES.lines().nth(n).unwrap();
    for (letter, (number, reason)) in
        dead.iter().zip([(1, "something that is no value at byte 0"), (3, "something that is no value at byte 50")])
    {
        let offset: usize = REPLIES.lines().take(number).map(|line| line.len() + 1).sum();
        assert_eq!(letter["value"], line(number));
        assert_eq!(letter["offset"], offset);
        assert_eq!(letter["by"], "flatten");
        assert_eq!(letter["version"], "0.1.0");
        assert_eq!(letter["hash"].as_str().unwrap().len(), 64);
        assert!(letter["reason"].as_str().unwrap().contains(reason), "{letter}");
    }
    // Each of the four is accounted for, and a second run of the whole file counts the same.
    let again = run(directory.path(), &arguments);
    let summary = String::from_utf8(again.stderr).unwrap();
    assert!(summary.contains(r#""messages in":4"#) && summary.contains(r#""messages out":2"#), "{summary}");
    assert!(summary.contains(r#""rejected by flatten":2"#), "{summary}");
}

#[test]
fn a_file_goes_into_a_topic_of_kafka_and_out_again() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("replies.jsonl"), REPLIES).unwrap();
    let topic = format!("flattened-{}", std::process::id());
    let uri = format!("kafka://{}/{topic}", crate::kafka::brokers());
    let flatten = plugin("flatten");
    let flatten = flatten.to_str().unwrap();
    run_ok(directory.path(), &["--plugin", flatten, "--from", "file:replies.jsonl", "--to", &uri, "--name", &topic]);
    let expected = lines(&crate::kafka::console_consumer(&topic).join("\n"));
    assert_eq!(expected.len(), 2);
    let again = ["--plugin", flatten, "--from", &uri, "--until", "end", "--name", &format!("again-{topic}")];
    assert_eq!(lines(&run_ok(directory.path(), &again)), expected);
    // The group has read all of it.
    assert_eq!(run_ok(directory.path(), &again), "");
}

#[test]
fn a_reader_that_goes_away_ends_the_stream_quietly() {
    let directory = tempfile::tempdir().unwrap();
    let command = format!(
        "'{}' --plugin '{}' --from sim:iss --every 20ms --via none 2>&1 | head -n 2",
        env!("CARGO_BIN_EXE_host"),
        plugin("flatten").display()
    );
    let output =
        std::process::Command::new("sh").args(["-c", &command]).current_dir(directory.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines(&text).len(), 2, "{text}");
}

#[test]
fn the_default_source_is_polled_or_its_absence_names_the_simulated_one() {
    let directory = tempfile::tempdir().unwrap();
    let flatten = plugin("flatten");
    let output = run(directory.path(), &["--plugin", flatten.to_str().unwrap(), "--for", "1s"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    if output.status.success() {
        // This machine reaches the service: then it is what was polled.
        assert!(stderr.contains("  poll "), "{stderr}");
        return;
    }
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("api.open-notify.org") && stderr.contains("--from sim:iss"), "{stderr}");
}

#[test]
fn without_its_last_checkpoint_a_group_does_not_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::write(path.join("in.jsonl"), "{\"n\":1}\n{\"n\":2}\n").unwrap();
    let flatten = plugin("flatten");
    let flatten = flatten.to_str().unwrap();
    run_ok(path, &["--plugin", flatten, "--from", "file:in.jsonl", "--to", "kafka:///in", "--name", "first"]);
    let arguments =
        |from| ["--plugin", flatten, "--from", from, "--to", "kafka:///out", "--name", "second", "--until", "end"];
    // A topic's positions are in the checkpoint's step, those of a file come after it.
    for (from, name) in [("kafka:///in", "topic"), ("file:in.jsonl", "file")] {
        let log = path.join("apogee.db");
        let copy = path.join(format!("{name}.db"));
        std::fs::copy(&log, &copy).unwrap();
        let log = ["--log", copy.to_str().unwrap()];
        run_ok(path, &[&arguments(from)[..], &log].concat());
        let edit = |sql: &str| rusqlite::Connection::open(&copy).unwrap().execute(sql, []).unwrap();
        let refused = || {
            let output = run(path, &[&arguments(from)[..], &log].concat());
            assert!(!output.status.success());
            String::from_utf8(output.stderr).unwrap()
        };
        let next = if from == "kafka:///in" { 2 } else { 16 };
        assert_eq!(edit("UPDATE checkpoints SET checkpoint = json_set(checkpoint, '$.next', 1)"), 2);
        let place = "kafka:///?group=second";
        let group = format!("partition 0: the group has had everything before offset {next} in {place}, but the");
        let anew = "or start anew under another `group`";
        let old = format!("{group} checkpoint there ends at 1: it is an old copy; bring back the last one, {anew}");
        let error = refused();
        assert!(error.contains(&old), "{error}");
        edit("DELETE FROM checkpoints");
        let missing = format!("{group} checkpoint that belongs to it is missing there; bring it back, {anew}");
        let error = refused();
        assert!(error.contains(&missing), "{error}");
    }
}

#[test]
fn a_reply_larger_than_the_topic_takes_costs_only_itself() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        // One reply a connection: first one of 2 MB, which Kafka's default refuses, then small ones.
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(2_000_000));
        for (n, stream) in listener.incoming().enumerate() {
            let body = if n == 0 { large.as_str() } else { "{\"a\":\"small\"}" };
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4_096]);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            let _ = write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    let topic = format!("large-{}", std::process::id());
    let pipeline = format!(
        "[source]\nuri = {url:?}\nvia = \"kafka://{}/{topic}\"\nevery = \"100ms\"\nmax_body = \"4MiB\"\nuntil = \"2s\"\n\
         [[plugin]]\nfile = {:?}\n[sink]\nuri = \"stdout:\"\n",
        crate::kafka::brokers(),
        plugin("flatten")
    );
    std::fs::write(directory.path().join("large.toml"), pipeline).unwrap();
    let output = run(directory.path(), &["run", "large.toml"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(lines(&String::from_utf8(output.stdout).unwrap()).contains(&json!({"a": "small"})), "{stderr}");
    let counted = stderr.lines().any(|line| line.split_whitespace().eq("rejected by source: too large 1".split(' ')));
    assert!(counted, "{stderr}");
    let dead = lines(&run_ok(directory.path(), &["topics", "read", "kafka:///large.dead", "--raw"]));
    assert!(dead[0]["reason"].as_str().unwrap().contains("is larger than"), "{}", dead[0]["reason"]);
}

#[test]
fn compiled_code_is_kept_by_content() {
    let directory = tempfile::tempdir().unwrap();
    let inspect = |plugin: &std::path::Path| {
        let mut command = host(directory.path(), &["plugin", "inspect", plugin.to_str().unwrap()]);
        assert!(command.env("XDG_CACHE_HOME", directory.path()).output().unwrap().status.success());
    };
    let kept = || compiled(&directory.path().join("apogee/compiled"));
    // The same content under another name is compiled once; another content, anew.
    inspect(&plugin("flatten"));
    assert_eq!(kept(), 1);
    let copy = directory.path().join("copy.wasm");
    std::fs::copy(plugin("flatten"), &copy).unwrap();
    inspect(&copy);
    assert_eq!(kept(), 1);
    inspect(&plugin("hostile"));
    assert_eq!(kept(), 2);
}

/// The files of compiled code below a folder; beside each lies one of statistics.
fn compiled(folder: &std::path::Path) -> usize {
    let count = |path: std::path::PathBuf| match path.is_dir() {
        true => compiled(&path),
        false => usize::from(path.extension().is_none()),
    };
    std::fs::read_dir(folder).map_or(0, |entries| entries.map(|entry| count(entry.unwrap().path())).sum())
}
