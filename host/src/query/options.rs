//! What a pipeline file says of queries, resolved.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where questions are answered, and which ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub listen: SocketAddr,
    /// The file of the token that must be shown; without one only whoever is on this machine is answered.
    pub token: Option<PathBuf>,
    /// Certificate and key, in PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Names by which others know this host.
    pub hosts: Vec<String>,
    /// The file of the tables; `None` is that of the sink.
    pub database: Option<PathBuf>,
    /// Where answers are saved that are to be.
    pub results: PathBuf,
    /// The path on which the pipeline begins to read, and which answers with what has become of the messages.
    pub begin: Option<String>,
    /// Whether questions are answered after the end of the input, until the host is stopped.
    pub stay: bool,
    pub queries: Vec<Query>,
}

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Such as `/top10`.
    pub path: String,
    pub summary: Option<String>,
    pub ask: Ask,
    pub parameters: Vec<Parameter>,
    /// Most rows of an answer.
    pub rows: usize,
    /// Longest time that an answer takes.
    pub time: Duration,
    /// Whether answers are saved, as `results/NAME.csv`.
    pub save: bool,
}

/// Whom to ask.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// The tables, in SQL.
    Tables(String),
    /// The live state of the plugin of this name.
    Plugin { name: String, question: String },
}

/// What a caller may say, bound in SQL as `:NAME`.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    pub name: String,
    pub kind: Kind,
    /// `None` where a caller must say it.
    pub default: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Integer,
    Float,
    Boolean,
}
