//! What a sink does not go on from: checkpoints that are gone or of another time, and tables of another shape.

use std::fs;
use std::path::Path;

use host::plugin::{Field, Kind};
use host::sink::SinkError;
use host::sink::delta::Options;

use super::{Bench, fields};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &to) } else { assert!(fs::copy(entry.path(), to).is_ok()) }
    }
}

fn refused(bench: &Bench, why: &str) {
    match bench.writer("g").open() {
        Err(error @ SinkError::Checkpoint { .. }) => {
            let error = error.to_string();
            assert!(error.contains(why) && error.contains("start anew under another `group`"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_the_checkpoint_of_its_rows_a_table_is_not_gone_on_with() {
    let bench = Bench::new();
    let mut writer = bench.writer("g");
    writer.open().unwrap();
    let (kept, old, now) =
        (bench.table().join("_apogee"), bench.folder.path().join("old"), bench.folder.path().join("now"));
    for n in 0..5 {
        writer.append(n, n + 1).unwrap();
        if n == 1 {
            copy(&kept, &old);
        }
    }
    drop(writer);
    copy(&kept, &now);
    let last = fs::read_dir(kept.join("g/0")).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();

    fs::remove_file(&last).unwrap();
    refused(&bench, "is missing, the checkpoint of what is in the table already");
    fs::remove_dir_all(&kept).unwrap();
    refused(&bench, "is missing");
    fs::remove_dir_all(&kept).unwrap();
    copy(&old, &kept);
    refused(&bench, "is missing");
    fs::remove_dir_all(&kept).unwrap();
    copy(&now, &kept);
    let good = fs::read(&last).unwrap();
    fs::write(&last, &good[..good.len() - 1]).unwrap();
    refused(&bench, "it is damaged");
    fs::write(&last, good).unwrap();
    fs::rename(bench.table().join("_delta_log"), bench.table().join("log")).unwrap();
    refused(&bench, "of which the table knows nothing");
    fs::remove_dir_all(bench.table().join("_delta_log")).unwrap();
    fs::rename(bench.table().join("log"), bench.table().join("_delta_log")).unwrap();

    let mut writer = bench.writer("g");
    assert_eq!(writer.open().unwrap(), 5);
    writer.append(5, 6).unwrap();
    assert_eq!(bench.numbers(), (0..6).collect::<Vec<_>>());
}

#[test]
fn a_table_of_another_shape_is_refused_and_both_are_named() {
    let bench = Bench::new();
    bench.writer("g").open().unwrap();
    let field = |name: &str, kind| Field { name: name.to_owned(), kind, nullable: true };
    let [n, t] = [field("n", Kind::Integer), field("t", Kind::Text)];
    let other = |fields: &[Field], partition_by: &[&str]| {
        let partition_by = partition_by.iter().map(ToString::to_string).collect();
        let options = Options { partition_by, ..bench.options() };
        match bench.writer_of(options, fields, "other").and_then(|mut writer| writer.open()) {
            Err(error @ SinkError::Place { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    for (fields, partition_by, why) in [
        (vec![n.clone()], &[][..], r#"the table has column "t", which the plugin does not declare"#),
        (
            vec![n.clone(), field("t", Kind::Float)],
            &[],
            r#"column "t" is string in the table, and double by the plugin"#,
        ),
        (
            vec![n.clone(), t.clone(), field("u", Kind::Text)],
            &[],
            r#"declares column "u", which the table does not have"#,
        ),
        (vec![n.clone(), t.clone()], &["t"], "the table is partitioned by [], and `partition_by` says [t]"),
        (vec![n.clone(), t.clone()], &["u"], r#"`partition_by` names "u", which is none of its columns: n, t"#),
        (vec![n.clone()], &["n"], "names all columns"),
        (vec![field("a b", Kind::Text)], &[], r#"a column cannot have the name "a b""#),
        (vec![t.clone(), field("T", Kind::Text)], &[], r#"columns "t" and "T" are one to many readers"#),
    ] {
        let error = other(&fields, partition_by);
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn others_may_append_between_and_may_not_change_the_columns() {
    let bench = Bench::new();
    let mut writer = bench.writer("g");
    writer.open().unwrap();
    writer.append(0, 5).unwrap();
    bench.change("append", &[r#"[{"n": 100, "t": "foreign"}]"#]);
    bench.change("append", &[r#"[{"n": 101, "t": "foreign"}]"#]);
    writer.append(5, 10).unwrap();
    assert_eq!(bench.numbers(), (0..10).chain(100..102).collect::<Vec<_>>());

    bench.change("column", &[r#"[{"n": 102, "t": "foreign", "more": 1.5}]"#]);
    let error = writer.append(10, 15).unwrap_err();
    assert!(matches!(error, SinkError::Place { .. }), "{error}");
    assert!(error.to_string().contains(r#"the table has column "more", which the plugin does not declare"#), "{error}");
    drop(writer);
    // With a plugin that declares it, the run goes on where the last commit ended.
    let more = Field { name: "more".to_owned(), kind: Kind::Float, nullable: true };
    let mut writer = bench.writer_of(bench.options(), &[fields(), vec![more]].concat(), "g").unwrap();
    assert_eq!(writer.open().unwrap(), 10);
    writer.append(10, 12).unwrap();
    assert_eq!(bench.numbers(), (0..12).chain(100..103).collect::<Vec<_>>());
}
