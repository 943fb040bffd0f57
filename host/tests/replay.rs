//! `host replay` and `host dead` through the program, on both logs: two versions on the same history, and dead letters
//! that fail again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use host::compare::Report;
use host::dead_letter::{Letter, Ran, Text};
use host::log::Log;
use host::log::embedded::Embedded;
use host::log::kafka::Kafka;
use host::message::Batch;
use host::plugin::{Engine, Limits};
use host::version::Version;
use serde_json::{Value, json};

use crate::kafka::brokers;
use crate::program::{plugin, run, run_ok};

/// Messages in each partition: of every hundred one is not JSON, and one altitude in two has a fraction.
const MESSAGES: usize = 5_000;
const PARTITIONS: u32 = 2;

fn message(number: usize) -> String {
    match number % 100 {
        99 => "not JSON".to_owned(),
        _ => {
            let fraction = if number.is_multiple_of(2) { ".25" } else { "" };
            format!(r#"{{"iss":{{"altitude":{number}{fraction},"name":"iss"}},"timestamp":{number}}}"#)
        }
    }
}

/// Fills each partition of a topic with the same messages.
fn fill(log: &dyn Log, topic: &str) {
    log.create_topic(topic, PARTITIONS).unwrap();
    // One key for each partition, which the log's own hash finds.
    let mut writer = log.writer(topic).unwrap();
    let (mut filled, mut key) = (0, 0);
    while filled < PARTITIONS as usize {
        let mut batch = Batch::new();
        batch.push(Some(format!("{key}").as_bytes()), Some(message(0).as_bytes()), 0);
        writer.append(&batch).unwrap();
        writer.flush().unwrap();
        let counts: Vec<i64> = log.describe(topic).unwrap().partitions.iter().map(|(_, next)| *next).collect();
        if counts.iter().filter(|count| **count > 0).count() > filled {
            filled += 1;
            let mut batch = Batch::new();
            (1..MESSAGES).for_each(|number| {
                batch.push(Some(format!("{key}").as_bytes()), Some(message(number).as_bytes()), number as i64);
            });
            writer.append(&batch).unwrap();
            writer.flush().unwrap();
        }
        key += 1;
    }
}

/// A folder with an embedded log that holds the topic, and a topic in Kafka; as URIs.
fn topics(folder: &Path, name: &str) -> [String; 2] {
    fill(&Embedded::open(&folder.join("apogee.db")).unwrap(), name);
    let kafka = Kafka::connect(&brokers(), &BTreeMap::new()).unwrap();
    let topic = format!("{name}-{}", fastrand::u64(..));
    fill(&kafka, &topic);
    [format!("kafka:///{name}"), format!("kafka://{}/{topic}", brokers())]
}

fn replay(folder: &Path, from: &str, arguments: &[&str]) -> Output {
    run(folder, &[&["replay", "--from", from], arguments].concat())
}

/// What came of a comparison, and the exit code.
fn compare(folder: &Path, from: &str, old: &str, new: &str, more: &[&str]) -> (Report, i32) {
    let (old, new) = (plugin(old), plugin(new));
    let arguments = ["--plugin", old.to_str().unwrap(), "--against", new.to_str().unwrap(), "--json"];
    let output = replay(folder, from, &[&arguments[..], more].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    (serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}")), output.status.code().unwrap())
}

#[test]
fn a_version_against_itself_finds_nothing_and_one_changed_field_is_found_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let rejected = (PARTITIONS as usize * MESSAGES / 100) as u64;
    // 99 is odd: what is rejected has no fraction.
    let (all, fractions) = (u64::from(PARTITIONS) * MESSAGES as u64, u64::from(PARTITIONS) * MESSAGES as u64 / 2);
    for uri in topics(folder, "replay-compare") {
        let (report, code) = compare(folder, &uri, "flatten", "flatten", &[]);
        assert_eq!((report.messages, report.equal, report.rejected_by_both), (all, all - rejected, rejected));
        assert_eq!((report.differs(), report.differences.len(), code), (false, 0, 0));
        assert!(report.old.ns_per_message > 0.0 && report.new.memory > 0 && report.old.hash == report.new.hash);

        let (report, code) = compare(folder, &uri, "flatten", "flatten-changed", &[]);
        let Report { messages, equal, changed, added, missing, rejected_by_both, .. } = report;
        assert_eq!((messages, changed, equal), (all, fractions, all - fractions - rejected));
        assert_eq!((added, missing, rejected_by_both, code), (0, 0, rejected, 1));
        assert_eq!(report.fields, [("iss_altitude".to_owned(), fractions)].into());
        assert_eq!(report.differences[1].offset, Some(2));
        let altitude = ("iss_altitude".to_owned(), Some("2.25".to_owned()), Some("2".to_owned()));
        assert_eq!(report.differences[1].fields, [altitude]);
    }
}

#[test]
fn settings_of_each_version_and_a_table_for_a_person() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("in.jsonl"), (0..10).map(message).collect::<Vec<_>>().join("\n")).unwrap();
    let flatten = plugin("flatten");
    let flatten = flatten.to_str().unwrap();
    let arguments = ["--plugin", flatten, "--set", "separator=.", "--against", flatten, "--set-against", "separator=-"];
    let output = replay(folder.path(), "file:in.jsonl", &arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in ["changed                  10\n", "iss.altitude", "iss-altitude", "0.25 -> (none)\n"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Settings of the old version are those of the new one too, unless they are said to be others.
    let output = replay(folder.path(), "file:in.jsonl", &arguments[..6]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn ranges_are_exact_in_both_logs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let flatten = plugin("flatten");
    let flatten = flatten.to_str().unwrap();
    for uri in topics(folder, "replay-ranges") {
        let altitudes = |range: &str, more: &[&str]| -> Vec<f64> {
            let from = format!("{uri}{range}");
            let arguments = [&["replay", "--from", &from, "--plugin", flatten], more].concat();
            let lines = run_ok(folder, &arguments);
            let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["iss_altitude"].as_f64().unwrap();
            lines.lines().map(line).collect()
        };
        assert_eq!(altitudes("@10..14", &[]), [10.25, 11.0, 12.25, 13.0, 10.25, 11.0, 12.25, 13.0]);
        assert_eq!(altitudes("@10..12", &["--partition", "1"]), [10.25, 11.0]);
        assert_eq!(altitudes("@..1", &[]), [0.25, 0.25]);
        assert_eq!(altitudes("@4998..9000", &["--partition", "0"]), [4998.25]);
        assert!(altitudes("@7..7", &[]).is_empty());
        assert_eq!(altitudes("", &[]).len(), PARTITIONS as usize * MESSAGES * 99 / 100);
        for (range, more, problem) in [
            ("@9..7", &[][..], "9..7 ends before it begins"),
            ("@7", &[], "a range of offsets, such as 1000..2000"),
            ("@-1..7", &[], "a range of offsets"),
            ("", &["--partition", "7"], "has 2 partition(s), counted from 0"),
        ] {
            let from = format!("{uri}{range}");
            let output = replay(folder, &from, &[&["--plugin", flatten], more].concat());
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(2) && said.contains(problem), "{range}: {said}");
        }
    }
    let output = replay(folder, "http://127.0.0.1:1/", &["--plugin", flatten]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("only what was kept can be replayed"), "{said}");
}

#[test]
fn windows_close_at_the_end_and_what_they_hold_is_compared() {
    let folder = tempfile::tempdir().unwrap();
    let replies = (0..100).map(|n| format!(r#"{{"time":{n}}}"#)).collect::<Vec<_>>().join("\n");
    std::fs::write(folder.path().join("in.jsonl"), replies).unwrap();
    let window = ["--set", "window=1h"];
    let counts = plugin("window-counts");
    let arguments =
        [&["replay", "--from", "file:in.jsonl", "--plugin", counts.to_str().unwrap()], &window[..]].concat();
    let windows = run_ok(folder.path(), &arguments);
    let count: u64 =
        windows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["count"].as_u64().unwrap()).sum();
    assert_eq!(count, 100, "{windows}");
    let more = ["--set", "window=1h", "--set-against", r#"aggregates=["count","max(time)"]"#];
    let (report, code) = compare(folder.path(), "file:in.jsonl", "window-counts", "window-counts", &more);
    assert_eq!((report.changed, report.equal, report.added, report.missing, code), (1, 0, 0, 0, 1));
    assert_eq!(report.fields, [("max_time".to_owned(), 1)].into());
    assert_eq!(report.differences[0].offset, None);
}

#[test]
fn a_version_that_fails_is_told_with_the_offsets() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("in.jsonl"), "{}\n[]\n").unwrap();
    let trap = ["--set", "how=echo", "--set-against", "how=trap"];
    let (report, code) = compare(folder.path(), "file:in.jsonl", "hostile", "hostile", &trap);
    let failed = report.failed.unwrap();
    assert!(failed.starts_with("partition 0, among the offsets 0 to 3: plugin hostile "), "{failed}");
    assert_eq!((report.messages, code), (0, 1));
    let hostile = plugin("hostile");
    let alone = replay(folder.path(), "file:in.jsonl", &["--plugin", hostile.to_str().unwrap(), "--set", "how=trap"]);
    let said = String::from_utf8_lossy(&alone.stderr);
    assert!(alone.status.code() == Some(1) && said.contains("error: partition 0, among the offsets 0 to 3"), "{said}");
}

/// The letter of a message that made `hostile` fail with these settings, as the pipeline would write it.
fn letter(settings: &Value, value: &[u8]) -> Vec<u8> {
    let hostile = Engine::new().unwrap().load(&plugin("hostile")).unwrap();
    let version = Version::new(hostile, settings.clone(), Limits::default(), 0).unwrap();
    let mut batch = Batch::new();
    batch.push(Some(b"key"), Some(value), 1_690_000_000_000);
    let error = version.open().unwrap().process(&batch).expect_err("it fails");
    let (reason, said, backtrace) = (error.to_string(), error.said().to_vec(), error.backtrace());
    let letter = Letter {
        timestamp: Some(1_690_000_000_000),
        key: Some(Text::key(b"key")),
        value: Some(Text::value(value)),
        said: said.into_iter().map(Cow::Owned).collect(),
        backtrace: backtrace.into_iter().map(Cow::Owned).collect(),
        ..Letter::new("iss", "kafka:///iss", 0, 0, error.cause(), &reason)
    };
    serde_json::to_vec(&letter.by(Ran::of(&version))).unwrap()
}

/// Letters in a topic of the embedded log, in one of Kafka, and in a file; as URIs with what comes before the number of
/// the first one.
fn letters(folder: &Path, name: &str, letters: &[Vec<u8>]) -> [(String, i64); 3] {
    let mut batch = Batch::new();
    letters.iter().for_each(|letter| batch.push(None, Some(letter), 0));
    let write = |log: &dyn Log, topic: &str| {
        log.create_topic(topic, 1).unwrap();
        let mut writer = log.writer(topic).unwrap();
        writer.append(&batch).unwrap();
        writer.flush().unwrap();
    };
    write(&Embedded::open(&folder.join("apogee.db")).unwrap(), name);
    let topic = format!("{name}-{}", fastrand::u64(..));
    write(&Kafka::connect(&brokers(), &BTreeMap::new()).unwrap(), &topic);
    std::fs::write(folder.join("dead.jsonl"), letters.join(&b'\n')).unwrap();
    [(format!("kafka:///{name}"), 0), (format!("kafka://{}/{topic}", brokers()), 0), ("jsonl:dead.jsonl".to_owned(), 1)]
}

#[test]
fn a_dead_letter_fails_again_in_the_same_way_and_a_mended_plugin_goes_through() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("plugins")).unwrap();
    std::fs::copy(plugin("hostile"), folder.join("plugins/any-name.wasm")).unwrap();
    let trap = letter(&json!({ "how": "trap", "marked": true }), br#"{"a":"poison"}"#);
    let nonsense = letter(&json!({ "how": "lengths-short" }), b"{}");
    let mut elsewhere: Value = serde_json::from_slice(&trap).unwrap();
    elsewhere["backtrace"][0] = "0: elsewhere".into();
    let elsewhere = serde_json::to_vec(&elsewhere).unwrap();
    let mut gone: Value = serde_json::from_slice(&trap).unwrap();
    (gone["hash"], gone["settings"]) = ("00".into(), json!({}));
    let gone = serde_json::to_vec(&gone).unwrap();
    let flatten = plugin("flatten");
    let flatten = flatten.to_str().unwrap();
    for (uri, first) in letters(folder, "replay-dead", &[trap, nonsense, elsewhere, gone]) {
        let again = |number: i64, more: &[&str]| {
            let at = format!("{uri}@{}", first + number);
            let output = run(folder, &[&["replay", "--dead", &at], more].concat());
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
        };
        let (code, _, said) = again(0, &[]);
        let same = "error: it fails in the same way: plugin hostile 0.1.0 failed in process: it gave up";
        assert!(code == 1 && said.contains(same), "{said}");
        let (code, _, said) = again(1, &[]);
        assert!(code == 1 && said.contains("in the same way: plugin hostile 0.1.0 gave back nonsense"), "{said}");
        let (code, _, said) = again(2, &[]);
        assert!(code == 1 && said.contains("it fails with the same cause, at another place"), "{said}");
        // Mended by other settings, or by another version where the one that failed is gone.
        for (number, mended) in [(0, ["--set", "how=echo"]), (3, ["--plugin", flatten])] {
            let (code, out, said) = again(number, &mended);
            assert_eq!((code, out.as_str()), (0, "{\"a\":\"poison\"}\n"), "{said}");
            assert!(said.contains("it goes through now, and gives 1 message(s)"), "{said}");
        }
        let (code, _, said) = again(0, &["--plugin", flatten]);
        assert!(code == 2 && said.contains("does not take these settings"), "{said}");
        let (code, _, said) = again(9, &[]);
        assert!(code == 2 && said.contains(&format!("has no letter {}", first + 9)), "{said}");
    }
}

#[test]
fn what_was_cut_is_read_at_its_origin() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("plugins")).unwrap();
    std::fs::copy(plugin("hostile"), folder.join("plugins/hostile.wasm")).unwrap();
    let long = format!(r#"{{"a":"{}poison"}}"#, "x".repeat(200_000));
    let log = Embedded::open(&folder.join("apogee.db")).unwrap();
    log.create_topic("iss", 1).unwrap();
    let mut batch = Batch::new();
    batch.push(Some(b"key"), Some(long.as_bytes()), 0);
    let mut writer = log.writer("iss").unwrap();
    writer.append(&batch).unwrap();
    writer.flush().unwrap();
    let settings = json!({ "how": "trap", "marked": true });
    let own = letter(&settings, long.as_bytes());
    let other = letter(&settings, format!("y{long}").as_bytes());
    std::fs::write(folder.join("dead.jsonl"), [own, other].join(&b'\n')).unwrap();
    // Its mark is at the end, which the letter has not.
    let output = run(folder, &["dead", "replay", "jsonl:dead.jsonl@1"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("it fails in the same way"), "{said}");
    let output = run(folder, &["dead", "replay", "jsonl:dead.jsonl@2"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let problem = "the letter has only the start of the message: what is at its origin is another message";
    assert!(output.status.code() == Some(1) && said.contains(problem), "{said}");
}

#[test]
fn dead_letters_are_listed_counted_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let trap = letter(&json!({ "how": "trap" }), b"\x1b[31mred\nnext");
    let nonsense = letter(&json!({ "how": "lengths-short" }), b"\xff\x00");
    for (uri, first) in letters(folder, "replay-list", &[trap.clone(), nonsense, trap, b"no letter".to_vec()]) {
        let list = run_ok(folder, &["dead", "list", &uri]);
        let lines: Vec<&str> = list.lines().collect();
        assert_eq!(lines.len(), 4, "{list}");
        let start = format!("@{first}  iss  0-0  hostile 0.1.0  trap: plugin hostile 0.1.0 failed in process");
        assert!(lines[0].starts_with(&start), "{list}");
        assert!(lines[3].starts_with(&format!("@{}  no dead letter: ", first + 3)), "{list}");
        assert_eq!(run_ok(folder, &["dead", "list", &uri, "--limit", "1"]).lines().count(), 1);
        let by = run_ok(folder, &["dead", "list", &uri, "--by", "cause"]);
        assert_eq!(by, "         2  trap\n         1  no dead letter\n         1  nonsense\n");
        let by: Value =
            serde_json::from_str(&run_ok(folder, &["dead", "list", &uri, "--by", "plugin", "--json"])).unwrap();
        assert_eq!(by, json!({ "hostile 0.1.0": 3, "no dead letter": 1 }));

        let shown = run_ok(folder, &["dead", "show", &format!("{uri}@{first}")]);
        for part in [
            "settings    {\"how\":\"trap\"}\n",
            "origin      partition 0 offset 0\n",
            "(2023-07-22T04:26:40Z)",
            "said        ",
            "backtrace   ",
            "value       \\u{1b}[31mred\n            next\n",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(
            run_ok(folder, &["dead", "show", &format!("{uri}@{}", first + 1)]).contains("value       ff00 (hex)\n")
        );
        let json: Value =
            serde_json::from_str(&run_ok(folder, &["dead", "show", &format!("{uri}@{first}"), "--json"])).unwrap();
        assert_eq!((&json["cause"], &json["value"]), (&json!("trap"), &json!("\u{1b}[31mred\nnext")));
        let wrong = run(folder, &["dead", "show", &format!("{uri}@{}", first + 3)]);
        let said = String::from_utf8_lossy(&wrong.stderr);
        assert!(wrong.status.code() == Some(2) && said.contains("is no dead letter of this host"), "{said}");
    }
}

#[test]
fn what_a_pipeline_wrote_down_is_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("plugins")).unwrap();
    for name in ["flatten", "hostile"] {
        std::fs::copy(plugin(name), folder.join(format!("plugins/{name}.wasm"))).unwrap();
    }
    let lines = ["{\"a\":{\"b\":1}}", "not JSON", "{\"a\":{\"b\":\"poison\"}}", "{\"a\":{\"b\":2}}"];
    std::fs::write(folder.join("in.jsonl"), lines.join("\n")).unwrap();
    let plugins = ["--plugin", "plugins/flatten.wasm", "plugins/hostile.wasm"];
    let settings = ["--set", "flatten.separator=.", "--set", "hostile.how=trap", "--set", "hostile.marked=true"];
    let out = run_ok(folder, &[&plugins[..], &settings, &["--from", "file:in.jsonl", "--name", "p"]].concat());
    assert_eq!(out, "{\"a.b\":1}\n{\"a.b\":2}\n");

    let list = run_ok(folder, &["dead", "list", "kafka:///p.dead", "--by", "cause"]);
    assert_eq!(list, "         1  rejected\n         1  trap\n");
    let again = |cause: &str, more: &[&str]| {
        let list = run_ok(folder, &["dead", "list", "kafka:///p.dead"]);
        let line = list.lines().find(|line| line.contains(&format!("  {cause}: "))).expect("a letter");
        let at = format!("kafka:///p.dead{}", line.split(' ').next().unwrap());
        let output = run(folder, &[&["dead", "replay", &at], more].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let (code, _, said) = again("rejected", &[]);
    let same = "error: it is rejected again, for the same reason, by flatten 0.1.0: not a JSON object";
    assert!(code == 1 && said.contains(same), "{said}");
    // Through flatten, with its settings, and then through the one that failed.
    let (code, _, said) = again("trap", &[]);
    assert!(code == 1 && said.contains("error: it fails in the same way: plugin hostile"), "{said}");
    assert_eq!(again("trap", &["--set", "marked=false", "--set", "how=echo"]).1, "{\"a.b\":\"poison\"}\n");
}
