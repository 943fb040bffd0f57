//! The group of a message as one string of bytes, and back.
//!
//! With fields it is their values as JSON texts, each but the last after its length; without, the message's key, which
//! may be null.

use apogee_json::{Kind, Token, quote};

/// Appends a field's value; `last` is the one that needs no length.
#[inline]
pub fn push(token: Token, text: &[u8], last: bool, group: &mut Vec<u8>) {
    let start = group.len();
    if !last {
        group.extend_from_slice(&[0; 4]);
    }
    let from = group.len();
    if token.kind == Kind::Escaped {
        // What is written in two ways is one group.
        quote(&token.content(text), group);
    } else {
        group.extend_from_slice(token.raw(text));
    }
    if !last {
        let length = (group.len() - from) as u32;
        group[start..from].copy_from_slice(&length.to_le_bytes());
    }
}

/// Appends a message's key.
pub fn push_key(key: Option<&[u8]>, group: &mut Vec<u8>) {
    group.push(u8::from(key.is_some()));
    group.extend_from_slice(key.unwrap_or_default());
}

/// The key that was appended.
pub fn key(group: &[u8]) -> Option<&[u8]> {
    group.split_first().filter(|(some, _)| **some == 1).map(|(_, key)| key)
}

/// The values of so many fields.
pub fn values(mut group: &[u8], count: usize) -> Vec<&[u8]> {
    let mut values = Vec::with_capacity(count);
    for _ in 1..count {
        let Some((length, rest)) = group.split_first_chunk() else { break };
        let Some((value, rest)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize) else { break };
        values.push(value);
        group = rest;
    }
    values.push(group);
    values
}
