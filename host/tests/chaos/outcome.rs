//! What there is in topics and files after a run, and how it differs from what there should be.

use std::collections::BTreeMap;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int64Type};
use host::log::Log;
use serde_json::Value;

use crate::s3::{Reader, unpacked};

/// The fields of a row, as text; so that topics and files compare.
pub type Row = BTreeMap<String, String>;

/// What one partition became.
#[derive(Clone, Default)]
pub struct Found {
    pub rows: Vec<Row>,
    /// All that must be the same in a run that nothing disturbs.
    pub bytes: Vec<u8>,
}

/// A message of a topic. Its offset is not part of what is compared: marks of transactions take some.
pub struct Received {
    pub offset: i64,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub timestamp: i64,
}

impl Received {
    pub fn json(&self) -> Value {
        let text = || String::from_utf8_lossy(&self.value);
        serde_json::from_slice(&self.value).unwrap_or_else(|error| panic!("{error} in a message: {}", text()))
    }

    /// All that a second run must put out in the same way.
    fn bytes(&self) -> Vec<u8> {
        [&self.key[..], b"\0", &self.value, b"\0", self.timestamp.to_string().as_bytes(), b"\n"].concat()
    }
}

/// Every committed message of each partition.
pub fn topic(log: &dyn Log, name: &str) -> Vec<Vec<Received>> {
    let ends = log.describe(name).expect("a topic").partitions;
    let read = |(partition, (mut offset, end)): (i32, (i64, i64))| {
        let mut messages = Vec::new();
        while offset < end {
            let fetch = log.read(name, partition, offset, 100_000).expect("committed messages");
            assert!(fetch.next > offset, "{name}-{partition}: no message at {offset} of {end}");
            let columns = fetch.batch.keys.iter().zip(&fetch.batch.values).zip(&fetch.batch.timestamps);
            for (((key, value), &timestamp), &offset) in columns.zip(&fetch.offsets) {
                let bytes = |column: Option<&[u8]>| column.unwrap_or_default().to_vec();
                messages.push(Received { offset, key: bytes(key), value: bytes(value), timestamp });
            }
            offset = fetch.next;
        }
        messages
    };
    (0..).zip(ends).map(read).collect()
}

/// What the messages of one partition of an output are.
pub fn found(messages: &[Received]) -> Found {
    Found {
        rows: messages.iter().map(|message| row(&message.json())).collect(),
        bytes: messages.iter().flat_map(Received::bytes).collect(),
    }
}

/// What is in the finished files of each of so many partitions, in the order of their first offsets. None is torn.
pub fn files(place: &Reader, columns: &[&str], partitions: usize) -> Vec<Found> {
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<i64>().ok()).expect("a number in the name");
    let mut files: Vec<(i64, i64, String, Vec<u8>)> = place
        .files()
        .into_iter()
        .map(|(name, bytes)| {
            // TIME-PARTITION-OFFSET-OWNER
            let mut parts = name.split('-').skip(1);
            let (partition, offset) = (number(parts.next()), number(parts.next()));
            (partition, offset, name, bytes)
        })
        .collect();
    files.sort();
    let mut found = vec![Found::default(); partitions];
    for (partition, _, name, bytes) in files {
        let found = &mut found[partition as usize];
        let records = if name.ends_with(".parquet") { parquet(&name, bytes) } else { csv(&name, &bytes) };
        assert_eq!(records[0], columns, "{name}");
        for record in &records[1..] {
            let cells = columns.iter().zip(record);
            found.rows.push(cells.map(|(name, cell)| ((*name).to_owned(), cell.clone())).collect());
            found.bytes.extend(format!("{record:?}").bytes());
        }
    }
    found
}

/// The names of the columns, and the rows.
fn csv(name: &str, bytes: &[u8]) -> Vec<Vec<String>> {
    let text = unpacked(name, bytes).into_inner();
    assert!(text.ends_with(b"\n"), "{name} is torn");
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&text[..]);
    let torn = |error| panic!("{name} is torn: {error}");
    reader.records().map(|row| row.unwrap_or_else(torn).iter().map(str::to_owned).collect()).collect()
}

/// The same, whatever the columns hold.
fn parquet(name: &str, bytes: Vec<u8>) -> Vec<Vec<String>> {
    let rows = ParquetRecordBatchReader::try_new(bytes::Bytes::from(bytes), 1_000);
    let rows = rows.unwrap_or_else(|error| panic!("{name} is torn: {error}"));
    let schema = arrow::array::RecordBatchReader::schema(&rows);
    let mut records = vec![schema.fields().iter().map(|field| field.name().clone()).collect()];
    for rows in rows.map(|rows| rows.expect("rows")) {
        let cell = |column: &ArrayRef, row| match column.data_type() {
            DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
            DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
            other => panic!("{name} has a column of {other}"),
        };
        records.extend((0..rows.num_rows()).map(|row| rows.columns().iter().map(|column| cell(column, row)).collect()));
    }
    records
}

/// Names in a place that are neither finished files nor what there is of checkpoints.
pub fn left_over(place: &Reader) -> Vec<String> {
    let names = place.all().into_iter().map(|(name, _)| name);
    let kept = |name: &String| name.starts_with(".apogee/") && (name.ends_with(".json") || name.ends_with(".state"));
    let finished = |name: &String| [".csv", ".csv.gz", ".parquet"].iter().any(|extension| name.ends_with(extension));
    names.filter(|name| !kept(name) && !finished(name)).collect()
}

/// The row that a flat JSON object stands for.
pub fn row(object: &Value) -> Row {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields = object.as_object().expect("an object");
    fields.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// That the same rows are there, in the same order; else says what is missing, what is there too often and what comes
/// first of all that differs.
pub fn assert_same(what: &str, expected: &[Row], found: &[Row]) {
    if expected == found {
        return;
    }
    let mut balance: BTreeMap<&Row, i64> = BTreeMap::new();
    expected.iter().for_each(|row| *balance.entry(row).or_default() += 1);
    found.iter().for_each(|row| *balance.entry(row).or_default() -= 1);
    let list = |wanted: fn(i64) -> bool| {
        let rows: Vec<_> = balance.iter().filter(|(_, count)| wanted(**count)).collect();
        let shown: Vec<String> = rows.iter().take(5).map(|(row, count)| format!("  {count:+} {row:?}")).collect();
        format!("{}\n{}", rows.len(), shown.join("\n"))
    };
    let place = expected.iter().zip(found).position(|(a, b)| a != b).unwrap_or(expected.len().min(found.len()));
    panic!(
        "{what}: {} rows are expected and {} found\nmissing: {}\ntoo many or altered: {}\nthe first difference is row \
         {place}: expected {:?}, found {:?}",
        expected.len(),
        found.len(),
        list(|count| count > 0),
        list(|count| count < 0),
        expected.get(place),
        found.get(place)
    );
}
