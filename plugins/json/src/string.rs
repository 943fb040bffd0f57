//! Strings: where they end, what they say, and how a text is made one.
//!
//! Refuses control characters, unknown escapes, lone surrogates and what is not UTF-8.

use crate::word::{HIGH, before, load, specials};
use crate::{Error, Kind, Token};

/// Reads the string whose opening quote is at `start`.
#[inline]
pub fn string(text: &[u8], start: usize) -> Result<Token, Error> {
    match plain(text, start + 1) {
        Ok(end) => Ok(Token::new(Kind::Text, start, end + 1)),
        Err(at) => rare(text, start, at),
    }
}

/// Where the inside of a plain string that starts at `at` ends: the index of its quote. The error is where
/// something else has to be looked at, or what is beyond ASCII is before it.
#[inline(always)]
pub fn plain(text: &[u8], mut at: usize) -> Result<usize, usize> {
    let mut seen = 0;
    let special = loop {
        let word = load(text, at);
        let special = specials(word);
        if special != 0 {
            // Only the bytes before the special one count.
            seen |= word & (special ^ special.wrapping_sub(1)) >> 8;
            break at + before(special);
        }
        seen |= word;
        at += 8;
    };
    // ASCII up to the quote: nothing is left to check.
    if seen & HIGH == 0 && text.get(special) == Some(&b'"') { Ok(special) } else { Err(special) }
}

/// The rest of a string with escapes or beyond ASCII; it is plain up to `at`.
#[inline(never)]
fn rare(text: &[u8], start: usize, mut at: usize) -> Result<Token, Error> {
    let mut kind = Kind::Text;
    loop {
        match text.get(at) {
            Some(b'"') => break,
            Some(b'\\') => {
                kind = Kind::Escaped;
                at = escape(text, at)?.1;
            }
            Some(0..0x20) => {
                return Err(Error { byte: at, what: "a control character in a string" });
            }
            Some(_) => {
                let special = specials(load(text, at));
                at += before(special);
            }
            None => {
                return Err(Error { byte: start, what: "a string without end" });
            }
        }
    }
    match std::str::from_utf8(&text[start..at]) {
        Ok(_) => Ok(Token::new(kind, start, at + 1)),
        Err(error) => Err(Error { byte: start + error.valid_up_to(), what: "bytes that are not UTF-8" }),
    }
}

/// The character that the escape at `at` stands for, and the index after it.
fn escape(text: &[u8], at: usize) -> Result<(char, usize), Error> {
    let plain = match text.get(at + 1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode(text, at),
        _ => {
            return Err(Error { byte: at, what: "an unknown escape in a string" });
        }
    };
    Ok((plain, at + 2))
}

/// `\uXXXX`, or two of them that make a surrogate pair.
fn unicode(text: &[u8], at: usize) -> Result<(char, usize), Error> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6).and_then(|unit| unit.strip_prefix(b"\\u"));
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        digits.and_then(|digits| u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())
    };
    let first = unit(at).ok_or(Error { byte: at, what: "an escape without its four hexadecimal digits" })?;
    if let Some(character) = char::from_u32(first.into()) {
        return Ok((character, at + 6));
    }
    let pair = unit(at + 6).and_then(|second| char::decode_utf16([first, second]).next()?.ok());
    match pair {
        Some(character) => Ok((character, at + 12)),
        None => Err(Error { byte: at, what: "half a surrogate pair" }),
    }
}

/// What the inside of a string says that [`string`] has accepted.
pub fn unescape(inside: &[u8]) -> Vec<u8> {
    let mut said = Vec::with_capacity(inside.len());
    let mut at = 0;
    while at < inside.len() {
        let run = inside[at..].iter().position(|byte| *byte == b'\\').unwrap_or(inside.len() - at);
        said.extend_from_slice(&inside[at..at + run]);
        at += run;
        // At the end there is no escape; elsewhere it is known to be a good one.
        let Ok((character, next)) = escape(inside, at) else {
            break;
        };
        said.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        at = next;
    }
    said
}

/// Appends `text` to `json` as a JSON string, with quotes.
///
/// Only what must be escaped is. The result is JSON if `text` is UTF-8.
pub fn quote(text: &[u8], json: &mut Vec<u8>) {
    json.push(b'"');
    for byte in text {
        match byte {
            b'"' => json.extend_from_slice(b"\\\""),
            b'\\' => json.extend_from_slice(b"\\\\"),
            b'\n' => json.extend_from_slice(b"\\n"),
            b'\r' => json.extend_from_slice(b"\\r"),
            b'\t' => json.extend_from_slice(b"\\t"),
            0..0x20 => json.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => json.push(*byte),
        }
    }
    json.push(b'"');
}

/// The beginning of what stands in a text, for a person to read.
pub fn excerpt(raw: &[u8]) -> String {
    const LONGEST: usize = 60;
    let cut = String::from_utf8_lossy(&raw[..raw.len().min(LONGEST)]);
    let dots = if raw.len() > LONGEST { "…" } else { "" };
    // The text's own quotes stay as they are; only what a terminal would obey is escaped.
    let shown: String =
        cut.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
    format!("{shown}{dots}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let token = string(text.as_bytes(), 0).expect("a string");
        assert_eq!(token.end(), text.len());
        String::from_utf8(token.content(text.as_bytes()).into_owned()).expect("UTF-8")
    }

    fn refused(text: &[u8]) -> (usize, &'static str) {
        let error = string(text, 0).expect_err("not a string");
        (error.byte, error.what)
    }

    #[test]
    fn strings_say_what_they_say() {
        for plain in ["", "a", "1234567", "12345678", "123456789", "grün", "日本語 and more than eight", "\u{7f}"] {
            assert_eq!(said(&format!("\"{plain}\"")), plain);
        }
        assert_eq!(said(r#""\"\\\/\b\f\n\r\t""#), "\"\\/\u{8}\u{c}\n\r\t");
        assert_eq!(said(r#""long enough \u0041\u00e9\ud83d\ude80 and on""#), "long enough Aé🚀 and on");
    }

    #[test]
    fn strings_are_refused_with_the_byte() {
        assert_eq!(refused(b"\"abc"), (0, "a string without end"));
        assert_eq!(refused(b"\"abc\ndefghij\""), (4, "a control character in a string"));
        assert_eq!(refused(b"\"abc\0\""), (4, "a control character in a string"));
        assert_eq!(refused(br#""a\x""#), (2, "an unknown escape in a string"));
        assert_eq!(refused(br#""a\u12g4""#), (2, "an escape without its four hexadecimal digits"));
        assert_eq!(refused(br#""a\u+123""#), (2, "an escape without its four hexadecimal digits"));
        assert_eq!(refused(br#""\ud800""#), (1, "half a surrogate pair"));
        assert_eq!(refused(br#""\ud800\u0041""#), (1, "half a surrogate pair"));
        assert_eq!(refused(b"\"ab\xff\""), (3, "bytes that are not UTF-8"));
    }

    #[test]
    fn quoting_is_undone_by_reading() {
        let all: String = ('\0'..'\u{180}').collect();
        let mut json = Vec::new();
        quote(all.as_bytes(), &mut json);
        assert_eq!(string(&json, 0).expect("a string").content(&json), all.as_bytes());
    }
}
