//! Where two messages differ: fields by their path where both values are JSON objects, else the whole of it.
//!
//! Numbers are compared as they are written, for `1.0` is not `1` and no digit is too small to count; so are arrays.
//! Strings are compared by what they say.

use apogee_json::{Reader, Token};

use super::messages::Message;
use crate::config::text::excerpt;
use crate::message::Header;

/// Most characters of a text that is shown.
const TEXT: usize = 200;

/// A name, what the old message has there, what the new one has.
pub(super) type Field = (String, Option<String>, Option<String>);

/// Looks into messages one after the other; fast where they have the same fields.
pub(super) struct Fields {
    old: Reader,
    new: Reader,
}

impl Fields {
    pub fn new() -> Self {
        Self { old: Reader::deep("."), new: Reader::deep(".") }
    }

    /// The fields in which two messages differ, one at least; their texts only where they are asked for.
    pub fn differing(&mut self, old: &Message<'_>, new: &Message<'_>, texts: bool) -> Vec<Field> {
        let mut found = Vec::new();
        let mut add = |name: &str, old: Option<&[u8]>, new: Option<&[u8]>| {
            let text = |bytes: Option<&[u8]>| bytes.filter(|_| texts).map(text);
            found.push((excerpt(name, TEXT), text(old), text(new)));
        };
        if old.key != new.key {
            add("<key>", old.key, new.key);
        }
        if old.value != new.value {
            match (old.value, new.value) {
                (Some(one), Some(other)) if self.old.read(one).is_ok() && self.new.read(other).is_ok() => {
                    self.members(one, other, &mut add);
                }
                _ => add("<value>", old.value, new.value),
            }
        }
        if old.timestamp != new.timestamp {
            let (one, other) = (old.timestamp.to_string(), new.timestamp.to_string());
            add("<timestamp>", Some(one.as_bytes()), Some(other.as_bytes()));
        }
        if !old.same_headers(new) {
            add("<headers>", Some(headers(old.headers).as_bytes()), Some(headers(new.headers).as_bytes()));
        }
        if found.is_empty() {
            // The same fields in another order, or written in another way.
            found.push(("<value>".to_owned(), old.value.map(text), new.value.map(text)));
        }
        found
    }

    /// The members of two objects that were just read.
    fn members(&self, old: &[u8], new: &[u8], add: &mut Add<'_>) {
        for (index, token) in self.old.tokens().iter().enumerate() {
            let name = self.old.name(index);
            match self.new.find(name).map(|index| &self.new.tokens()[index]) {
                Some(other) if same(token, old, other, new) => {}
                other => add(name, Some(token.raw(old)), other.map(|other| other.raw(new))),
            }
        }
        for (index, token) in self.new.tokens().iter().enumerate() {
            let name = self.new.name(index);
            if self.old.find(name).is_none() {
                add(name, None, Some(token.raw(new)));
            }
        }
    }
}

/// Takes a field that differs: its name, and what each has.
type Add<'a> = dyn FnMut(&str, Option<&[u8]>, Option<&[u8]>) + 'a;

fn same(one: &Token, text: &[u8], other: &Token, other_text: &[u8]) -> bool {
    one.raw(text) == other.raw(other_text)
        || (one.is_text() && other.is_text() && one.content(text) == other.content(other_text))
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

/// The beginning of what may be anything.
fn text(bytes: &[u8]) -> String {
    // A character has four bytes at most.
    let start = &bytes[..bytes.len().min(4 * (TEXT + 1))];
    excerpt(&String::from_utf8_lossy(start), TEXT)
}

fn headers(headers: &[&Header]) -> String {
    let list: Vec<String> =
        headers.iter().take(10).map(|header| format!("{}={}", header.name, text(&header.value))).collect();
    list.join(", ")
}
