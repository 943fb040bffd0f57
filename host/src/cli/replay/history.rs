//! What was kept, partition by partition: a range of a topic, or a file.

use std::str::FromStr;
use std::sync::Arc;

use crate::cli::error_line;
use crate::cli::topics::{self, LogFile};
use crate::config::{Error, Source};
use crate::log::{BATCH_MESSAGES, Log};
use crate::message::Fetch;
use crate::source::file::{self, Reader};
use crate::uri::{SourceUri, TopicUri};

/// What `--from` names.
#[derive(Debug, Clone)]
pub(super) enum HistoryUri {
    /// With the first offset, and the one after the last.
    Topic(TopicUri, Option<i64>, Option<i64>),
    File(file::Options),
}

impl FromStr for HistoryUri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // No topic has this character in its name, but a path may.
        let (uri, range) = match text.rsplit_once('@') {
            Some((uri, range)) if text.starts_with("kafka:") => (uri, range),
            _ => (text, ".."),
        };
        let uri: SourceUri = uri.parse().map_err(|error: crate::uri::UriError| error.to_string())?;
        match Source::new(&uri)? {
            Source::Topic(topic, _) => {
                let wrong = || "after the @ comes a range of offsets, such as 1000..2000, 1000.. or ..2000".to_owned();
                let (from, to) = range.split_once("..").ok_or_else(wrong)?;
                let offset = |text: &str| match text {
                    "" => Ok(None),
                    text => text.parse::<i64>().ok().filter(|offset| *offset >= 0).map(Some).ok_or_else(wrong),
                };
                let (from, to) = (offset(from)?, offset(to)?);
                if let (Some(from), Some(to)) = (from, to)
                    && from > to
                {
                    return Err(format!("{from}..{to} ends before it begins"));
                }
                Ok(Self::Topic(topic, from, to))
            }
            Source::File(options) => Ok(Self::File(options)),
            Source::Delta(_) | Source::Http(_) | Source::Simulate(..) => {
                Err("only what was kept can be replayed: kafka://BROKER/TOPIC, kafka:///TOPIC or file:PATH".to_owned())
            }
        }
    }
}

/// A range of messages, read once.
pub(super) struct History {
    kept: Kept,
    /// Partitions with what is left of them, the present one last.
    left: Vec<Left>,
    begun: bool,
}

enum Kept {
    Topic(Arc<dyn Log>, String),
    File(Box<Reader>),
}

struct Left {
    partition: i32,
    from: i64,
    to: i64,
}

impl History {
    pub(super) fn open(from: &HistoryUri, partition: Option<i32>, file: &LogFile) -> anyhow::Result<Self> {
        let (topic, from, to) = match from {
            HistoryUri::Topic(topic, from, to) => (topic, *from, *to),
            HistoryUri::File(options) => {
                let reader = Reader::open(options.clone(), 0)?;
                let left = vec![Left { partition: 0, from: 0, to: i64::MAX }];
                return Ok(Self { kept: Kept::File(Box::new(reader)), left, begun: false });
            }
        };
        let log = topics::open(topic.brokers.as_deref(), &file.log, false)?;
        let partitions = log.describe(&topic.topic)?.partitions;
        let mut left = Vec::new();
        for (number, (first, next)) in (0..).zip(&partitions) {
            if partition.is_some_and(|asked| asked != number) {
                continue;
            }
            if let Some(from) = from.filter(|from| from < first) {
                error_line(&format!("partition {number}: {from} is not there any more; it begins at {first}"));
            }
            // What comes from now on is not history.
            let (from, to) = (from.unwrap_or(*first).max(*first), to.unwrap_or(*next).min(*next));
            left.push(Left { partition: number, from, to });
        }
        if let (Some(asked), true) = (partition, left.is_empty()) {
            let count = partitions.len();
            let what = format!("--partition {asked}: {topic} has {count} partition(s), counted from 0");
            return Err(Error::Arguments(what).into());
        }
        left.reverse();
        Ok(Self { kept: Kept::Topic(log.into(), topic.topic.clone()), left, begun: false })
    }

    /// Goes on to the next partition.
    pub(super) fn next_partition(&mut self) -> Option<i32> {
        if std::mem::replace(&mut self.begun, true) {
            self.left.pop();
        }
        self.left.last().map(|left| left.partition)
    }

    /// The next messages of the present partition, if there are more.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Fetch>> {
        let Some(left) = self.left.last_mut() else { return Ok(None) };
        let (log, topic) = match &mut self.kept {
            Kept::File(reader) => return Ok(reader.fetch()?),
            Kept::Topic(log, topic) => (log, topic),
        };
        while left.from < left.to {
            let fetch = log.read(topic, left.partition, left.from, BATCH_MESSAGES)?;
            if fetch.next <= left.from {
                break;
            }
            left.from = fetch.next;
            let (fetch, _) = fetch.split(left.to);
            if !fetch.is_empty() {
                return Ok(Some(fetch));
            }
        }
        Ok(None)
    }
}
