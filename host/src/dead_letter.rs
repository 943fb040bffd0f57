//! Messages that could not be used, kept in a topic with where they came from and why (Invariant 2).

use std::sync::Arc;

use serde::Serialize;

use crate::log::connect::Logs;
use crate::log::{LogError, Writer};
use crate::message::Batch;
use crate::source::MAX_REJECTED;
use crate::uri::TopicUri;

/// One dead letter; the topic holds it as JSON.
#[derive(Debug, Serialize)]
pub struct Letter<'a> {
    pub pipeline: &'a str,
    /// Whose reason it is: `source`, or the name of a plugin.
    pub by: &'a str,
    /// Version and content hash of that plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<&'a str>,
    pub cause: &'a str,
    pub reason: &'a str,
    pub partition: i32,
    /// The offset of the message that came in, at the pipeline's source.
    pub offset: i64,
    /// Event time in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    pub key: Option<Text<'a>>,
    pub value: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(Text<'a>, Text<'a>)>,
}

/// Bytes in JSON: a string where they are UTF-8, else `{"hex": "…"}`. Only the beginning of what is too long for a
/// letter: `{"start": "…", "bytes": 123456}`, because a letter must fit into its topic whatever it is about.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    bytes: &'a [u8],
    most: usize,
}

impl<'a> Text<'a> {
    pub fn key(bytes: &'a [u8]) -> Self {
        Self { bytes, most: 4 << 10 }
    }

    pub fn value(bytes: &'a [u8]) -> Self {
        Self { bytes, most: MAX_REJECTED }
    }

    pub fn header(bytes: &'a [u8]) -> Self {
        Self { bytes, most: 256 }
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        if self.bytes.len() > self.most {
            let mut map = serializer.serialize_map(Some(2))?;
            map.serialize_entry("start", &String::from_utf8_lossy(&self.bytes[..self.most]))?;
            map.serialize_entry("bytes", &self.bytes.len())?;
            return map.end();
        }
        if let Ok(text) = str::from_utf8(self.bytes) {
            return serializer.serialize_str(text);
        }
        let hex: String = self.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("hex", &hex)?;
        map.end()
    }
}

/// Most headers of a message that go into its letter.
pub const HEADERS: usize = 100;

/// Bytes of letters that wait for a commit before it becomes due.
const WAITING: usize = 1 << 20;

/// The dead letters of one worker.
pub struct DeadLetters {
    waiting: Batch,
    /// Where they are written apart from the output; `None` where the sink writes them in its own step.
    apart: Option<Apart>,
}

/// Their topic, which is created with the first one.
struct Apart {
    logs: Arc<Logs>,
    uri: TopicUri,
    writer: Option<Box<dyn Writer>>,
}

impl DeadLetters {
    /// Letters that the sink takes along.
    pub fn with_the_sink() -> Self {
        Self { waiting: Batch::new(), apart: None }
    }

    /// Letters to a topic that the sink does not write to.
    pub fn apart(logs: Arc<Logs>, uri: TopicUri) -> Self {
        Self { waiting: Batch::new(), apart: Some(Apart { logs, uri, writer: None }) }
    }

    /// Takes a letter. Its key is the origin, `PARTITION-OFFSET`.
    pub fn put(&mut self, letter: &Letter<'_>) -> anyhow::Result<()> {
        let key = format!("{}-{}", letter.partition, letter.offset);
        let now = jiff::Timestamp::now().as_millisecond();
        self.waiting.push(Some(key.as_bytes()), Some(&serde_json::to_vec(letter)?), now);
        Ok(())
    }

    /// Those that were taken since the last commit are not to be.
    pub fn undo(&mut self) {
        self.waiting = Batch::new();
    }

    /// Whether they wait for a commit that should come now.
    pub fn full(&self) -> bool {
        self.waiting.bytes() > WAITING
    }

    /// The letters that the sink is to write in its step; those that are kept apart are durable when this returns,
    /// so before the position of their messages (Invariant 1).
    pub fn take(&mut self) -> Result<Batch, LogError> {
        let letters = std::mem::take(&mut self.waiting);
        match &mut self.apart {
            None => Ok(letters),
            Some(_) if letters.is_empty() => Ok(letters),
            Some(apart) => apart.write(&letters).map(|()| Batch::new()),
        }
    }
}

impl Apart {
    fn write(&mut self, letters: &Batch) -> Result<(), LogError> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let log = self.logs.of(&self.uri)?;
                log.create_topic(&self.uri.topic, 1)?;
                none.insert(log.writer(&self.uri.topic)?)
            }
        };
        writer.append(letters)?;
        writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_kind_and_length_fit_into_a_letter() {
        let json = |text: Text<'_>| serde_json::to_string(&text).unwrap();
        assert_eq!(json(Text::key(b"caf\xc3\xa9")), "\"café\"");
        assert_eq!(json(Text::key(b"\xff\x00")), r#"{"hex":"ff00"}"#);
        let long = vec![0; 10 << 20];
        let cut = json(Text::value(&long));
        assert!(cut.starts_with(r#"{"start":"\u0000"#) && cut.ends_with(r#"","bytes":10485760}"#));
        assert!(cut.len() < 512 << 10);
        // All that is bounded at once, of bytes that JSON makes six of, is less than a Kafka topic takes by default.
        let letter = Letter {
            pipeline: "p",
            by: "plugin",
            version: None,
            hash: None,
            cause: "rejected",
            reason: "",
            partition: 0,
            offset: 0,
            timestamp: None,
            key: Some(Text::key(&long)),
            value: Some(Text::value(&long)),
            headers: vec![(Text::header(&long), Text::header(&long)); HEADERS],
        };
        let bytes = serde_json::to_vec(&letter).unwrap().len();
        assert!(bytes < 800_000, "{bytes}");
    }
}
