//! Values: numbers, literals, and whole arrays and objects.

use crate::string::{plain, string};
use crate::word::{before, load, not_digits};
use crate::{DEPTH, Error, Kind, Token};

/// Reads the value that starts at `start`, whole; `depth` is how many arrays and objects are around it.
#[inline(never)]
pub fn value(text: &[u8], start: usize, depth: usize) -> Result<Token, Error> {
    match text.get(start) {
        Some(b'"') => string(text, start),
        Some(b'-' | b'0'..=b'9') => number(text, start),
        Some(b'{' | b'[') => nested(text, start, depth),
        Some(_) => literal(text, start),
        None => Err(Error { byte: start, what: "the end of the text where a value should be" }),
    }
}

fn literal(text: &[u8], start: usize) -> Result<Token, Error> {
    for (literal, kind) in [("null", Kind::Null), ("true", Kind::True), ("false", Kind::False)] {
        if text[start..].starts_with(literal.as_bytes()) {
            return Ok(Token::new(kind, start, start + literal.len()));
        }
    }
    Err(Error { byte: start, what: "something that is no value" })
}

/// Reads the number that starts at `start`; what follows it is not looked at.
#[inline]
pub fn number(text: &[u8], start: usize) -> Result<Token, Error> {
    match number_end(text, start) {
        Ok((kind, end)) => Ok(Token::new(kind, start, end)),
        Err(byte) => Err(Error { byte, what: "a number without a digit" }),
    }
}

/// A number's kind and end; the error is where a digit is missing.
#[inline(always)]
fn number_end(text: &[u8], start: usize) -> Result<(Kind, usize), usize> {
    let first = start + usize::from(text.get(start) == Some(&b'-'));
    let word = load(text, first);
    let others = not_digits(word);
    let whole = match (word as u8, before(others)) {
        (_, 0) => return Err(first),
        (b'0', _) => 1,
        (_, digits) => digits,
    };
    // Mostly the dot is in the same word, and what stands behind it is not loaded again.
    if whole < 7 && (word >> (8 * whole)) as u8 == b'.' {
        let end = match before(others & (others - 1)) {
            8 => digits(text, first + 8),
            end if end == whole + 1 => return Err(first + end),
            end => first + end,
        };
        return Ok((Kind::Decimal, exponent_end(text, end)?));
    }
    let end = if whole == 8 { digits(text, first + 8) } else { first + whole };
    match text.get(end) {
        Some(b'.') => Ok((Kind::Decimal, exponent_end(text, some_digits(text, end + 1)?)?)),
        Some(b'e' | b'E') => Ok((Kind::Decimal, exponent_end(text, end)?)),
        _ => Ok((Kind::Integer, end)),
    }
}

/// The end of a number that may have an exponent at `at`.
#[inline(always)]
fn exponent_end(text: &[u8], at: usize) -> Result<usize, usize> {
    match text.get(at) {
        Some(b'e' | b'E') => {
            let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
            some_digits(text, at + 1 + sign)
        }
        _ => Ok(at),
    }
}

#[inline(always)]
fn some_digits(text: &[u8], at: usize) -> Result<usize, usize> {
    let end = digits(text, at);
    if end == at { Err(at) } else { Ok(end) }
}

/// Plain strings and numbers, as most values are: kind and end, in registers. `None` leaves it to [`value`].
#[inline(always)]
pub fn common(text: &[u8], start: usize) -> Option<(Kind, usize)> {
    match text.get(start)? {
        b'"' => plain(text, start + 1).ok().map(|end| (Kind::Text, end + 1)),
        b'-' | b'0'..=b'9' => number_end(text, start).ok(),
        _ => None,
    }
}

/// The index after the digits that start at `at`.
#[inline(always)]
fn digits(text: &[u8], mut at: usize) -> usize {
    loop {
        let digits = before(not_digits(load(text, at)));
        at += digits;
        if digits < 8 {
            return at;
        }
    }
}

/// The index of the first byte from `at` that is not white space.
#[inline(always)]
pub fn space(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = text.get(at) {
        at += 1;
    }
    at
}

/// An array or object with all that is in it. It keeps one bit for each level instead of recursing.
fn nested(text: &[u8], start: usize, around: usize) -> Result<Token, Error> {
    let mut objects = 0_u64;
    let mut depth = 0;
    let mut at = start;
    loop {
        // A value begins here.
        match text.get(at) {
            Some(open @ (b'{' | b'[')) => {
                if around + depth == DEPTH {
                    return Err(Error { byte: at, what: "nesting deeper than 64" });
                }
                depth += 1;
                objects = objects << 1 | u64::from(*open == b'{');
                at = space(text, at + 1);
                if text.get(at) != Some(&(open + 2)) {
                    at = key(text, at, objects)?;
                    continue;
                }
            }
            _ => at = space(text, value(text, at, 0)?.end()),
        }
        // It has ended, or its closing bracket comes next, and maybe those of what is around it.
        loop {
            match (text.get(at), objects & 1) {
                (Some(b','), _) => break,
                (Some(b'}'), 1) | (Some(b']'), 0) => {}
                _ => {
                    return Err(Error { byte: at, what: "no comma or closing bracket after a value" });
                }
            }
            depth -= 1;
            objects >>= 1;
            at += 1;
            if depth == 0 {
                let kind = if text[start] == b'{' { Kind::Object } else { Kind::Array };
                return Ok(Token::new(kind, start, at));
            }
            at = space(text, at);
        }
        at = key(text, space(text, at + 1), objects)?;
    }
}

/// Steps over the key where the innermost level is an object, to where the value starts.
fn key(text: &[u8], at: usize, objects: u64) -> Result<usize, Error> {
    if objects & 1 == 0 { Ok(at) } else { member(text, at).map(|(_, value)| value) }
}

/// The key that starts at `at`, and where its value starts.
#[inline]
pub fn member(text: &[u8], at: usize) -> Result<(Token, usize), Error> {
    if text.get(at) != Some(&b'"') {
        return Err(Error { byte: at, what: "no key in quotes" });
    }
    let key = string(text, at)?;
    let colon = space(text, key.end());
    if text.get(colon) != Some(&b':') {
        return Err(Error { byte: colon, what: "no colon after a key" });
    }
    Ok((key, space(text, colon + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_they_end() {
        for (text, kind) in [
            ("0", Kind::Integer),
            ("-0", Kind::Integer),
            ("12345678", Kind::Integer),
            ("-1234567890123456789012345", Kind::Integer),
            ("1.5", Kind::Decimal),
            ("1e5", Kind::Decimal),
            ("-0.12345678901E+10", Kind::Decimal),
            ("1e999", Kind::Decimal),
            ("null", Kind::Null),
            ("true", Kind::True),
            ("false", Kind::False),
            ("[]", Kind::Array),
            ("[1 , [2,{}], \"]\"]", Kind::Array),
            ("{}", Kind::Object),
            ("{ \"a\" : { \"b\" : [ ] } , \"c\" : 1 }", Kind::Object),
        ] {
            let padded = format!("{text} ,");
            assert_eq!(value(padded.as_bytes(), 0, 0), Ok(Token::new(kind, 0, text.len())), "{text}");
        }
    }

    #[test]
    fn values_are_refused_with_the_byte() {
        for (text, byte, what) in [
            ("", 0, "the end of the text where a value should be"),
            ("-", 1, "a number without a digit"),
            ("-a", 1, "a number without a digit"),
            ("1.", 2, "a number without a digit"),
            ("1.e5", 2, "a number without a digit"),
            ("1e+", 3, "a number without a digit"),
            ("NaN", 0, "something that is no value"),
            ("nul", 0, "something that is no value"),
            ("[1,]", 3, "something that is no value"),
            ("[1 2]", 3, "no comma or closing bracket after a value"),
            ("[1}", 2, "no comma or closing bracket after a value"),
            ("[01]", 2, "no comma or closing bracket after a value"),
            ("{\"a\":1,}", 7, "no key in quotes"),
            ("{\"a\" 1}", 5, "no colon after a key"),
            ("[1", 2, "no comma or closing bracket after a value"),
        ] {
            assert_eq!(value(text.as_bytes(), 0, 0), Err(Error { byte, what }), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(value(nested(64).as_bytes(), 0, 0).is_ok());
        assert!(value(nested(63).as_bytes(), 0, 1).is_ok());
        let refused = Err(Error { byte: 64, what: "nesting deeper than 64" });
        assert_eq!(value(nested(65).as_bytes(), 0, 0), refused);
        assert_eq!(value(nested(1_000_000).as_bytes(), 0, 0), refused);
    }
}
