//! Where two messages differ: fields by their path where both values are JSON objects, else the whole of it.
//!
//! Numbers are compared as they are written: `1.0` is not `1`, and no digit is too small to count.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::messages::Message;
use crate::config::text::excerpt;
use crate::message::Header;

/// How deep objects are looked into; what is deeper is compared as text.
const DEPTH: usize = 32;
/// Most characters of a text that is shown.
const TEXT: usize = 200;

/// A name, what the old message has there, what the new one has.
pub(super) type Field = (String, Option<String>, Option<String>);

type Object<'a> = BTreeMap<String, &'a RawValue>;

/// The fields in which two messages differ, one at least; their texts only where they are asked for.
pub(super) fn differing(old: &Message<'_>, new: &Message<'_>, texts: bool) -> Vec<Field> {
    let mut found = Found { texts, fields: Vec::new() };
    if old.key != new.key {
        found.add("<key>", old.key.map(text), new.key.map(text));
    }
    if old.value != new.value {
        match (old.value.and_then(object), new.value.and_then(object)) {
            (Some(one), Some(other)) => found.objects("", &one, &other, DEPTH),
            _ => found.add("<value>", old.value.map(text), new.value.map(text)),
        }
    }
    if old.timestamp != new.timestamp {
        found.add("<timestamp>", Some(old.timestamp.to_string()), Some(new.timestamp.to_string()));
    }
    if !old.same_headers(new) {
        found.add("<headers>", Some(headers(old.headers)), Some(headers(new.headers)));
    }
    if found.fields.is_empty() {
        // The same fields in another order, or written in another way.
        found.add("<value>", old.value.map(text), new.value.map(text));
    }
    found.fields
}

/// All of a message that only one of them has.
pub(super) fn all(old: Option<&Message<'_>>, new: Option<&Message<'_>>) -> Vec<Field> {
    let value = |message: &Message<'_>| message.value.map(text);
    vec![key(old, new), ("<value>".to_owned(), old.and_then(value), new.and_then(value))]
}

pub(super) fn key(old: Option<&Message<'_>>, new: Option<&Message<'_>>) -> Field {
    let key = |message: &Message<'_>| message.key.map(text);
    ("<key>".to_owned(), old.and_then(key), new.and_then(key))
}

struct Found {
    texts: bool,
    fields: Vec<Field>,
}

impl Found {
    fn add(&mut self, name: &str, old: Option<String>, new: Option<String>) {
        self.fields.push((excerpt(name, TEXT), old, new));
    }

    fn objects<'a>(&mut self, path: &str, old: &Object<'a>, new: &Object<'a>, depth: usize) {
        let added = new.iter().filter(|(name, _)| !old.contains_key(*name)).map(|(name, new)| (name, None, Some(*new)));
        let kept = old.iter().map(|(name, old)| (name, Some(*old), new.get(name).copied()));
        for (name, old, new) in kept.chain(added) {
            if old.map(RawValue::get) == new.map(RawValue::get) {
                continue;
            }
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let inner = |value: Option<&'a RawValue>| value.and_then(|value| object(value.get().as_bytes()));
            match (inner(old), inner(new)) {
                (Some(old), Some(new)) if depth > 0 => self.objects(&path, &old, &new, depth - 1),
                _ if matches!((old, new), (Some(old), Some(new)) if same(old, new, depth)) => {}
                _ => {
                    let text = |value: &RawValue| self.texts.then(|| text(value.get().as_bytes()));
                    let (old, new) = (old.and_then(text), new.and_then(text));
                    self.add(&path, old, new);
                }
            }
        }
    }
}

/// Whether two values are the same, whatever space is between their parts and however their strings are escaped.
fn same(one: &RawValue, other: &RawValue, depth: usize) -> bool {
    let (text, other_text) = (one.get(), other.get());
    if text == other_text {
        return true;
    }
    if depth == 0 || text.as_bytes()[0] != other_text.as_bytes()[0] {
        return false;
    }
    match text.as_bytes()[0] {
        b'"' => {
            let string = |text| serde_json::from_str::<String>(text).ok();
            matches!((string(text), string(other_text)), (Some(one), Some(other)) if one == other)
        }
        b'[' => {
            let list = |text| serde_json::from_str::<Vec<&RawValue>>(text).ok();
            matches!((list(text), list(other_text)), (Some(one), Some(other)) if one.len() == other.len()
                && one.iter().zip(&other).all(|(one, other)| same(one, other, depth - 1)))
        }
        b'{' => {
            let both = (object(text.as_bytes()), object(other_text.as_bytes()));
            matches!(both, (Some(one), Some(other)) if one.len() == other.len()
                && one.iter().all(|(name, one)| other.get(name).is_some_and(|other| same(one, other, depth - 1))))
        }
        _ => false,
    }
}

fn object(json: &[u8]) -> Option<Object<'_>> {
    json.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(json).ok()).flatten()
}

/// The beginning of what may be anything.
fn text(bytes: &[u8]) -> String {
    // A character has four bytes at most.
    let start = &bytes[..bytes.len().min(4 * (TEXT + 1))];
    excerpt(&String::from_utf8_lossy(start), TEXT)
}

fn headers(headers: &[&Header]) -> String {
    let list: Vec<String> = headers
        .iter()
        .take(10)
        .map(|header| format!("{}={}", excerpt(&header.name, 50), text(&header.value)))
        .collect();
    excerpt(&list.join(", "), TEXT)
}
