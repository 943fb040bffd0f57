//! Pipeline 4: messages of turnstiles, with duplicates and late ones, into a lake of gzip CSV that is read as a table.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use flate2::read::MultiGzDecoder;
use host::log::Log;
use host::log::kafka::Kafka;
use jiff::civil::DateTime;

use crate::program::{Running, host, run, wait_for};
use crate::readers::Readers;

const MESSAGES: i64 = 1_500;
const WINDOW: i64 = 300;
const GRACE: i64 = 60;
const COLUMNS: [&str; 11] =
    ["CA", "UNIT", "SCP", "STATION", "LINENAME", "DIVISION", "DATE", "TIME", "DESC", "ENTRIES", "EXITS"];

#[test]
fn windows_in_the_lake_are_those_of_a_reference() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (location, place) = super::place();
    let topic = format!("turnstiles-{}", std::process::id());
    let via = format!("kafka://{}/{topic}", crate::kafka::brokers());
    let s3 = super::s3(&crate::s3::endpoint());
    let changes = [
        ("turnstiles/counts", place.as_str()),
        ("kafka://localhost:9092/turnstiles", &via),
        ("endpoint = \"http://localhost:9000\"", &s3),
    ];
    super::write(path, "turnstiles.toml", &changes);
    let seed = fastrand::u32(..);
    println!("seed {seed}");
    let from = format!("sim:turnstiles?step=10s&seed={seed}&duplicates=0.05&late=0.02");
    let polling = Running::start(host(path, &["run", "turnstiles.toml", "--from", &from, "--every", "1ms"]));
    let log = Kafka::connect(&crate::kafka::brokers(), &Default::default()).unwrap();
    let end = || Some(log.topics().ok()?.into_iter().find(|found| found.name == topic)?.partitions[0].1);
    wait_for("the polls", || end().filter(|&end| end >= MESSAGES));
    // Whether it ends in time or is cut off, nothing is lost.
    polling.stop("TERM");

    // All that was polled, and then the end, which closes the last windows.
    super::write(path, "turnstiles.toml", &[&changes[..], &[("[source]", "[source]\nclose = true")]].concat());
    let output = run(path, &["run", "turnstiles.toml", "--from", &via, "--until", "end"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let schema = "turnstiles 0.1.0 puts out CA text, UNIT text, SCP text, STATION text, LINENAME text, DIVISION text, \
                  DATE text, TIME text, DESC text, ENTRIES integer, EXITS integer, ID text, TIMESTAMP timestamp";
    assert!(said.contains(schema), "{said}");
    let aggregate = "puts out CA text, UNIT text, SCP text, STATION text, LINENAME text, DIVISION text, DATE text, \
                     TIME text, DESC text, ENTRIES float?, EXITS float?";
    assert!(said.contains(aggregate), "{said}");

    let messages = crate::kafka::console_consumer(&topic);
    let Reference { rows, late, duplicates } = reference(&messages);
    assert!(late > 5 && duplicates > 20, "{late} late and {duplicates} duplicates of {}", messages.len());
    let letters = run(path, &["topics", "read", "kafka:///turnstiles.dead", "--raw"]);
    assert_eq!(String::from_utf8(letters.stdout).unwrap().lines().count(), late);

    // Each file is whole, and in the folder of its station.
    let mut found = Vec::new();
    for (name, bytes) in crate::s3::Reader::of(location).files() {
        let mut text = String::new();
        MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().unwrap(), &COLUMNS[..]);
        let rows: Vec<Vec<String>> =
            reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
        let ends: BTreeSet<&String> = rows.iter().map(|row| &row[7]).collect();
        assert!(
            ends.len() == 1 && rows.iter().all(|row| name.starts_with(&format!("{}/", row[3]))),
            "{name}: {rows:?}"
        );
        found.extend(rows);
    }
    found.sort();
    assert_eq!(found, rows);
    by_station(path, &place, &rows);
}

/// The lake as an external table, by station.
fn by_station(path: &std::path::Path, place: &str, rows: &[Vec<String>]) {
    let lake = path.join("lake");
    let readers = Readers::s3(&crate::s3::endpoint(), xtask::minio::ACCESS_KEY, xtask::minio::SECRET_KEY);
    readers.copy(&format!("s3://{place}"), &lake);
    let sums = readers.sql(&format!(
        "SELECT STATION, sum(ENTRIES::DOUBLE)::BIGINT AS entries, sum(EXITS::DOUBLE)::BIGINT AS exits \
         FROM read_csv('{}/**/*.csv.gz', all_varchar = true) GROUP BY STATION ORDER BY STATION",
        lake.display()
    ));
    let mut expected = BTreeMap::<&str, (i64, i64)>::new();
    for row in rows {
        let sum = expected.entry(&row[3]).or_default();
        sum.0 += row[9].parse::<i64>().unwrap();
        sum.1 += row[10].parse::<i64>().unwrap();
    }
    let found: BTreeMap<&str, (i64, i64)> = sums
        .iter()
        .map(|row| {
            (row["STATION"].as_str().unwrap(), (row["entries"].as_i64().unwrap(), row["exits"].as_i64().unwrap()))
        })
        .collect();
    assert_eq!(found, expected);
}

struct Reference {
    /// In order.
    rows: Vec<Vec<String>>,
    late: usize,
    duplicates: usize,
}

/// What must come out, of the messages in the order in which they were polled.
fn reference(messages: &[String]) -> Reference {
    let (mut stream, mut late, mut duplicates) = (i64::MIN, 0, 0);
    let mut seen = BTreeSet::new();
    let mut sums = BTreeMap::<(i64, Vec<String>), (i64, i64)>::new();
    for message in messages {
        let cells: Vec<&str> = message.split(',').collect();
        let time: DateTime = cells[12].parse().unwrap();
        let time = time.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second();
        let end = time.div_euclid(WINDOW) * WINDOW + WINDOW;
        if end + GRACE <= stream.max(time) {
            late += 1;
            continue;
        }
        stream = stream.max(time);
        if !seen.insert((cells[11], cells[3], cells[12])) {
            duplicates += 1;
            continue;
        }
        let (month, rest) = cells[6].split_once('-').unwrap();
        let (day, year) = rest.split_once('-').unwrap();
        let date = format!("{month}/{day}/20{year}");
        let group = [&cells[..6], &[date.as_str(), cells[8]]].concat().into_iter().map(str::to_owned).collect();
        let sum = sums.entry((end, group)).or_default();
        sum.0 += cells[9].parse::<i64>().unwrap();
        sum.1 += cells[10].parse::<i64>().unwrap();
    }
    let row = |((end, group), (entries, exits)): ((i64, Vec<String>), (i64, i64))| {
        let time = jiff::Timestamp::from_second(end).unwrap().strftime("%H:%M:%S").to_string();
        let mut row = group;
        row.insert(7, time);
        row.extend([entries.to_string(), exits.to_string()]);
        row
    };
    let mut rows: Vec<_> = sums.into_iter().map(row).collect();
    rows.sort();
    Reference { rows, late, duplicates }
}
