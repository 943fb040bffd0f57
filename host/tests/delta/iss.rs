//! `pipelines/iss-delta.toml` from end to end: bronze and gold, while both grow and through kills of the host.

use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};
use host::log::Log;
use host::log::embedded::Embedded;

use super::log;
use crate::program::{Running, host, run_ok, top, wait_for};
use crate::readers::Readers;

const KILLS: usize = 20;

#[test]
fn gold_is_the_highest_of_bronze_at_every_version_through_twenty_kills() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let pipeline = std::fs::read_to_string(top().join("pipelines/iss-delta.toml")).unwrap();
    let pipeline = pipeline.replace(r#"every = "2s""#, r#"every = "50ms""#).replace("127.0.0.1:8091", "127.0.0.1:0");
    std::fs::write(path.join("iss.toml"), pipeline.replace("../plugins", top().join("plugins").to_str().unwrap()))
        .unwrap();
    let [bronze, gold] = ["out/iss-bronze", "out/iss-gold"].map(|table| path.join(table));

    for round in 1..=KILLS {
        // The simulator always begins at the same second, and the station rises: so each round comes to new heights.
        let from = format!("sim:iss?shape=wheretheiss&step={round}s");
        let arguments = ["run", "iss.toml", "--from", &from, "--via", "kafka:///iss", "--every", "2ms"];
        let running = Running::start(host(path, &arguments));
        let (before, more) = (log(&bronze).len(), random.usize(1..6));
        wait_for("versions of bronze", || (log(&bronze).len() > before + 1 + more).then_some(()));
        assert!(!running.stop("KILL").success());
        agree(&bronze, &gold);
    }
    run_ok(path, &["run", "iss.toml", "--from", "kafka:///iss", "--until", "end"]);
    agree(&bronze, &gold);

    let topic = Embedded::open(&path.join("apogee.db")).unwrap();
    let sent = topic.read("iss", 0, 0, usize::MAX).unwrap();
    let sent =
        sent.batch.values.iter().map(|value| serde_json::from_slice::<serde_json::Value>(value.unwrap()).unwrap());
    let sent: Vec<i64> = sent.map(|reply| reply["timestamp"].as_i64().unwrap()).collect();
    let files = log(&bronze).concat();
    let times = files.iter().flat_map(|action| column(&bronze, action, "timestamp"));
    let times: Vec<i64> = times.flat_map(|column| column.as_primitive::<Int64Type>().values().to_vec()).collect();
    assert!(times == sent, "{} rows of {} messages", times.len(), sent.len());

    // The same by readers that are not ours.
    let readers = Readers::local();
    let highest = |table: &Path| {
        let rows = readers.delta(table.to_str().unwrap(), None);
        rows.iter().map(|row| row["altitude"].as_f64().unwrap()).fold(f64::MIN, f64::max)
    };
    assert_eq!(highest(&gold), highest(&bronze));
    let sql =
        |table: &Path| format!("SELECT max(altitude) AS highest FROM read_parquet('{}/*.parquet')", table.display());
    assert_eq!(readers.sql(&sql(&gold)), readers.sql(&sql(&bronze)));
}

/// Whether at every version of gold its maximum is that of what it had read of bronze by then.
fn agree(bronze: &Path, gold: &Path) {
    let rows: Vec<Vec<f64>> = log(bronze)
        .iter()
        .map(|actions| actions.iter().flat_map(|action| altitudes(bronze, action)).collect())
        .collect();
    let mut highest = f64::MIN;
    for (version, actions) in log(gold).iter().enumerate() {
        highest = actions.iter().flat_map(|action| altitudes(gold, action)).fold(highest, f64::max);
        let next = actions
            .iter()
            .find_map(|action| action["commitInfo"]["apogee"]["next"].as_object()?.values().next()?.as_i64());
        let Some(next) = next else { continue };
        let (last, row) = ((next >> 32) as usize, (next & 0x7fff_ffff) as usize);
        let whole = rows[..last].iter().flatten();
        let read = whole.chain(rows.get(last).into_iter().flat_map(|rows| &rows[..row.min(rows.len())]));
        assert_eq!(read.copied().fold(f64::MIN, f64::max), highest, "version {version} of gold");
    }
}

fn altitudes(table: &Path, action: &serde_json::Value) -> Vec<f64> {
    column(table, action, "altitude")
        .flat_map(|column| column.as_primitive::<Float64Type>().values().to_vec())
        .collect()
}

/// A column of the file that an action adds, if it adds any.
fn column<'a>(table: &'a Path, action: &'a serde_json::Value, name: &'a str) -> impl Iterator<Item = ArrayRef> + 'a {
    let files = action["add"]["path"].as_str().into_iter().map(|path| std::fs::File::open(table.join(path)).unwrap());
    files.flat_map(move |file| {
        let rows = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 1_000).unwrap();
        rows.map(move |rows| {
            let column = rows.unwrap().column_by_name(name).unwrap().clone();
            assert_eq!(column.null_count(), 0);
            column
        })
    })
}
