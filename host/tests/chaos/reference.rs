//! The outcome as it follows from the input alone, computed without the host or its plugins.

use std::collections::{BTreeMap, BTreeSet};

use super::outcome::{Received, Row, row};

/// Milliseconds; the same as in `pipeline.rs`.
const WINDOW: i64 = 10_000;
const GRACE: i64 = 2_000;

/// What one partition of the input becomes.
#[derive(Default)]
pub struct Expected {
    /// In the order in which they come out.
    pub rows: Vec<Row>,
    /// Offsets of the messages that are rejected.
    pub late: Vec<i64>,
}

/// Each message without its nesting.
pub fn flat(input: &[Received]) -> Expected {
    let flatten = |message: &Received| {
        let mut object = message.json();
        let reading = object["reading"].take();
        let fields = object.as_object_mut().expect("an object");
        fields.remove("reading");
        for (name, value) in reading.as_object().expect("an object") {
            fields.insert(format!("reading_{name}"), value.clone());
        }
        row(&object)
    };
    Expected { rows: input.iter().map(flatten).collect(), late: Vec::new() }
}

/// The first message of each id.
pub fn highest(input: &[Received]) -> Expected {
    let mut ids = BTreeSet::new();
    let objects = input.iter().map(Received::json);
    let firsts = objects.filter(|object| ids.insert(number(&object["id"])));
    Expected { rows: firsts.map(|object| row(&object)).collect(), late: Vec::new() }
}

fn number(value: &serde_json::Value) -> i64 {
    value.as_i64().expect("a whole number")
}

/// What one window of one group sums up.
#[derive(Default)]
struct Window {
    ids: BTreeSet<i64>,
    readings: Vec<i64>,
    duplicates: i64,
}

/// Windows of ten seconds, which close when a message has a time that is two seconds past their end; with `end`, those
/// that are open at the end close too.
pub fn windows(input: &[Received], end: bool) -> Expected {
    let mut expected = Expected::default();
    // Ordered as they come out: by end (all are of one size), then group.
    let mut open: BTreeMap<(i64, String), Window> = BTreeMap::new();
    let mut now = i64::MIN;
    for message in input {
        now = now.max(message.timestamp);
        while let Some(first) = open.first_entry().filter(|first| first.key().0 + WINDOW + GRACE <= now) {
            let ((start, group), window) = first.remove_entry();
            expected.rows.push(window.row(start, &group));
        }
        let start = message.timestamp.div_euclid(WINDOW) * WINDOW;
        if start + WINDOW + GRACE <= now {
            expected.late.push(message.offset);
            continue;
        }
        let json = message.json();
        let group = json["group"].as_str().expect("a group").to_owned();
        let window = open.entry((start, group)).or_default();
        match window.ids.insert(number(&json["id"])) {
            true => window.readings.push(number(&json["reading"]["value"])),
            false => window.duplicates += 1,
        }
    }
    if end {
        expected.rows.extend(open.iter().map(|((start, group), window)| window.row(*start, group)));
    }
    expected
}

impl Window {
    fn row(&self, start: i64, group: &str) -> Row {
        let time = |time: i64| jiff::Timestamp::from_millisecond(time).expect("a time").to_string();
        let of = |number: Option<&i64>| number.expect("a reading").to_string();
        Row::from([
            ("group".to_owned(), group.to_owned()),
            ("count".to_owned(), self.readings.len().to_string()),
            ("sum_reading_value".to_owned(), self.readings.iter().sum::<i64>().to_string()),
            ("min_reading_value".to_owned(), of(self.readings.iter().min())),
            ("max_reading_value".to_owned(), of(self.readings.iter().max())),
            ("duplicates".to_owned(), self.duplicates.to_string()),
            ("start".to_owned(), time(start)),
            ("end".to_owned(), time(start + WINDOW)),
        ])
    }
}
