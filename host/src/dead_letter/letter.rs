//! One dead letter, as it is written and read: JSON, with all that is needed to see what happened and to do it again.
//!
//! A letter is bounded, because it must fit into its topic whatever it is about: of what is too long it has the start.

use std::borrow::Cow;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::message::{Batch, Header};
use crate::source::MAX_REJECTED;
use crate::version::Version;

/// Most headers of a message that go into its letter.
const HEADERS: usize = 100;

/// Most bytes of a letter, of which a Kafka topic takes a million by default. Settings that make it longer are left out.
const MOST: usize = 900_000;

/// A message that could not be used, where it came from and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Letter<'a> {
    pub pipeline: Cow<'a, str>,
    /// What the pipeline reads, as a URI.
    pub source: Cow<'a, str>,
    pub partition: i32,
    /// Of the message that came in, at the source.
    pub offset: i64,
    /// Event time in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    /// Whose reason it is: the name of a plugin or, without a version, `source`.
    pub by: Cow<'a, str>,
    /// Version, content hash and settings of that plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Cow<'a, Value>>,
    /// The plugins through which the message below goes before it comes to that one. None where it was rejected: then
    /// it is told as the plugin saw it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Ran<'a>>,
    /// To count by: `rejected`; `trap`, `limit` or `nonsense` where the plugin failed; a short text of the source.
    pub cause: Cow<'a, str>,
    /// What is wrong, for a person.
    pub reason: Cow<'a, str>,
    /// The last lines that the plugin wrote before it failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Cow<'a, str>>,
    /// The WebAssembly stack when it failed, innermost first, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backtrace: Vec<Cow<'a, str>>,
    pub key: Option<Text<'a>>,
    pub value: Option<Text<'a>>,
    /// Names and values, of at most 100 headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(Text<'a>, Text<'a>)>,
}

/// A plugin as it ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ran<'a> {
    pub name: Cow<'a, str>,
    pub version: Cow<'a, str>,
    pub hash: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Cow<'a, Value>>,
}

/// Bytes in JSON: a string where they are UTF-8, else `{"hex": "…"}`. Only the start of what is too long for a letter,
/// with the length of the whole: `{"start": "…", "bytes": 123456}`, `{"hex": "…", "bytes": 123456}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written<'a>", try_from = "Written<'static>")]
pub struct Text<'a> {
    bytes: Cow<'a, [u8]>,
    length: usize,
}

impl<'a> Letter<'a> {
    /// A letter about a message of which nothing but its place is known.
    pub fn new(
        pipeline: &'a str,
        source: &'a str,
        partition: i32,
        offset: i64,
        cause: &'a str,
        reason: &'a str,
    ) -> Self {
        Self {
            pipeline: pipeline.into(),
            source: source.into(),
            partition,
            offset,
            timestamp: None,
            by: "source".into(),
            version: None,
            hash: None,
            settings: None,
            before: Vec::new(),
            cause: cause.into(),
            reason: reason.into(),
            said: Vec::new(),
            backtrace: Vec::new(),
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }

    /// The same letter, for a reason that a plugin has.
    pub fn by(self, Ran { name, version, hash, settings }: Ran<'a>) -> Self {
        Self { by: name, version: Some(version), hash: Some(hash), settings, ..self }
    }

    /// Reads a letter.
    pub fn parse(json: &[u8]) -> serde_json::Result<Letter<'static>> {
        serde_json::from_slice(json)
    }

    pub(super) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let json = serde_json::to_vec(self)?;
        if json.len() <= MOST {
            return Ok(json);
        }
        let before = self.before.iter().map(|ran| Ran { settings: None, ..ran.clone() }).collect();
        serde_json::to_vec(&Self { settings: None, before, ..self.clone() })
    }
}

impl<'a> Ran<'a> {
    pub fn of(version: &'a Version) -> Self {
        let description = &version.plugin.description;
        Self {
            name: Cow::Borrowed(&description.name),
            version: Cow::Borrowed(&description.version),
            hash: Cow::Borrowed(&version.plugin.hash),
            settings: Some(Cow::Borrowed(&version.settings)),
        }
    }
}

impl<'a> Text<'a> {
    pub fn key(bytes: &'a [u8]) -> Self {
        Self::cut(bytes, 4 << 10)
    }

    pub fn value(bytes: &'a [u8]) -> Self {
        Self::cut(bytes, MAX_REJECTED)
    }

    fn header(bytes: &'a [u8]) -> Self {
        Self::cut(bytes, 256)
    }

    /// The headers of the `index`-th message of a batch.
    pub(crate) fn headers(batch: &'a Batch, index: u32) -> Vec<(Self, Self)> {
        let own = batch.headers.iter().filter(|header| header.message == index);
        let text = |header: &'a Header| (Self::header(header.name.as_bytes()), Self::header(&header.value));
        own.take(HEADERS).map(text).collect()
    }

    fn cut(bytes: &'a [u8], most: usize) -> Self {
        let start = &bytes[..bytes.len().min(most)];
        let start = match str::from_utf8(start) {
            // A character that the cut goes through is left out.
            Err(error) if error.error_len().is_none() && start.len() < bytes.len() => &start[..error.valid_up_to()],
            _ => start,
        };
        Self { bytes: Cow::Borrowed(start), length: bytes.len() }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of the whole, of which this may be the start.
    pub fn length(&self) -> usize {
        self.length
    }

    pub fn is_whole(&self) -> bool {
        self.bytes.len() == self.length
    }
}

/// How a [`Text`] is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written<'a> {
    Whole(Cow<'a, str>),
    Start {
        start: Cow<'a, str>,
        bytes: usize,
    },
    Hex {
        hex: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<usize>,
    },
}

impl<'a> From<Text<'a>> for Written<'a> {
    fn from(text: Text<'a>) -> Self {
        let cut = (!text.is_whole()).then_some(text.length);
        let text = match text.bytes {
            Cow::Borrowed(bytes) => str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| Cow::Borrowed(bytes)),
            Cow::Owned(bytes) => {
                String::from_utf8(bytes).map(Cow::Owned).map_err(|error| Cow::Owned(error.into_bytes()))
            }
        };
        match (text, cut) {
            (Ok(text), None) => Self::Whole(text),
            (Ok(start), Some(bytes)) => Self::Start { start, bytes },
            (Err(bytes), cut) => Self::Hex { hex: HEXLOWER.encode(&bytes), bytes: cut },
        }
    }
}

impl TryFrom<Written<'static>> for Text<'_> {
    type Error = data_encoding::DecodeError;

    fn try_from(written: Written<'static>) -> Result<Self, Self::Error> {
        let (bytes, length) = match written {
            Written::Whole(text) => (text.into_owned().into_bytes(), None),
            Written::Start { start, bytes } => (start.into_owned().into_bytes(), Some(bytes)),
            Written::Hex { hex, bytes } => (HEXLOWER.decode(hex.as_bytes())?, bytes),
        };
        let length = length.unwrap_or(bytes.len());
        Ok(Self { bytes: Cow::Owned(bytes), length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter<'a>(bytes: &'a [u8], settings: &'a Value) -> Letter<'a> {
        let ran = Ran {
            name: "first".into(),
            version: "1".into(),
            hash: "00".into(),
            settings: Some(Cow::Borrowed(settings)),
        };
        let by = Ran { name: "second".into(), ..ran.clone() };
        Letter {
            timestamp: Some(1),
            before: vec![ran],
            said: vec!["a line".into()],
            backtrace: vec!["0: process".into()],
            key: Some(Text::key(bytes)),
            value: Some(Text::value(bytes)),
            headers: vec![(Text::header(bytes), Text::header(bytes)); HEADERS],
            ..Letter::new("p", "kafka:///in", 0, 7, "trap", "it gave up").by(by)
        }
    }

    #[test]
    fn bytes_of_any_kind_are_text_where_they_can_be() {
        let json = |text: Text<'_>| serde_json::to_string(&text).unwrap();
        assert_eq!(json(Text::key(b"caf\xc3\xa9")), "\"café\"");
        assert_eq!(json(Text::key(b"\xff\x00")), r#"{"hex":"ff00"}"#);
        let long = vec![0; 10 << 20];
        let cut = json(Text::value(&long));
        assert!(cut.starts_with(r#"{"start":"\u0000"#) && cut.ends_with(r#"","bytes":10485760}"#));
        let two = format!("x{}", "é".repeat(200));
        assert_eq!(json(Text::header(two.as_bytes())), format!(r#"{{"start":"x{}","bytes":401}}"#, "é".repeat(127)));
    }

    #[test]
    fn what_is_written_is_read() {
        let settings = serde_json::json!({ "fields": ["a"] });
        for bytes in [&b""[..], b"text", b"\xff\x00\x01", &[0xff; 300], &[b'x'; 100_000], &[0xff; 100_000]] {
            let letter = letter(bytes, &settings);
            assert_eq!(Letter::parse(&letter.to_json().unwrap()).unwrap(), letter);
            let value = letter.value.unwrap();
            assert_eq!((value.is_whole(), value.length()), (bytes.len() <= MAX_REJECTED, bytes.len()));
            assert!(bytes.starts_with(value.bytes()));
        }
        let wrong = [r#""#, r#"{}"#, r#"{"hex":"f"}"#, r#"{"hex":"zz"}"#, r#"{"start":"x"}"#, "7"];
        assert!(wrong.iter().all(|json| serde_json::from_str::<Text<'_>>(json).is_err()));
    }

    /// All that is bounded at once, of bytes that JSON makes six of, and settings that are as long as a file can be.
    #[test]
    fn a_letter_fits_into_its_topic() {
        let (long, settings) = (vec![0; 10 << 20], Value::String("x".repeat(1 << 20)));
        let letter = letter(&long, &settings);
        let json = letter.to_json().unwrap();
        assert!(json.len() < MOST, "{}", json.len());
        let read = Letter::parse(&json).unwrap();
        assert_eq!((read.settings, read.value), (None, letter.value));
        assert_eq!(read.before[0].settings, None);
    }
}
