//! Messages that could not be used, kept in a topic or a file with where they came from and why (Invariant 2).

mod letter;
mod lines;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;

use self::lines::Lines;
use crate::log::Writer;
use crate::log::connect::Logs;
use crate::message::Batch;
use crate::uri::TopicUri;

pub use self::letter::{Letter, Ran, Text};

/// Bytes of letters that wait for a commit before it becomes due.
const WAITING: usize = 1 << 20;

/// The dead letters of one worker.
pub struct DeadLetters {
    waiting: Batch,
    /// Where they are written apart from the output; `None` where the sink writes them in its own step.
    apart: Option<Apart>,
}

/// Where letters are written that the sink does not write.
enum Apart {
    /// A topic, which is created with the first one.
    Topic {
        logs: Arc<Logs>,
        uri: TopicUri,
        writer: Option<Box<dyn Writer>>,
    },
    Lines(Lines),
}

impl DeadLetters {
    /// Letters that the sink takes along.
    pub fn with_the_sink() -> Self {
        Self { waiting: Batch::new(), apart: None }
    }

    /// Letters to a topic that the sink does not write to.
    pub fn to_topic(logs: Arc<Logs>, uri: TopicUri) -> Self {
        Self { waiting: Batch::new(), apart: Some(Apart::Topic { logs, uri, writer: None }) }
    }

    /// Letters to a file, a line of JSON each.
    pub fn to_file(path: PathBuf) -> Self {
        Self { waiting: Batch::new(), apart: Some(Apart::Lines(Lines::new(path))) }
    }

    /// Takes a letter. In a topic its key is the origin, `PARTITION-OFFSET`.
    pub fn put(&mut self, letter: &Letter<'_>) -> anyhow::Result<()> {
        let key = format!("{}-{}", letter.partition, letter.offset);
        let now = jiff::Timestamp::now().as_millisecond();
        self.waiting.push(Some(key.as_bytes()), Some(&letter.to_json()?), now);
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
    /// so before the position of their messages (Invariant 1): after a crash they can come twice, never not at all.
    pub fn take(&mut self) -> anyhow::Result<Batch> {
        let letters = std::mem::take(&mut self.waiting);
        match &mut self.apart {
            Some(apart) if !letters.is_empty() => {
                apart.write(&letters).context("the dead letters")?;
                Ok(Batch::new())
            }
            _ => Ok(letters),
        }
    }
}

impl Apart {
    fn write(&mut self, letters: &Batch) -> anyhow::Result<()> {
        match self {
            Self::Lines(lines) => lines.append(letters),
            Self::Topic { logs, uri, writer } => {
                let writer = match writer {
                    Some(writer) => writer,
                    none => {
                        let log = logs.of(uri)?;
                        log.create_topic(&uri.topic, 1)?;
                        none.insert(log.writer(&uri.topic)?)
                    }
                };
                writer.append(letters)?;
                Ok(writer.flush()?)
            }
        }
    }
}
