//! `host dead`: the dead letters of a topic or of a file, and what is in one of them. To put one through its plugin again
//! is `host replay --dead`.

mod read;
mod show;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Subcommand, ValueEnum};

use crate::cli::replay::Again;
use crate::cli::topics::LogFile;
use crate::cli::{Global, printable};
use crate::sink::stdout;
use crate::uri::{LettersUri, UriError};

pub(super) use read::read;

/// One letter: where it is kept, and its offset or line.
#[derive(Debug, Clone)]
pub(super) struct At {
    pub uri: LettersUri,
    pub partition: i32,
    pub number: i64,
}

#[derive(Debug, Subcommand)]
pub(super) enum Dead {
    /// List the last dead letters, or count them
    #[command(
        after_help = "Examples:\n  host dead list kafka:///iss.dead\n  host dead list kafka://localhost:9092/iss.dead --by cause\n  host dead list jsonl:dead.jsonl --limit 5 --json"
    )]
    List {
        /// kafka://BROKER/TOPIC, kafka:///TOPIC (embedded log) or jsonl:PATH
        #[arg(value_name = "URI")]
        uri: LettersUri,
        /// Most letters, the last ones
        #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "by")]
        limit: usize,
        /// Count all of them by this, instead
        #[arg(long, value_name = "WHAT")]
        by: Option<By>,
        #[command(flatten)]
        file: LogFile,
    },
    /// Show all of one dead letter
    #[command(
        after_help = "Examples:\n  host dead show kafka:///iss.dead@17\n  host dead show jsonl:dead.jsonl@3 --json"
    )]
    Show {
        #[command(flatten)]
        letter: Letter,
    },
    /// Put the message of a dead letter through its plugin again, or through a mended one (as host replay --dead)
    #[command(
        after_help = "Examples:\n  host dead replay kafka:///iss.dead@17\n  host dead replay jsonl:dead.jsonl@3 --plugin mended.wasm"
    )]
    Replay {
        #[command(flatten)]
        letter: Letter,
        /// Instead of the plugin that failed [default: the one of the letter's hash]
        #[arg(long, value_name = "FILE")]
        plugin: Option<PathBuf>,
        /// A setting of the plugin, upon those that the letter tells
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// The group whose plugins are looked through [default: that of the pipeline's name]
        #[arg(long, value_name = "NAME")]
        group: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Letter {
    /// kafka://BROKER/TOPIC@OFFSET, kafka:///TOPIC@OFFSET or jsonl:PATH@LINE, lines counted from 1
    #[arg(value_name = "URI@OFFSET")]
    at: At,
    /// The partition of the topic
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..))]
    partition: i32,
    #[command(flatten)]
    file: LogFile,
}

impl Letter {
    fn at(&self) -> At {
        At { partition: self.partition, ..self.at.clone() }
    }
}

/// What letters are counted by.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum By {
    Cause,
    Plugin,
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "write the letter's offset behind it, as in kafka:///iss.dead@17 or jsonl:dead.jsonl@3".to_owned();
        let (uri, number) = text.rsplit_once('@').ok_or_else(wrong)?;
        let uri = uri.parse().map_err(|error: UriError| error.to_string())?;
        let number = number.parse().ok().filter(|number| *number >= 0).ok_or_else(wrong)?;
        Ok(Self { uri, partition: 0, number })
    }
}

impl Dead {
    pub(super) fn run(self, global: Global) -> anyhow::Result<()> {
        match self {
            Self::List { uri, by: Some(by), file, .. } => count(&uri, by, &file, global),
            Self::List { uri, limit, file, .. } => list(&uri, limit, &file, global),
            Self::Show { letter } => {
                let (json, read) = read(&letter.at(), &letter.file)?;
                if global.json {
                    return Ok(line(&json)?);
                }
                Ok(show::all(&read, &mut io::stdout().lock())?)
            }
            Self::Replay { letter, plugin, set, group } => {
                Again { at: letter.at(), plugin, set, group, file: letter.file }.run(global)
            }
        }
    }
}

/// A line for each of the last letters.
fn list(uri: &LettersUri, limit: usize, file: &LogFile, global: Global) -> anyhow::Result<()> {
    let mut last = VecDeque::new();
    read::each(uri, file, &mut |place, json, letter| {
        last.push_back(match (global.json, letter) {
            (true, _) => String::from_utf8_lossy(json).into_owned(),
            (false, Ok(letter)) => format!("{place}  {}", show::short(&letter)),
            (false, Err(error)) => format!("{place}  no dead letter: {}", printable(&error.to_string())),
        });
        if last.len() > limit {
            last.pop_front();
        }
    })?;
    if global.json {
        return Ok(last.iter().try_for_each(|json| line(json.as_bytes()))?);
    }
    let mut out = io::stdout().lock();
    Ok(last.iter().try_for_each(|text| writeln!(out, "{text}"))?)
}

fn count(uri: &LettersUri, by: By, file: &LogFile, global: Global) -> anyhow::Result<()> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    read::each(uri, file, &mut |_, _, letter| {
        let name = match (letter, by) {
            (Err(_), _) => "no dead letter".to_owned(),
            (Ok(letter), By::Cause) => printable(&letter.cause),
            (Ok(letter), By::Plugin) => show::by(&letter),
        };
        *counts.entry(name).or_default() += 1;
    })?;
    let mut out = io::stdout().lock();
    if global.json {
        writeln!(out, "{}", serde_json::to_string(&counts)?)?;
        return Ok(());
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Ok(counts.iter().try_for_each(|(name, count)| writeln!(out, "{count:>10}  {name}"))?)
}

/// A letter as it is kept, fit for a terminal.
fn line(json: &[u8]) -> io::Result<()> {
    let mut line = Vec::new();
    stdout::line(Some(json), &mut line);
    io::stdout().lock().write_all(&line)
}
