//! `window-counts` as the host sees it, natively: settings in, batches through, windows and rejections out.

mod answers;
mod expected;
mod migration;
mod random;
mod settings;

use apogee_sdk::wire::{Batch, Column, Output};
use window_counts::WindowCounts;

/// What came out: key, value and timestamp of each message, then the rejections.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Outcome {
    pub windows: Vec<(Option<String>, String, i64)>,
    pub rejected: Vec<(u32, String)>,
}

pub fn open(settings: &str) -> WindowCounts {
    apogee_sdk::open(settings).expect("settings")
}

pub fn column<'a>(strings: impl IntoIterator<Item = Option<&'a str>>) -> Column {
    let mut column = Column { bytes: Vec::new(), lengths: Vec::new() };
    for string in strings {
        column.bytes.extend_from_slice(string.unwrap_or_default().as_bytes());
        column.lengths.push(string.map_or(-1, |string| string.len() as i32));
    }
    column
}

fn strings(column: &Column) -> Vec<Option<String>> {
    let mut bytes = &column.bytes[..];
    let string = |length: &i32| {
        let (string, rest) = bytes.split_at(usize::try_from(*length).ok()?);
        bytes = rest;
        Some(String::from_utf8(string.to_vec()).expect("UTF-8"))
    };
    column.lengths.iter().map(string).collect()
}

pub fn outcome(output: &Output) -> Outcome {
    let Output { messages, rejected, .. } = output;
    let (keys, values) = (strings(&messages.keys), strings(&messages.values));
    let windows = keys.into_iter().zip(values).zip(&messages.timestamps);
    Outcome {
        windows: windows.map(|((key, value), time)| (key, value.expect("a value"), *time)).collect(),
        rejected: rejected.iter().map(|it| (it.message, it.reason.clone())).collect(),
    }
}

/// Puts messages through as one batch: key, value and timestamp of each.
pub fn process<V: AsRef<str>>(plugin: &mut WindowCounts, messages: &[(Option<&str>, V, i64)]) -> Outcome {
    let batch = Batch {
        keys: column(messages.iter().map(|(key, ..)| *key)),
        values: column(messages.iter().map(|(_, value, _)| Some(value.as_ref()))),
        timestamps: messages.iter().map(|(.., time)| *time).collect(),
        headers: Vec::new(),
    };
    let output = apogee_sdk::process(plugin, batch);
    assert_eq!(output.origins.len(), output.messages.timestamps.len());
    outcome(&output)
}

/// Moves event time on.
pub fn advance(plugin: &mut WindowCounts, watermark: i64) -> Outcome {
    let output = apogee_sdk::advance(plugin, watermark);
    assert!(output.origins.is_empty() && output.rejected.is_empty());
    outcome(&output)
}
