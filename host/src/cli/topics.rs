//! `host topics`: what is in the embedded log or in Kafka, read outside of any group.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::cli::Global;
use crate::config::error::unreadable;
use crate::log::embedded::Embedded;
use crate::log::kafka::Kafka;
use crate::log::{Log, Topic};
use crate::message::Fetch;
use crate::sink::stdout::push_json;
use crate::uri::{LogUri, TopicUri};

/// Messages that are asked for at a time, so that a long read needs little memory.
const BATCH: usize = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum Topics {
    /// List topics with their partitions and offsets
    #[command(after_help = "Examples:\n  host topics list\n  host topics list kafka://localhost:9092")]
    List {
        /// kafka://BROKER, or nothing for the embedded log
        #[arg(value_name = "URI", default_value = "kafka:///", hide_default_value = true)]
        uri: LogUri,
        #[command(flatten)]
        file: LogFile,
    },
    /// Create a topic
    #[command(after_help = "Examples:\n  host topics create kafka://localhost:9092/iss --partitions 3")]
    Create {
        /// kafka://BROKER/TOPIC, or kafka:///TOPIC for the embedded log
        #[arg(value_name = "URI")]
        uri: TopicUri,
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        partitions: u32,
        #[command(flatten)]
        file: LogFile,
    },
    /// Show messages of a topic as JSON lines
    #[command(
        after_help = "Examples:\n  host topics read kafka:///iss-location\n  host topics read kafka://localhost:9092/iss --partition 0 --offset 100 --limit 5 --raw"
    )]
    Read {
        /// kafka://BROKER/TOPIC, or kafka:///TOPIC for the embedded log
        #[arg(value_name = "URI")]
        uri: TopicUri,
        /// Only this partition [default: all, one after the other]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
        partition: Option<i32>,
        /// From this offset on [default: the first one there is]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
        offset: Option<i64>,
        /// Most messages altogether
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// Only the values, byte for byte, a newline after each
        #[arg(long)]
        raw: bool,
        #[command(flatten)]
        file: LogFile,
    },
}

#[derive(Debug, Args)]
pub(super) struct LogFile {
    /// The file of the embedded log
    #[arg(long, value_name = "FILE", default_value = "apogee.db")]
    pub(super) log: PathBuf,
}

impl Topics {
    pub(super) fn run(self, global: Global) -> anyhow::Result<()> {
        match self {
            Self::List { uri, file } => {
                let mut topics = open(uri.brokers.as_deref(), &file.log, false)?.topics()?;
                topics.retain(|topic| uri.topic.as_ref().is_none_or(|name| *name == topic.name));
                list(&topics, global.json)?;
            }
            Self::Create { uri, partitions, file } => {
                let created = open(uri.brokers.as_deref(), &file.log, true)?.create_topic(&uri.topic, partitions)?;
                let outcome = if created { "created" } else { "exists" };
                if global.json {
                    writeln!(io::stdout(), "{}", serde_json::json!({ "topic": uri.topic, "created": created }))?;
                } else {
                    writeln!(io::stdout(), "{outcome} {uri}")?;
                }
            }
            Self::Read { uri, partition, offset, limit, raw, file } => {
                let log = open(uri.brokers.as_deref(), &file.log, false)?;
                read(log.as_ref(), &uri, partition, offset, limit, raw)?;
            }
        }
        Ok(())
    }
}

/// The log; the embedded one's file is made only where something is to be written to it.
pub(super) fn open(brokers: Option<&str>, file: &Path, create: bool) -> anyhow::Result<Box<dyn Log>> {
    if let Some(brokers) = brokers {
        return Ok(Box::new(Kafka::connect(brokers, &BTreeMap::new())?));
    }
    if !create {
        std::fs::metadata(file)
            .map_err(|error| unreadable(file, &error))
            .context("the embedded log is made by the first run; another one is named by --log FILE")?;
    }
    Ok(Box::new(Embedded::open(file)?))
}

fn list(topics: &[Topic], json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for topic in topics {
        if json {
            let partitions: Vec<_> = topic
                .partitions
                .iter()
                .map(|(first, next)| serde_json::json!({ "first": first, "next": next }))
                .collect();
            writeln!(out, "{}", serde_json::json!({ "topic": topic.name, "partitions": partitions }))?;
            continue;
        }
        let messages: i64 = topic.partitions.iter().map(|(first, next)| next - first).sum();
        let offsets: Vec<String> = topic.partitions.iter().map(|(first, next)| format!("{first}..{next}")).collect();
        writeln!(
            out,
            "{}  {} partition(s)  {messages} message(s)  {}",
            topic.name,
            topic.partitions.len(),
            offsets.join(" ")
        )?;
    }
    Ok(())
}

fn read(
    log: &dyn Log,
    uri: &TopicUri,
    partition: Option<i32>,
    offset: Option<i64>,
    limit: usize,
    raw: bool,
) -> anyhow::Result<()> {
    let topic = log.describe(&uri.topic)?;
    let mut left = limit;
    let mut out = io::BufWriter::new(io::stdout().lock());
    for (number, (first, _)) in (0..).zip(&topic.partitions) {
        if partition.is_some_and(|asked| asked != number) {
            continue;
        }
        let mut from = offset.unwrap_or(*first).max(*first);
        while left > 0 {
            let fetch = log.read(&uri.topic, number, from, left.min(BATCH))?;
            left = left.saturating_sub(fetch.offsets.len());
            print(&fetch, raw, &mut out)?;
            if fetch.next <= from {
                break;
            }
            from = fetch.next;
        }
    }
    if let Some(asked) = partition
        && usize::try_from(asked).is_ok_and(|asked| asked >= topic.partitions.len())
    {
        let count = topic.partitions.len();
        return Err(crate::config::Error::Arguments(format!(
            "--partition {asked}: {uri} has {count} partition(s), counted from 0"
        ))
        .into());
    }
    out.flush()?;
    Ok(())
}

fn print(fetch: &Fetch, raw: bool, out: &mut impl Write) -> io::Result<()> {
    let batch = &fetch.batch;
    let messages = batch.keys.iter().zip(&batch.values).zip(batch.timestamps.iter().zip(&fetch.offsets));
    for (index, ((key, value), (timestamp, offset))) in messages.enumerate() {
        if raw {
            out.write_all(value.unwrap_or_default())?;
            out.write_all(b"\n")?;
            continue;
        }
        let mut line = serde_json::json!({ "partition": fetch.partition, "offset": offset, "timestamp": timestamp, "key": text(key), "value": text(value) });
        let headers: Vec<Value> = batch
            .headers
            .iter()
            .filter(|header| header.message as usize == index)
            .map(|header| serde_json::json!([header.name, text(Some(&header.value))]))
            .collect();
        if !headers.is_empty() {
            line["headers"] = headers.into();
        }
        let mut json = Vec::new();
        push_json(line.to_string().as_bytes(), &mut json);
        json.push(b'\n');
        out.write_all(&json)?;
    }
    Ok(())
}

/// A text as itself, other bytes as `{"hex": "…"}`, nothing as null.
fn text(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => text.into(),
        Some((bytes, Err(_))) => {
            serde_json::json!({ "hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() })
        }
    }
}
