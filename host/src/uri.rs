//! Addresses of sources, topics and sinks as a person writes them. No I/O.

use std::path::PathBuf;

/// A topic: `kafka://HOST:PORT[,HOST:PORT…]/TOPIC`, or `kafka:///TOPIC` in the embedded log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicUri {
    /// `None` is the embedded log.
    pub brokers: Option<String>,
    pub topic: String,
}

/// Where messages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceUri {
    Http(url::Url),
    Topic(TopicUri),
    File(PathBuf),
    Simulate(Simulate),
}

/// `sim:iss`, as Open Notify serves it; `sim:iss?shape=wheretheiss` as wheretheiss.at does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulate {
    pub shape: Shape,
    /// Simulated milliseconds from one reply to the next; `None` follows the clock.
    pub step: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    OpenNotify,
    WhereTheIssAt,
}

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkUri {
    Topic(TopicUri),
    Csv(PathBuf),
    Stdout,
}
