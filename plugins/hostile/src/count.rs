//! What is honest here: counts by key, kept as state, so that lost and repeated state shows; and messages told apart by
//! their values.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::apogee::plugin::messages::{Batch, Column, Output, Rejection};
use crate::exports::apogee::plugin::state::Entries;
use crate::lie;
use crate::settings::MARK;

#[derive(Default)]
struct Counts {
    /// By `k` and key, and for messages without one by `n`.
    counts: BTreeMap<Vec<u8>, u64>,
    changed: BTreeSet<Vec<u8>>,
}

std::thread_local! {
    static COUNTS: RefCell<Counts> = RefCell::default();
}

/// The strings of a column.
fn strings(column: &Column) -> impl Iterator<Item = Option<&[u8]>> {
    let mut bytes = column.bytes.as_slice();
    column.lengths.iter().map(move |length| {
        let (string, rest) = bytes.split_at_checked(usize::try_from(*length).ok()?)?;
        bytes = rest;
        Some(string)
    })
}

fn push(column: &mut Column, string: &[u8]) {
    column.bytes.extend_from_slice(string);
    column.lengths.push(string.len() as i32);
}

fn columns() -> [Column; 2] {
    [(); 2].map(|()| Column { bytes: Vec::new(), lengths: Vec::new() })
}

/// Whether a message of the batch is marked.
pub fn is_marked(batch: &Batch) -> bool {
    strings(&batch.values).flatten().any(|value| value.windows(MARK.len()).any(|bytes| bytes == MARK))
}

/// Each message with the count of its key.
pub fn put_out(mut batch: Batch) -> Output {
    let [mut values, _] = columns();
    COUNTS.with_borrow_mut(|Counts { counts, changed }| {
        for (key, value) in strings(&batch.keys).zip(strings(&batch.values)) {
            let key = key.map_or(b"n".to_vec(), |key| [b"k", key].concat());
            let count = counts.entry(key.clone()).or_default();
            *count += 1;
            changed.insert(key);
            let text =
                [format!("{{\"count\":{count},\"message\":").as_bytes(), value.unwrap_or(b"null"), b"}"].concat();
            push(&mut values, &text);
        }
    });
    batch.values = values;
    lie::echo(batch)
}

/// Rejects one message in `share`, by its value, so that it is the same one in whatever batch it comes.
pub fn reject(output: Output, share: u64) -> Output {
    let Output { messages, .. } = output;
    let [mut keys, mut values] = columns();
    let (mut timestamps, mut headers) = (Vec::new(), messages.headers.clone());
    let (mut origins, mut rejected) = (Vec::new(), Vec::new());
    let all = strings(&messages.keys).zip(strings(&messages.values)).zip(&messages.timestamps);
    for (message, ((key, value), timestamp)) in (0..).zip(all) {
        let sum = value.unwrap_or_default().iter().fold(7_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
        if sum % share.max(1) == 0 {
            rejected.push(Rejection { message, reason: "the plugin wants none of it".to_owned() });
            headers.retain(|header| header.message != message);
            continue;
        }
        for (column, string) in [(&mut keys, key), (&mut values, value)] {
            match string {
                Some(string) => push(column, string),
                None => column.lengths.push(-1),
            }
        }
        timestamps.push(*timestamp);
        let place = origins.len() as u32;
        headers.iter_mut().filter(|header| header.message == message).for_each(|header| header.message = place);
        origins.push(message);
    }
    Output { messages: Batch { keys, values, timestamps, headers }, origins, rejected }
}

/// All counts that changed.
pub fn changes() -> Entries {
    let [mut keys, mut values] = columns();
    COUNTS.with_borrow_mut(|Counts { counts, changed }| {
        for key in std::mem::take(changed) {
            push(&mut keys, &key);
            push(&mut values, &counts[&key].to_le_bytes());
        }
    });
    Entries { keys, values }
}

/// Takes them back.
pub fn restore(entries: &Entries) -> Result<(), String> {
    COUNTS.with_borrow_mut(|Counts { counts, .. }| {
        for (key, value) in strings(&entries.keys).zip(strings(&entries.values)) {
            let key = key.unwrap_or_default().to_vec();
            match value {
                Some(value) => {
                    let count = value.try_into().map_err(|_| "an entry that is no count")?;
                    counts.insert(key, u64::from_le_bytes(count));
                }
                None => drop(counts.remove(&key)),
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(values: &[&[u8]]) -> Batch {
        let [mut keys, mut column] = columns();
        for value in values {
            push(&mut keys, b"key");
            push(&mut column, value);
        }
        Batch { keys, values: column, timestamps: vec![0; values.len()], headers: Vec::new() }
    }

    #[test]
    fn counts_come_back_and_the_mark_is_seen() {
        assert!(!is_marked(&batch(&[b"1", b"pois"])) && is_marked(&batch(&[b"1", b"a poison b"])));
        put_out(batch(&[b"1", b"2"]));
        let kept = changes();
        assert!(changes().keys.lengths.is_empty());
        COUNTS.take();
        restore(&kept).expect("its own state");
        let output = put_out(batch(&[b"3"]));
        assert_eq!(output.messages.values.bytes, br#"{"count":3,"message":3}"#);
    }

    #[test]
    fn the_same_messages_are_rejected_in_any_batch() {
        let values: Vec<Vec<u8>> = (0..100_u8).map(|value| value.to_string().into_bytes()).collect();
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let rejected = |values: &[&[u8]]| reject(lie::echo(batch(values)), 4).rejected.len();
        let (whole, parts) = (rejected(&values), values.chunks(3).map(rejected).sum::<usize>());
        assert!(whole == parts && (10..50).contains(&whole), "{whole} and {parts}");
        let all = reject(lie::echo(batch(&values)), 1);
        assert!(all.rejected.len() == 100 && all.messages.timestamps.is_empty());
    }
}
