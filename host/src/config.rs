//! What a pipeline file or a command line means, resolved: no `Option` here means "default".
//!
//! Reading opens the pipeline file and nothing else: whether a plugin, a broker or a directory
//! is there is found out by who uses it.

mod asked;
pub mod error;
pub mod overrides;
mod resolve;
mod rules;
pub mod set;
pub mod text;
pub mod values;
mod written;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::Error;
pub use overrides::Overrides;

use asked::Asked;
use rules::Contradiction;

use crate::failures::Rule;
use crate::log::Start;
use crate::plugin::Limits;
use crate::query::options as query;
use crate::schema::options as schema;
use crate::source::file::Format;
use crate::uri::{LettersUri, Location, Simulate, SinkUri, SourceUri, TopicUri};
use crate::{objects, sink, source};

/// Open Notify's position of the ISS: the source when none is named.
pub const DEFAULT_SOURCE: &str = "http://api.open-notify.org/iss-now.json";

/// How long a broker keeps a transaction open unless the client asks otherwise; as the Kafka sink asks by default.
const TRANSACTION: Duration = Duration::from_secs(10);

/// One pipeline, ready to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    pub name: String,
    pub source: Source,
    /// Through which topic a source that cannot go back sends its messages.
    pub via: Option<TopicUri>,
    /// The partitions of topics that are created.
    pub partitions: u32,
    /// The consumer group: who remembers how far this pipeline has read.
    pub group: String,
    pub until: Until,
    /// Threads that share the partitions.
    pub workers: usize,
    /// Most messages of one batch.
    pub batch: usize,
    /// After this long without a message, event time in a partition goes on by the clock.
    pub idle: Duration,
    /// Whether every window closes at the end of the source, because no more will come.
    pub close: bool,
    pub plugins: Vec<PluginSpec>,
    pub sink: Sink,
    /// Of what is read from a topic.
    pub source_schema: Option<schema::Options>,
    /// Of what is written to a topic.
    pub sink_schema: Option<schema::Options>,
    pub delivery: Delivery,
    /// How often results to a topic, or state without results, are committed.
    pub interval: Duration,
    /// The pipeline that fills the topic which this one reads, where a plugin has `through`.
    pub upstream: Option<Box<Pipeline>>,
    pub dead_letters: LettersUri,
    /// What becomes of messages that a plugin fails on.
    pub failures: Rule,
    /// The file of the embedded log.
    pub log: PathBuf,
    /// librdkafka settings.
    pub client: BTreeMap<String, String>,
    /// The service behind `s3://`.
    pub s3: objects::Options,
    /// What can be asked; of the last pipeline of a line only.
    pub queries: Option<query::Options>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Http(source::http::Options),
    /// A simulator that the host starts, polled with these options (the URL's address is not known yet).
    Simulate(Simulate, source::http::Options),
    Topic(TopicUri, Start),
    File(source::file::Options),
    Delta(source::delta::Options),
}

/// How often a message can have its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Output, state and position are one step.
    ExactlyOnce,
    /// The position comes last: after a crash, what was in one commit comes again.
    AtLeastOnce,
}

/// When a run ends by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Until {
    /// Only when asked.
    Stopped,
    /// At the end of what there is at the start.
    End,
    /// After this time.
    Elapsed(Duration),
}

#[derive(Debug, Clone, PartialEq)]
pub struct PluginSpec {
    pub path: PathBuf,
    /// A JSON object.
    pub settings: serde_json::Value,
    pub limits: Limits,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Sink {
    Topic(TopicUri),
    Csv(sink::csv::Options),
    Parquet(sink::parquet::Options),
    Delta(sink::delta::Options),
    Sqlite(sink::sqlite::Options),
    Stdout,
}

impl Pipeline {
    /// Reads a pipeline file, with what the command line changes about it. Paths of plugins come out relative to the
    /// file, all others as written.
    pub fn read(path: &Path, overrides: &Overrides) -> Result<Self, Error> {
        let text = error::read(path)?;
        let mistake = |fault| Error::mistake(path, &text, fault);
        let (mut asked, places) =
            written::parse(&text).and_then(|written| resolve::resolve(written, path)).map_err(mistake)?;
        asked.change(overrides)?;
        asked.resolve().map_err(|contradiction| match overrides.names(contradiction.key) {
            true => contradiction.in_arguments(),
            false => mistake(places.fault(contradiction)),
        })
    }

    /// A pipeline that is written on the command line alone.
    pub fn new(
        name: &str,
        source: Source,
        plugins: Vec<PluginSpec>,
        sink: Sink,
        overrides: &Overrides,
    ) -> Result<Self, Error> {
        let mut asked = Asked::new(name, source, plugins, sink);
        asked.change(overrides)?;
        asked.resolve().map_err(Contradiction::in_arguments)
    }

    /// The line of pipelines that ends with this one, first to last: each fills the topic that the next one reads.
    pub fn line(&self) -> Vec<&Self> {
        let mut line: Vec<&Self> = std::iter::successors(Some(self), |pipeline| pipeline.upstream.as_deref()).collect();
        line.reverse();
        line
    }

    /// The topic that the plugins read from; `None` where they read the source itself.
    pub fn reads(&self) -> Option<&TopicUri> {
        match &self.source {
            Source::Topic(topic, _) => Some(topic),
            _ => self.via.as_ref(),
        }
    }

    /// Where the files and tables are that it reads and writes.
    pub fn locations(&self) -> impl Iterator<Item = &Location> {
        let source = match &self.source {
            Source::Delta(options) => Some(&options.table),
            _ => None,
        };
        let sink = match &self.sink {
            Sink::Csv(options) => Some(&options.files.location),
            Sink::Parquet(options) => Some(&options.files.location),
            Sink::Delta(options) => Some(&options.table),
            Sink::Topic(_) | Sink::Sqlite(_) | Sink::Stdout => None,
        };
        source.into_iter().chain(sink)
    }

    /// Whether dead letters are in the same log as the output, and so in the same step.
    pub fn letters_with_sink(&self) -> bool {
        match (&self.sink, &self.dead_letters) {
            (Sink::Topic(topic), LettersUri::Topic(letters)) => topic.brokers == letters.brokers,
            _ => false,
        }
    }

    /// How long what is written may wait for its commit: half of the time after which the broker ends a transaction.
    /// `None` without transactions.
    pub fn longest_open(&self) -> Option<Duration> {
        let in_kafka = matches!(&self.sink, Sink::Topic(topic) if topic.brokers.is_some());
        let timeout = self.client.get("transaction.timeout.ms").and_then(|timeout| timeout.parse().ok());
        let timeout = timeout.map_or(TRANSACTION, Duration::from_millis);
        (in_kafka && self.delivery == Delivery::ExactlyOnce).then_some(timeout / 2)
    }

    /// Why not every message can have its effect exactly once; `None` where it can.
    pub fn obstacle(&self) -> Option<String> {
        let read = self.reads();
        if read.is_none() && !self.source.goes_back() {
            return Some(
                "what is polled is kept nowhere, so a crash loses what is not yet written; let it go through a topic \
                 (`via`)"
                    .to_owned(),
            );
        }
        match (&self.sink, read) {
            (Sink::Stdout, _) => Some(
                "standard output cannot take back what it showed before a crash; write to a topic or to files"
                    .to_owned(),
            ),
            (Sink::Topic(TopicUri { brokers: Some(to), .. }), Some(TopicUri { brokers: Some(from), .. }))
                if from != to =>
            {
                Some(format!(
                    "a transaction in kafka://{to} cannot hold positions in kafka://{from}, so a worker that has lost a \
                     partition could still write; read and write one cluster, named in the same way"
                ))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ExactlyOnce => "exactly-once",
            Self::AtLeastOnce => "at-least-once",
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(options) => write!(f, "{}", options.url),
            Self::Simulate(simulate, _) => write!(f, "{simulate}"),
            Self::Topic(topic, _) => write!(f, "{topic}"),
            Self::File(options) => write!(f, "file:{}", options.path.display()),
            Self::Delta(options) => write!(f, "delta:{}", options.table),
        }
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(topic) => write!(f, "{topic}"),
            Self::Csv(options) => write!(f, "csv:{}", options.files.location),
            Self::Parquet(options) => write!(f, "parquet:{}", options.files.location),
            Self::Delta(options) => write!(f, "delta:{}", options.table),
            Self::Sqlite(options) => write!(f, "sqlite:{}", options.path.display()),
            Self::Stdout => f.write_str("stdout:"),
        }
    }
}

impl Source {
    /// The source at `uri` with every default. The error is a sentence that starts with the URI.
    pub fn new(uri: &SourceUri) -> Result<Self, String> {
        Ok(match uri {
            SourceUri::Http(url) => Self::Http(poll(url.clone())),
            SourceUri::Simulate(simulate) => Self::Simulate(simulate.clone(), simulated(simulate)),
            SourceUri::Topic(topic) => Self::Topic(topic.clone(), Start::Earliest),
            SourceUri::Delta(table) => {
                Self::Delta(source::delta::Options { table: table.clone(), start: source::delta::Start::Earliest })
            }
            SourceUri::File(path) => {
                let format = format_of(path).ok_or_else(|| {
                    let path = text::excerpt(&path.display().to_string(), 80);
                    format!("file:{path}: the name does not say the format; set `format = \"csv\"` or `format = \"jsonl\"` in a pipeline file")
                })?;
                Self::File(source::file::Options { path: path.clone(), format, follow: false })
            }
        })
    }

    /// Whether what was read can be read again. What cannot goes through a topic first.
    pub fn goes_back(&self) -> bool {
        matches!(self, Self::Topic(..) | Self::File(_) | Self::Delta(_))
    }

    /// As others may see it: without what is often secret in a URL.
    pub fn shown(&self) -> String {
        match self {
            Self::Http(options) => {
                let mut url = options.url.clone();
                url.set_query(None);
                // Only a URL that has no host has none of these.
                let _ = url.set_username("").and_then(|()| url.set_password(None));
                url.to_string()
            }
            source => source.to_string(),
        }
    }

    /// The polling options of a source that is polled.
    pub fn polled(&mut self) -> Option<&mut source::http::Options> {
        match self {
            Self::Http(options) | Self::Simulate(_, options) => Some(options),
            Self::Topic(..) | Self::File(_) | Self::Delta(_) => None,
        }
    }

    /// `NAME.FEED`, so that no topic ever holds two feeds: the simulator with its shape, or the URL's host with its
    /// port. It can be too long for a topic.
    fn default_via(&self, name: &str) -> Option<TopicUri> {
        let feed = match self {
            Self::Simulate(simulate, _) => simulate.feed().to_owned(),
            Self::Http(options) => {
                let port = options.url.port().map(|port| format!("-{port}")).unwrap_or_default();
                let host = options.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
                // Such as the colons of an IPv6 address.
                let illegal = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
                host.replace(illegal, "-") + &port
            }
            Self::Topic(..) | Self::File(_) | Self::Delta(_) => return None,
        };
        Some(TopicUri { brokers: None, topic: format!("{name}.{feed}") })
    }
}

impl Sink {
    /// The sink at `uri` with every default, of the pipeline of this name.
    pub fn new(uri: &SinkUri, name: &str) -> Self {
        match uri {
            SinkUri::Topic(topic) => Self::Topic(topic.clone()),
            SinkUri::Csv(location) => Self::Csv(sink::csv::Options {
                files: sink::files::Options::new(location.clone()),
                compression: sink::csv::Compression::None,
                escape_formulas: false,
            }),
            SinkUri::Parquet(location) => Self::Parquet(sink::parquet::Options {
                files: sink::files::Options::new(location.clone()),
                compression: sink::parquet::Compression::Zstd,
            }),
            SinkUri::Delta(table) => Self::delta(table.clone()),
            SinkUri::Sqlite(path) => {
                Self::Sqlite(sink::sqlite::Options { path: path.clone(), table: name.to_owned(), key: Vec::new() })
            }
            SinkUri::Stdout => Self::Stdout,
        }
    }

    fn delta(table: Location) -> Self {
        let (every, size, partition_by) = (Duration::from_secs(5), 64 << 20, Vec::new());
        Self::Delta(sink::delta::Options { table, every, size, partition_by })
    }
}

fn poll(url: url::Url) -> source::http::Options {
    source::http::Options {
        url,
        every: Duration::from_secs(5),
        deadline: Duration::from_secs(10),
        max_body: 1 << 20,
        max_decoded: 8 << 20,
        distinct: None,
        key: None,
    }
}

/// Polling a simulator, on a port that is known only once it runs.
fn simulated(simulate: &Simulate) -> source::http::Options {
    let mut url = url::Url::parse("http://127.0.0.1:0/").expect("a URL that is written here");
    url.set_path(crate::simulate::paths(simulate)[0]);
    // What the turnstiles send is CSV, with the id of the message in its twelfth field.
    let key = matches!(simulate, Simulate::Turnstiles(_)).then_some(source::http::Key::Field(11));
    source::http::Options { key, ..poll(url) }
}

fn format_of(path: &Path) -> Option<Format> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    match extension.as_str() {
        "csv" => Some(Format::Csv { header: true, delimiter: b',' }),
        "tsv" => Some(Format::Csv { header: true, delimiter: b'\t' }),
        "jsonl" | "ndjson" | "json" => Some(Format::JsonLines),
        _ => None,
    }
}
