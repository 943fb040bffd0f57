//! Reads dead letters, from a topic of either log or from a file of JSON lines.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context;

use super::At;
use crate::cli::printable;
use crate::cli::topics::{self, LogFile};
use crate::config::Error;
use crate::config::error::unreadable;
use crate::dead_letter::Letter;
use crate::log::{Log, LogError, Topic};
use crate::uri::{LettersUri, TopicUri};

/// Letters that are asked for at a time.
const BATCH: usize = 1_000;

/// What is done with each: where it is, as it is kept, and what it says.
pub(super) type Each<'a> = dyn FnMut(&str, &[u8], serde_json::Result<Letter<'static>>) + 'a;

/// Looks at all letters, in their order.
pub(super) fn each(uri: &LettersUri, file: &LogFile, each: &mut Each<'_>) -> anyhow::Result<()> {
    match uri {
        LettersUri::Lines(path) => {
            for (number, line) in (1..).zip(lines(path)?) {
                let line = line.with_context(|| path.display().to_string())?;
                if !line.trim_ascii().is_empty() {
                    each(&format!("@{number}"), &line, Letter::parse(&line));
                }
            }
            Ok(())
        }
        LettersUri::Topic(topic) => of_topic(topic, file, each),
    }
}

fn of_topic(topic: &TopicUri, file: &LogFile, each: &mut Each<'_>) -> anyhow::Result<()> {
    let (log, Topic { partitions, .. }) = open(topic, file)?;
    for (partition, (first, end)) in (0..).zip(&partitions) {
        let mut from = *first;
        while from < *end {
            let fetch = log.read(&topic.topic, partition, from, BATCH)?;
            for (offset, json) in fetch.offsets.iter().zip(&fetch.batch.values) {
                let place = if partitions.len() == 1 {
                    format!("@{offset}")
                } else {
                    format!("partition {partition} @{offset}")
                };
                let json = json.unwrap_or_default();
                each(&place, json, Letter::parse(json));
            }
            if fetch.next <= from {
                break;
            }
            from = fetch.next;
        }
    }
    Ok(())
}

/// The log of a topic, and what it says of it.
fn open(topic: &TopicUri, file: &LogFile) -> anyhow::Result<(Box<dyn Log>, Topic)> {
    let log = topics::open(topic.brokers.as_deref(), &file.log, false)?;
    match log.describe(&topic.topic) {
        Ok(described) => Ok((log, described)),
        Err(LogError::NoTopic { .. }) => {
            let what = format!(
                "{topic} is not there: it comes with the first dead letter, or has another name, which `host check` tells"
            );
            Err(Error::Arguments(what).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// One letter, as it is kept and as it is read.
pub(in crate::cli) fn read(at: &At, file: &LogFile) -> anyhow::Result<(Vec<u8>, Letter<'static>)> {
    let At { uri, partition, number } = at;
    let absent =
        || Error::Arguments(format!("{uri} has no letter {number}; see which there are: host dead list {uri}"));
    let json = match uri {
        LettersUri::Lines(path) => {
            let number = usize::try_from(*number).ok().and_then(|number| number.checked_sub(1)).ok_or_else(absent)?;
            lines(path)?.nth(number).ok_or_else(absent)?.with_context(|| path.display().to_string())?
        }
        LettersUri::Topic(topic) => {
            let (log, Topic { partitions, .. }) = open(topic, file)?;
            let count = partitions.len();
            if usize::try_from(*partition).is_ok_and(|partition| partition >= count) {
                let what = format!("--partition {partition}: {topic} has {count} partition(s), counted from 0");
                return Err(Error::Arguments(what).into());
            }
            let fetch = log.read(&topic.topic, *partition, *number, 1)?;
            let found = fetch.offsets.first() == Some(number);
            fetch.batch.values.iter().next().filter(|_| found).flatten().ok_or_else(absent)?.to_vec()
        }
    };
    let letter = Letter::parse(&json).map_err(|error| {
        Error::Arguments(format!("{uri}@{number} is no dead letter of this host: {}", printable(&error.to_string())))
    })?;
    Ok((json, letter))
}

fn lines(path: &Path) -> Result<impl Iterator<Item = std::io::Result<Vec<u8>>>, Error> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    Ok(BufReader::new(file).split(b'\n'))
}
