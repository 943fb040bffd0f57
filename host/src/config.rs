//! What a pipeline file or a command line means, resolved: no `Option` here means "default".

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::log::Start;
use crate::plugin::Limits;
use crate::uri::{Simulate, TopicUri};
use crate::{sink, source};

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
    pub plugins: Vec<PluginSpec>,
    pub sink: Sink,
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
