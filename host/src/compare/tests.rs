//! Every kind of difference, and random edits that are counted exactly.

use super::*;
use crate::message::Header;
use crate::plugin::Rejection;

/// A message that came of the one with that number.
type Made = (u32, Option<&'static [u8]>, &'static str);

fn output(made: &[Made], rejected: &[u32]) -> Output {
    let mut messages = Batch::new();
    made.iter().for_each(|(_, key, value)| messages.push(*key, Some(value.as_bytes()), 7));
    let origins = made.iter().map(|made| made.0).collect();
    let rejection = |&message: &u32| Rejection { message, reason: format!("reason \u{1b} {message}") };
    Output { messages, origins, rejected: rejected.iter().map(rejection).collect() }
}

fn compare(count: usize, old: &Output, new: &Output) -> Report {
    let mut batch = Batch::new();
    (0..count).for_each(|_| batch.push(None, Some(b"in"), 0));
    let offsets: Vec<i64> = (100..).take(count).collect();
    let mut comparison = Comparison::new();
    comparison.output(3, &batch, &offsets, old, new);
    comparison.report()
}

/// Equal, changed, added, missing; rejected by both, by the old one only, by the new one only.
fn counts(report: &Report) -> [u64; 7] {
    let Report { equal, changed, added, missing, rejected_by_both, rejected_by_old_only, rejected_by_new_only, .. } =
        report;
    [*equal, *changed, *added, *missing, *rejected_by_both, *rejected_by_old_only, *rejected_by_new_only]
}

#[test]
fn the_same_is_equal() {
    let same = output(&[(0, None, "a"), (0, Some(b"k"), "b"), (2, None, "{}")], &[1]);
    let report = compare(3, &same, &same);
    assert_eq!((counts(&report), report.messages), ([3, 0, 0, 0, 1, 0, 0], 3));
    assert!(!report.differs() && report.differences.is_empty());
    // In another order among the messages that came in, it is still the same of each.
    let turned = output(&[(2, None, "{}"), (0, None, "a"), (0, Some(b"k"), "b")], &[1]);
    assert_eq!(counts(&compare(3, &same, &turned)), [3, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn each_kind_of_difference_is_told_with_its_place() {
    let old = output(&[(0, None, "same"), (1, None, "a"), (2, None, "gone"), (3, None, "x"), (4, None, "y")], &[5, 6]);
    let new = output(&[(0, None, "same"), (1, None, "b"), (3, None, "x"), (3, None, "more"), (5, None, "z")], &[4, 6]);
    let report = compare(7, &old, &new);
    assert_eq!(counts(&report), [2, 1, 1, 1, 1, 1, 1]);
    let told: Vec<_> = report.differences.iter().map(|told| (told.offset, told.what.as_str())).collect();
    let expected = [
        (101, "changed"),
        (102, "missing"),
        (103, "added"),
        (104, "rejected by new only"),
        (105, "rejected by old only"),
    ];
    assert_eq!(told, expected.map(|(offset, what)| (Some(offset), what)));
    assert!(report.differences.iter().all(|told| told.partition == 3));
    assert_eq!(report.differences[3].fields, [("<rejected>".into(), None, Some("reason \\u{1b} 4".into()))]);
    assert_eq!(report.differences[0].fields, [("<value>".into(), Some("a".into()), Some("b".into()))]);
    assert_eq!(report.fields, [("<value>".to_owned(), 1)].into());
}

#[test]
fn fields_are_named_by_their_path_and_numbers_compared_by_their_text() {
    let old = r#"{"a":{"b": 1.0,"c":"x","only":null},"n":12345678901234567890.1,"list":[1,2],"s":"\u0041","t":[1]}"#;
    let new = r#"{"a":{"b":1,"c":"x"},"n":12345678901234567890.2,"list":[1,2],"s":"A","t":[2],"more":true}"#;
    let report = compare(1, &output(&[(0, None, old)], &[]), &output(&[(0, None, new)], &[]));
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        report.differences[0].fields,
        [
            ("a.b".to_owned(), text("1.0"), text("1")),
            ("a.only".to_owned(), text("null"), None),
            ("n".to_owned(), text("12345678901234567890.1"), text("12345678901234567890.2")),
            ("t".to_owned(), text("[1]"), text("[2]")),
            ("more".to_owned(), None, text("true")),
        ]
    );
    // The same fields, written in another way, are not the same bytes.
    let report = compare(1, &output(&[(0, None, r#"{"a":1}"#)], &[]), &output(&[(0, None, r#"{"a": 1}"#)], &[]));
    assert_eq!((report.changed, report.fields), (1, [("<value>".to_owned(), 1)].into()));
}

#[test]
fn key_timestamp_and_headers_count() {
    let old = output(&[(0, Some(b"k"), "{}"), (1, None, "{}"), (2, None, "{}")], &[]);
    let mut new = output(&[(0, None, "{}"), (1, None, "{}"), (2, None, "{}")], &[]);
    new.messages.timestamps[1] = 8;
    new.messages.headers.push(Header { message: 2, name: "h".into(), value: b"\xff\n".to_vec() });
    let report = compare(3, &old, &new);
    assert_eq!((report.equal, report.changed), (0, 3));
    let names = ["<headers>", "<key>", "<timestamp>"].map(|name| (name.to_owned(), 1));
    assert_eq!(report.fields, names.into());
    assert_eq!(report.differences[2].fields, [("<headers>".into(), Some("".into()), Some("h=\u{fffd}\\n".into()))]);
}

#[test]
fn what_came_as_time_passed_is_compared_by_key() {
    let batch = |made: &[Made]| output(made, &[]).messages;
    let old = batch(&[(0, Some(b"a"), "1"), (0, Some(b"b"), "1"), (0, Some(b"b"), "2"), (0, Some(b"c"), "1")]);
    let new = batch(&[(0, Some(b"b"), "2"), (0, Some(b"a"), "9"), (0, Some(b"c"), "1"), (0, Some(b"d"), "1")]);
    let mut comparison = Comparison::new();
    comparison.advanced(0, &old, &new);
    comparison.advanced(0, &old, &old);
    let report = comparison.report();
    assert_eq!((counts(&report), report.messages), ([2 + 4, 1, 1, 1, 0, 0, 0], 0));
    let text = |text: &str| Some(text.to_owned());
    let changed = [("<key>".to_owned(), text("a"), text("a")), ("<value>".to_owned(), text("1"), text("9"))];
    assert_eq!((&report.differences[0].fields[..], report.differences[0].offset), (&changed[..], None));
}

#[test]
fn everything_is_bounded() {
    let long = "x".repeat(100_000);
    let object = |value: &str| {
        let members: Vec<String> = (0..2_000).map(|i| format!("\"{i}{long:.300}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    };
    let made = |value: &str| {
        let mut messages = Batch::new();
        (0..12).for_each(|_| messages.push(Some(long.as_bytes()), Some(object(value).as_bytes()), 0));
        Output { messages, origins: (0..12).collect(), rejected: Vec::new() }
    };
    let report = compare(12, &made("1"), &made("2"));
    assert_eq!((report.changed, report.differences.len()), (12, SHOWN));
    assert!(report.fields.len() <= NAMES + 1 && report.fields.values().sum::<u64>() == 24_000);
    assert!(serde_json::to_vec(&report).unwrap().len() < 500_000);
    // As deep as nobody means it.
    let deep = |value: &str| format!("{}{value}{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
    let made = |value: &str| {
        let mut messages = Batch::new();
        messages.push(None, Some(deep(value).as_bytes()), 0);
        Output { messages, origins: vec![0], rejected: Vec::new() }
    };
    assert_eq!(compare(1, &made("1"), &made("2")).changed, 1);
}

#[test]
fn a_report_is_for_a_person_too() {
    let mut comparison = Comparison::new();
    comparison.between(("flatten 1.0.0".into(), "0123456789".into()), ("flatten 1.1.0".into(), "abcdef0123".into()));
    comparison.took(10, Duration::from_micros(10), Duration::from_micros(20));
    comparison.memory(2048, 4096);
    let (old, new) =
        (output(&[(0, None, r#"{"n":1}"#)], &[]).messages, output(&[(0, None, r#"{"n":2}"#)], &[]).messages);
    comparison.advanced(1, &old, &new);
    comparison.failed("it trapped");
    comparison.failed("later");
    let text = comparison.report().to_string();
    for part in [
        "flatten 1.0.0",
        "abcdef01\n",
        "\nchanged                  1\n",
        "partition 1 as time passed: changed\n",
        " 1 -> 2\n",
        "FAILED: it trapped\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!((comparison.report().old.ns_per_message - 1_000.0).abs() < 1e-9);
}

/// What the old one and the new one make of random messages, and what is to be counted.
fn random(random: &mut fastrand::Rng, count: u32) -> (Output, Output, [u64; 7]) {
    let (mut old, mut new, mut expected) = (output(&[], &[]), output(&[], &[]), [0; 7]);
    let reject = |output: &mut Output, message| {
        output.rejected.push(Rejection { message, reason: "no".into() });
    };
    let mut next = 0;
    for origin in 0..count {
        let mut make = || {
            next += 1;
            format!(r#"{{"number":{next},"edit":0}}"#)
        };
        let push = |output: &mut Output, value: &str| {
            output.messages.push(Some(b"key"), Some(value.as_bytes()), i64::from(origin));
            output.origins.push(origin);
        };
        let edit = random.usize(0..7);
        match edit {
            4..=6 => {
                expected[edit] += 1;
                let made = make();
                match edit {
                    4 => {
                        reject(&mut old, origin);
                        reject(&mut new, origin);
                    }
                    5 => {
                        reject(&mut old, origin);
                        push(&mut new, &made);
                    }
                    _ => {
                        push(&mut old, &made);
                        reject(&mut new, origin);
                    }
                }
            }
            // Of one message, edits of one kind: which of two kinds it was cannot be seen from what they leave.
            _ => {
                for _ in 0..random.usize(0..6) {
                    let edit = if random.bool() { edit } else { 0 };
                    expected[edit] += 1;
                    let made = make();
                    match edit {
                        0 => {
                            push(&mut old, &made);
                            push(&mut new, &made);
                        }
                        1 => {
                            push(&mut old, &made);
                            push(&mut new, &made.replace("\"edit\":0", "\"edit\":1"));
                        }
                        2 => push(&mut new, &made),
                        _ => push(&mut old, &made),
                    }
                }
            }
        }
    }
    (old, new, expected)
}

#[test]
fn random_edits_are_counted_exactly() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..300 {
        let count = rng.u32(0..50);
        let (old, new, expected) = random(&mut rng, count);
        let report = compare(count as usize, &old, &new);
        assert_eq!(counts(&report), expected);
        assert_eq!(report.fields.get("edit").copied().unwrap_or(0), expected[1]);
        assert!(report.fields.keys().all(|field| field == "edit"));
    }
}

#[test]
fn a_report_of_another_host_is_fit_for_a_terminal() {
    let bad = || "\u{1b}[31m\n".to_owned();
    let cost = Cost { plugin: bad(), hash: bad(), ..Cost::default() };
    let fields = vec![(bad(), Some(bad()), None)];
    let report = Report {
        fields: [(bad(), 1)].into(),
        differences: vec![Difference { what: bad(), fields, ..Difference::default() }],
        old: cost.clone(),
        new: cost,
        failed: Some(bad()),
        ..Report::default()
    };
    let text = report.to_string();
    assert!(!text.contains('\u{1b}') && text.matches("\\u{1b}[31m\\n").count() == 9, "{text}");
}
