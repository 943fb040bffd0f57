//! Strict JSON (RFC 8259), read in one pass over the bytes without building a tree.
//!
//! [`Scanner`] pulls keys and values out of an object; [`Reader`] reads objects down to their leaves, and
//! fast where one text has the shape of the last. Values are handed out as [`Token`]s, places in the text:
//! nothing is converted, so numbers keep every digit.
//!
//! What serde_json refuses is refused here too, except numbers too large for a float, which are only text
//! here. Nesting deeper than [`DEPTH`] is refused.

mod key;
mod number;
mod reader;
mod scanner;
mod string;
mod value;
mod word;

use std::borrow::Cow;
use std::fmt;

pub use key::key;
pub use number::Number;
pub use reader::{Reader, Seen};
pub use scanner::Scanner;
pub use string::{excerpt, quote};
pub use value::number;

/// How deep objects and arrays may be nested.
pub const DEPTH: usize = 64;

/// Where a text is not JSON, and what is wrong there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    /// Counted from the start of the text.
    pub byte: usize,
    /// What is wrong, such as `a control character in a string`.
    pub what: &'static str,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.byte)
    }
}

impl std::error::Error for Error {}

/// What a [`Token`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    False,
    True,
    /// A number without fraction and exponent.
    Integer,
    /// A number with a fraction or an exponent.
    Decimal,
    /// A string whose bytes stand for themselves.
    Text,
    /// A string with at least one `\`.
    Escaped,
    Array,
    Object,
}

/// A key or value: its kind, and where it is in the text, with its quotes or brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    start: u32,
    end: u32,
}

impl Token {
    #[inline(always)]
    pub(crate) fn new(kind: Kind, start: usize, end: usize) -> Self {
        // `Scanner` and `Reader` refuse texts of 4 GiB.
        Self { kind, start: start as u32, end: end as u32 }
    }

    /// The index of the first byte.
    #[inline(always)]
    pub fn start(&self) -> usize {
        self.start as usize
    }

    /// The index after the last byte.
    #[inline(always)]
    pub fn end(&self) -> usize {
        self.end as usize
    }

    /// Whether it is a string.
    #[inline(always)]
    pub fn is_text(&self) -> bool {
        matches!(self.kind, Kind::Text | Kind::Escaped)
    }

    /// The token as it stands in `text`, the text that it was read from; empty in a shorter text.
    #[inline(always)]
    pub fn raw<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        text.get(self.start()..self.end()).unwrap_or_default()
    }

    /// What a string says, unescaped and in UTF-8; any other token as it stands.
    #[inline]
    pub fn content<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let raw = self.raw(text);
        match self.kind {
            Kind::Text => Cow::Borrowed(&raw[1..raw.len() - 1]),
            Kind::Escaped => Cow::Owned(string::unescape(&raw[1..raw.len() - 1])),
            _ => Cow::Borrowed(raw),
        }
    }

    /// The number that a value is or that a string says, as a token of the same text.
    #[inline]
    pub fn numeric(self, text: &[u8]) -> Option<Self> {
        match self.kind {
            Kind::Integer | Kind::Decimal => Some(self),
            Kind::Text => {
                let number = number(text, self.start() + 1).ok()?;
                (number.end() + 1 == self.end()).then_some(number)
            }
            _ => None,
        }
    }
}
