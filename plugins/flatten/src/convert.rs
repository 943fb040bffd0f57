//! What a value becomes on its way out.
//!
//! A string is taken for a number, a boolean or a time when it says exactly one. Null stays null. What cannot
//! become the type asked for is refused; nothing is rounded or cut.

use apogee_json::{Kind, Token, excerpt, quote};

use crate::append::append;
use crate::time::{Instant, Timestamps};

/// How a value is written.
#[derive(Debug, Clone)]
pub enum Convert {
    /// As it stands in the text.
    Keep,
    Boolean,
    /// A number without fraction and exponent that fits 64 bits.
    Integer,
    /// A number that a 64-bit float can hold; its digits are kept.
    Float,
    /// A string; what is no string becomes its JSON text.
    Text,
    /// RFC 3339 text.
    Timestamp(Box<Timestamps>),
}

impl Convert {
    /// Appends what `token` becomes to `out`; an error is a problem to tell, such as `"x" is not a float`.
    #[inline]
    pub fn write(&mut self, token: Token, text: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::Keep => append(out, text, token.start(), token.end()),
            _ if token.kind == Kind::Null => out.extend_from_slice(b"null"),
            Self::Timestamp(timestamps) => {
                let instant = Instant::read(token, text, timestamps.unit());
                if instant.and_then(|instant| timestamps.write(instant, out)).is_none() {
                    return Err(refusal(token, text, "a timestamp within the years 0000 to 9999"));
                }
            }
            Self::Text if token.is_text() => append(out, text, token.start(), token.end()),
            Self::Text => quote(token.raw(text), out),
            Self::Float => {
                let digits = float(token, text).ok_or_else(|| refusal(token, text, "a float"))?;
                append(out, text, digits.start(), digits.end());
            }
            Self::Integer => {
                let digits = integer(token, text).ok_or_else(|| refusal(token, text, "a 64-bit integer"))?;
                append(out, text, digits.start(), digits.end());
            }
            Self::Boolean => match boolean(token, text) {
                Some(value) => out.extend_from_slice(value),
                None => return Err(refusal(token, text, "a boolean")),
            },
        }
        Ok(())
    }
}

#[inline]
fn float(token: Token, text: &[u8]) -> Option<Token> {
    let number = token.numeric(text)?;
    let raw = number.raw(text);
    // Below a hundred digits only an exponent can make it too large.
    if raw.len() < 100 && !(number.kind == Kind::Decimal && raw.iter().any(|byte| byte | 0x20 == b'e')) {
        return Some(number);
    }
    let value: f64 = std::str::from_utf8(raw).ok()?.parse().ok()?;
    value.is_finite().then_some(number)
}

#[inline]
fn integer(token: Token, text: &[u8]) -> Option<Token> {
    let number = token.numeric(text).filter(|number| number.kind == Kind::Integer)?;
    let raw = number.raw(text);
    // Below 19 digits every number fits.
    if raw.len() < 19 {
        return Some(number);
    }
    let fits = std::str::from_utf8(raw).ok()?.parse::<i64>();
    fits.is_ok().then_some(number)
}

fn boolean(token: Token, text: &[u8]) -> Option<&'static [u8]> {
    match (token.kind, &*token.content(text)) {
        (Kind::True, _) | (Kind::Text, b"true") => Some(b"true"),
        (Kind::False, _) | (Kind::Text, b"false") => Some(b"false"),
        _ => None,
    }
}

#[cold]
fn refusal(token: Token, text: &[u8], wanted: &str) -> String {
    format!("{} is not {wanted}", excerpt(token.raw(text)))
}
