//! How a window is put out: a JSON object of its group, its aggregates, `start` and `end`.

use apogee_json::quote;
use apogee_sdk::Output;
use jiff::Timestamp;

use crate::counts::{Cell, Counts};
use crate::group;

/// What is written for a window, and in which order.
pub struct Layout {
    /// What stands before each value: bracket or comma, name, colon.
    labels: Vec<Vec<u8>>,
    /// How many fields the group has; none where it is the key.
    by: usize,
    columns: Vec<Column>,
}

/// One aggregate; the number is that of its cell.
#[derive(Debug, Clone, Copy)]
pub enum Column {
    Count,
    Duplicates,
    Cell(usize),
    Average(usize),
}

impl Layout {
    /// `names` are those of the group, of the columns, and of start and end.
    pub fn new(names: &[String], by: usize, columns: Vec<Column>) -> Self {
        let label = |(index, name): (usize, &String)| {
            let mut label = vec![if index == 0 { b'{' } else { b',' }];
            quote(name.as_bytes(), &mut label);
            label.push(b':');
            label
        };
        Self { labels: names.iter().enumerate().map(label).collect(), by, columns }
    }

    /// Puts out a window of a group.
    pub fn emit(&self, group: &[u8], (start, end): (i64, i64), counts: &Counts, timestamp: i64, out: &mut Output) {
        self.write(group, (start, end), counts, out.value());
        if self.by == 0 {
            return out.emit(group::key(group), timestamp);
        }
        let mut key = Vec::new();
        let some = apogee_json::key(group::values(group, self.by).iter().copied(), &mut key);
        out.emit(some.then_some(key.as_slice()), timestamp);
    }

    /// Writes a window of a group as it is put out.
    pub fn write(&self, group: &[u8], (start, end): (i64, i64), counts: &Counts, json: &mut Vec<u8>) {
        let values = if self.by == 0 { Vec::new() } else { group::values(group, self.by) };
        let mut labels = self.labels.iter();
        let mut label = |json: &mut Vec<u8>| json.extend_from_slice(labels.next().map_or(&[], Vec::as_slice));
        for value in &values {
            label(json);
            json.extend_from_slice(value);
        }
        for column in &self.columns {
            label(json);
            match *column {
                Column::Count => json.extend_from_slice(counts.count.to_string().as_bytes()),
                Column::Duplicates => json.extend_from_slice(counts.duplicates.to_string().as_bytes()),
                Column::Cell(cell) => write(counts.cells.get(cell), json, Cell::write),
                Column::Average(cell) => {
                    write(counts.cells.get(cell), json, |cell, json| cell.write_average(counts.count, json));
                }
            }
        }
        for edge in [start, end] {
            label(json);
            json.push(b'"');
            // The SDK keeps windows within the years that this can write.
            let time = Timestamp::from_millisecond(edge).unwrap_or_default();
            json.extend_from_slice(time.to_string().as_bytes());
            json.push(b'"');
        }
        json.push(b'}');
    }
}

fn write(cell: Option<&Cell>, json: &mut Vec<u8>, how: impl Fn(&Cell, &mut Vec<u8>)) {
    match cell {
        Some(cell) => how(cell, json),
        None => json.extend_from_slice(b"null"),
    }
}
