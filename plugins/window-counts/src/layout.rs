//! How a window is put out: a JSON object of its group, its aggregates, its start and its end, as far as they are asked for.

use apogee_json::quote;
use apogee_sdk::Output;
use jiff::Timestamp;
use jiff::fmt::strtime;

use crate::counts::{Cell, Counts};
use crate::group;

/// What is written for a window, and in which order.
pub struct Layout {
    /// With what stands before each value: bracket or comma, name, colon.
    columns: Vec<(Vec<u8>, Column)>,
    /// How many fields the group has; none where it is the key.
    by: usize,
}

/// One value; the number is that of the group's field, or that of the aggregate's cell.
#[derive(Debug, Clone)]
pub enum Column {
    Group(usize),
    Count,
    Duplicates,
    Cell(usize),
    Average(usize),
    /// Written so, where not as RFC 3339 has it.
    Start(Option<String>),
    End(Option<String>),
}

impl Layout {
    /// `columns` have their names.
    pub fn new(columns: impl IntoIterator<Item = (String, Column)>, by: usize) -> Self {
        let label = |(index, (name, column)): (usize, (String, Column))| {
            let mut label = vec![if index == 0 { b'{' } else { b',' }];
            quote(name.as_bytes(), &mut label);
            label.push(b':');
            (label, column)
        };
        Self { columns: columns.into_iter().enumerate().map(label).collect(), by }
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
        for (label, column) in &self.columns {
            json.extend_from_slice(label);
            match column {
                Column::Group(number) => json.extend_from_slice(values.get(*number).copied().unwrap_or(b"null")),
                Column::Count => json.extend_from_slice(counts.count.to_string().as_bytes()),
                Column::Duplicates => json.extend_from_slice(counts.duplicates.to_string().as_bytes()),
                Column::Cell(cell) => write(counts.cells.get(*cell), json, Cell::write),
                Column::Average(cell) => {
                    write(counts.cells.get(*cell), json, |cell, json| cell.write_average(counts.count, json));
                }
                Column::Start(format) => write_time(start, format.as_deref(), json),
                Column::End(format) => write_time(end, format.as_deref(), json),
            }
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

fn write_time(time: i64, format: Option<&str>, json: &mut Vec<u8>) {
    // The SDK keeps windows within the years that this can write, and `format` was tried when the plugin was opened.
    let time = Timestamp::from_millisecond(time).unwrap_or_default();
    let text = format.and_then(|format| strtime::format(format, time).ok());
    quote(text.unwrap_or_else(|| time.to_string()).as_bytes(), json);
}
