//! Checks what a guest gave back (Invariant 3): counts, lengths and indexes, before anything is used.

use crate::message::Column;
use crate::plugin::bindings::messages::Output;
use crate::plugin::bindings::state::Entries;
use crate::plugin::bindings::transform::{Field, Opened};
use crate::plugin::guest_log::cut;

/// The most fields that `open` may answer.
const FIELDS: usize = 10_000;

/// The most names that `open` may answer for a key or for groups.
const NAMES: usize = 100;

/// An output against the number of messages that went in. The error says what is wrong.
pub(super) fn output(output: &Output, came_in: usize) -> Result<(), String> {
    let messages = &output.messages;
    let count = messages.timestamps.len();
    column("keys", &messages.keys, count)?;
    column("values", &messages.values, count)?;
    if output.origins.len() != count {
        return Err(format!("{} origins for {count} messages", output.origins.len()));
    }
    for &origin in &output.origins {
        index("an origin", origin, came_in)?;
    }
    for header in &messages.headers {
        index("a header", header.message, count)?;
    }
    let mut rejected = vec![false; came_in];
    for rejection in &output.rejected {
        index("a rejection", rejection.message, came_in)?;
        if std::mem::replace(&mut rejected[rejection.message as usize], true) {
            return Err(format!("message {} rejected twice", rejection.message));
        }
    }
    Ok(())
}

/// What `timer` put out: nothing came in that it could name.
pub(super) fn advanced(output: &Output) -> Result<(), String> {
    let messages = &output.messages;
    let count = messages.timestamps.len();
    column("keys", &messages.keys, count)?;
    column("values", &messages.values, count)?;
    if !output.origins.is_empty() || !output.rejected.is_empty() {
        return Err("origins or rejections where no message came in".to_owned());
    }
    messages.headers.iter().try_for_each(|header| index("a header", header.message, count))
}

/// Entries of state: a key each, and a value or a null each.
pub(super) fn entries(entries: &Entries) -> Result<(), String> {
    let count = entries.keys.lengths.len();
    column("keys", &entries.keys, count)?;
    column("values", &entries.values, count)?;
    if entries.keys.lengths.contains(&-1) { Err("an entry of state without a key".to_owned()) } else { Ok(()) }
}

pub(super) fn opened(opened: &Opened) -> Result<(), String> {
    fields(&opened.fields)?;
    for (what, names) in [("key", &opened.key), ("groups", &opened.groups)] {
        if names.len() > NAMES {
            return Err(format!("{} names in {what}, where {NAMES} are the most", names.len()));
        }
    }
    Ok(())
}

fn fields(fields: &[Field]) -> Result<(), String> {
    if fields.len() > FIELDS {
        return Err(format!("{} fields, where {FIELDS} are the most", fields.len()));
    }
    let mut names = std::collections::HashSet::new();
    match fields.iter().find(|field| field.name.is_empty() || !names.insert(&field.name)) {
        Some(field) => {
            Err(format!("a field without a name, or with one that is there twice: \"{}\"", cut(&field.name)))
        }
        None => Ok(()),
    }
}

fn column(name: &str, column: &Column, count: usize) -> Result<(), String> {
    if column.lengths.len() != count {
        return Err(format!("{} {name} for {count} messages", column.lengths.len()));
    }
    // No overflow: as many as fit into a guest's memory, each less than 2^31.
    let mut sum = 0_u64;
    for &length in &column.lengths {
        match length {
            0.. => sum += u64::from(length.unsigned_abs()),
            -1 => {}
            _ => return Err(format!("a length of {length} among the {name}")),
        }
    }
    if sum == column.bytes.len() as u64 {
        Ok(())
    } else {
        Err(format!("lengths of the {name} that sum up to {sum} for {} bytes", column.bytes.len()))
    }
}

fn index(what: &str, index: u32, count: usize) -> Result<(), String> {
    if (index as usize) < count { Ok(()) } else { Err(format!("{what} that names message {index} of {count}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::bindings::transform::Kind;

    #[test]
    fn the_name_of_a_field_is_bounded() {
        let field = || Field { name: "\u{1b}".repeat(100_000), kind: Kind::Text, nullable: true };
        let error = fields(&[field(), field()]).unwrap_err();
        let shown = "\\u{1b}".repeat(1_000);
        assert_eq!(error, format!("a field without a name, or with one that is there twice: \"{}…\"", &shown[..1_000]));
    }
}
