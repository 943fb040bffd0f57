//! Pulls the members out of an object, one at a time, at any level.

use crate::value::{member, space, value};
use crate::{DEPTH, Error, Kind, Token};

/// Reads a text that must be one JSON object.
///
/// ```
/// # use apogee_json::{Kind, Scanner};
/// let text = br#"{"id": 25544, "units": "kilometers"}"#;
/// let mut scanner = Scanner::new(text);
/// scanner.enter()?;
/// let mut members = Vec::new();
/// while let Some(key) = scanner.key()? {
///     let value = scanner.value()?;
///     members.push((key.content(text), value.kind, value.raw(text)));
/// }
/// scanner.end()?;
/// assert_eq!(members[0], (b"id".into(), Kind::Integer, &b"25544"[..]));
/// assert_eq!(members[1], (b"units".into(), Kind::Text, &b"\"kilometers\""[..]));
/// # Ok::<(), apogee_json::Error>(())
/// ```
pub struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    /// Whether nothing of the innermost object has been read yet, so that no comma is due.
    first: bool,
}

impl<'a> Scanner<'a> {
    #[inline]
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: space(text, 0), depth: 0, first: true }
    }

    /// Steps into the object that comes next: the text itself, or the value of the key just read.
    #[inline]
    pub fn enter(&mut self) -> Result<(), Error> {
        if self.text.len() > u32::MAX as usize {
            return self.refuse("a text of more than 4 GiB");
        }
        match self.text.get(self.at) {
            Some(b'{') if self.depth == DEPTH => self.refuse("nesting deeper than 64"),
            Some(b'{') => {
                self.at = space(self.text, self.at + 1);
                self.depth += 1;
                self.first = true;
                Ok(())
            }
            None => self.refuse("the end of the text where an object should be"),
            Some(_) => match value(self.text, self.at, self.depth)?.kind {
                Kind::Array => self.refuse("an array instead of an object"),
                Kind::Text | Kind::Escaped => self.refuse("a string instead of an object"),
                Kind::Null => self.refuse("null instead of an object"),
                Kind::True | Kind::False => self.refuse("a boolean instead of an object"),
                _ => self.refuse("a number instead of an object"),
            },
        }
    }

    /// The next key of the innermost object, a string; `None` is its end, and steps out of it.
    #[inline]
    pub fn key(&mut self) -> Result<Option<Token>, Error> {
        match self.text.get(self.at) {
            Some(b'}') if self.depth > 0 => {
                self.at = space(self.text, self.at + 1);
                self.depth -= 1;
                self.first = false;
                return Ok(None);
            }
            Some(b',') if !self.first => self.at = space(self.text, self.at + 1),
            _ if self.first => {}
            _ => return self.refuse("no comma or closing bracket after a value"),
        }
        let (key, value) = member(self.text, self.at)?;
        self.at = value;
        Ok(Some(key))
    }

    /// Whether the value of the key just read is an object with members, so that [`enter`](Self::enter) is
    /// due rather than [`value`](Self::value).
    #[inline]
    pub fn has_members(&self) -> bool {
        self.text.get(self.at) == Some(&b'{') && self.text.get(space(self.text, self.at + 1)) != Some(&b'}')
    }

    /// How many objects the scanner is inside of.
    #[inline]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The value of the key just read, whole: an array or object with all that is in it.
    #[inline]
    pub fn value(&mut self) -> Result<Token, Error> {
        let value = value(self.text, self.at, self.depth)?;
        self.at = space(self.text, value.end());
        self.first = false;
        Ok(value)
    }

    /// Nothing may follow the object.
    #[inline]
    pub fn end(&self) -> Result<(), Error> {
        if self.at == self.text.len() { Ok(()) } else { self.refuse("more text after the object") }
    }

    fn refuse<T>(&self, what: &'static str) -> Result<T, Error> {
        Err(Error { byte: self.at, what })
    }
}
