//! What a pipeline file or a command line means, resolved: no `Option` here means "default".
//!
//! Reading opens the pipeline file and nothing else: whether a plugin, a broker or a directory
//! is there is found out by who uses it.

pub mod error;
pub mod overrides;
mod resolve;
pub mod text;
pub mod values;
mod written;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::Error;
pub use overrides::Overrides;

use crate::log::Start;
use crate::plugin::Limits;
use crate::source::file::Format;
use crate::uri::{Shape, Simulate, SinkUri, SourceUri, TopicUri};
use crate::{sink, source};

/// Open Notify's position of the ISS: the source when none is named.
pub const DEFAULT_SOURCE: &str = "http://api.open-notify.org/iss-now.json";

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
    pub delivery: Delivery,
    /// How often results to a topic, or state without results, are committed.
    pub interval: Duration,
    /// The pipeline that fills the topic which this one reads, where a plugin has `through`.
    pub upstream: Option<Box<Pipeline>>,
    pub dead_letters: TopicUri,
    /// The file of the embedded log.
    pub log: PathBuf,
    /// librdkafka settings.
    pub client: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Http(source::http::Options),
    /// A simulator that the host starts, polled with these options (the URL's address is not known yet).
    Simulate(Simulate, source::http::Options),
    Topic(TopicUri, Start),
    File(source::file::Options),
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
    Stdout,
}

impl Pipeline {
    /// Reads a pipeline file. Paths of plugins come out relative to the file, all others as written.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = error::read(path)?;
        written::parse(&text)
            .and_then(|written| resolve::resolve(written, path))
            .map_err(|fault| Error::mistake(path, &text, fault))
    }

    /// A pipeline with every default. The error is a sentence about `name`.
    pub fn new(name: &str, source: Source, plugins: Vec<PluginSpec>, sink: Sink) -> Result<Self, String> {
        // It names the group and the topics `NAME.FEED` and `NAME.dead`.
        let dead = format!("{name}.dead");
        crate::log::check_name(name).and_then(|()| crate::log::check_name(&dead)).map_err(|_| {
            let name = text::excerpt(name, 80);
            format!("\"{name}\" cannot name a pipeline, whose name is that of its topics: use up to 244 letters, digits, '.', '_' and '-'")
        })?;
        Ok(Self {
            name: name.to_owned(),
            via: source.default_via(name),
            partitions: 1,
            group: name.to_owned(),
            until: source.default_until(),
            workers: 1,
            batch: crate::log::BATCH_MESSAGES,
            idle: Duration::from_secs(60),
            close: matches!(source, Source::File(_)),
            delivery: sink.default_delivery(),
            interval: sink.default_interval(),
            upstream: None,
            source,
            plugins,
            sink,
            dead_letters: TopicUri { brokers: None, topic: dead },
            log: PathBuf::from("apogee.db"),
            client: BTreeMap::new(),
        })
    }

    /// The topic that the plugins read from; `None` where they read the source itself.
    pub fn reads(&self) -> Option<&TopicUri> {
        match &self.source {
            Source::Topic(topic, _) => Some(topic),
            _ => self.via.as_ref(),
        }
    }

    /// The first thing that makes no sense together: the key it hangs on, and a sentence.
    fn contradiction(&self) -> Option<(&'static str, String)> {
        let read = self.reads();
        if self.source.goes_back() && self.via.is_some() {
            return Some((
                "via",
                "is for sources that cannot go back (http:, sim:); this one can, so leave it out".into(),
            ));
        }
        if let Some(via) = &self.via
            && crate::log::check_name(&via.topic).is_err()
        {
            return Some((
                "via",
                format!(
                    "by default it is {}, which is longer than a topic's name can be (249); name a topic, or rename the pipeline",
                    text::excerpt(&via.topic, 80)
                ),
            ));
        }
        if !self.source.goes_back() && self.until == Until::End {
            return Some((
                "until",
                "\"end\" never comes for a source that is polled; use \"stopped\" or a duration such as \"95m\"".into(),
            ));
        }
        if let (Source::File(file), Until::End) = (&self.source, &self.until)
            && file.follow
        {
            return Some((
                "until",
                "\"end\" never comes for a file that is followed; leave out one of `until` and `follow`".into(),
            ));
        }
        if let (Sink::Topic(sink), Some(read)) = (&self.sink, read)
            && sink == read
        {
            return Some((
                "sink",
                format!("{sink} is what this pipeline reads, so it would go round for ever; write to another topic"),
            ));
        }
        if Some(&self.dead_letters) == read {
            return Some((
                "dead_letters",
                format!(
                    "{} is what this pipeline reads, so it would go round for ever; use another topic",
                    self.dead_letters
                ),
            ));
        }
        None
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(options) => write!(f, "{}", options.url),
            Self::Simulate(simulate, _) => write!(f, "{simulate}"),
            Self::Topic(topic, _) => write!(f, "{topic}"),
            Self::File(options) => write!(f, "file:{}", options.path.display()),
        }
    }
}

impl Source {
    /// The source at `uri` with every default. The error is a sentence that starts with the URI.
    pub fn new(uri: &SourceUri) -> Result<Self, String> {
        Ok(match uri {
            SourceUri::Http(url) => Self::Http(poll(url.clone())),
            SourceUri::Simulate(simulate) => Self::Simulate(simulate.clone(), poll(simulated(simulate))),
            SourceUri::Topic(topic) => Self::Topic(topic.clone(), Start::Earliest),
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
        matches!(self, Self::Topic(..) | Self::File(_))
    }

    /// The polling options of a source that is polled.
    pub fn polled(&mut self) -> Option<&mut source::http::Options> {
        match self {
            Self::Http(options) | Self::Simulate(_, options) => Some(options),
            Self::Topic(..) | Self::File(_) => None,
        }
    }

    /// `NAME.FEED`, so that no topic ever holds two feeds: the simulator with its shape, or the URL's host with its
    /// port. It can be too long for a topic.
    fn default_via(&self, name: &str) -> Option<TopicUri> {
        let feed = match self {
            Self::Simulate(Simulate { shape: Shape::OpenNotify, .. }, _) => "iss".to_owned(),
            Self::Simulate(Simulate { shape: Shape::WhereTheIssAt, .. }, _) => "iss-wheretheiss".to_owned(),
            Self::Http(options) => {
                let port = options.url.port().map(|port| format!("-{port}")).unwrap_or_default();
                let host = options.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
                // Such as the colons of an IPv6 address.
                let illegal = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
                host.replace(illegal, "-") + &port
            }
            Self::Topic(..) | Self::File(_) => return None,
        };
        Some(TopicUri { brokers: None, topic: format!("{name}.{feed}") })
    }

    fn default_until(&self) -> Until {
        match self {
            Self::File(file) if !file.follow => Until::End,
            _ => Until::Stopped,
        }
    }
}

impl Sink {
    /// Exactly once wherever output and position can be one step.
    fn default_delivery(&self) -> Delivery {
        match self {
            Self::Topic(_) | Self::Csv(_) => Delivery::ExactlyOnce,
            Self::Stdout => Delivery::AtLeastOnce,
        }
    }

    fn default_interval(&self) -> Duration {
        match self {
            Self::Topic(_) | Self::Stdout => Duration::from_millis(100),
            Self::Csv(_) => Duration::from_secs(10),
        }
    }

    /// The sink at `uri` with every default.
    pub fn new(uri: &SinkUri) -> Self {
        match uri {
            SinkUri::Topic(topic) => Self::Topic(topic.clone()),
            SinkUri::Csv(directory) => Self::Csv(sink::csv::Options {
                directory: directory.clone(),
                every: Duration::from_secs(60),
                size: 128 << 20,
                escape_formulas: false,
            }),
            SinkUri::Stdout => Self::Stdout,
        }
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
    }
}

/// The simulator's URL on a port that is known only once it runs.
fn simulated(simulate: &Simulate) -> url::Url {
    let url = match simulate.shape {
        Shape::OpenNotify => "http://127.0.0.1:0/iss-now.json",
        Shape::WhereTheIssAt => "http://127.0.0.1:0/v1/satellites/25544",
    };
    url.parse().expect("a URL that is written here")
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
