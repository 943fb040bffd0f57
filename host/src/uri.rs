//! Addresses of sources, topics and sinks as a person writes them. No I/O.
//!
//! Paths are taken as they are written: nothing in them is percent-decoded.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::config::text::{did_you_mean, excerpt, nearest};

mod simulate;

pub use simulate::{Flights, Iss, Shape, Simulate, Turnstiles, share};

/// A topic: `kafka://HOST:PORT[,HOST:PORT…]/TOPIC`, or `kafka:///TOPIC` in the embedded log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicUri {
    /// `None` is the embedded log.
    pub brokers: Option<String>,
    pub topic: String,
}

/// A log, and maybe a topic of it: `kafka://HOST:PORT[/TOPIC]`, `kafka:///[TOPIC]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogUri {
    /// `None` is the embedded log.
    pub brokers: Option<String>,
    pub topic: Option<String>,
}

/// Where messages come from.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceUri {
    Http(url::Url),
    Topic(TopicUri),
    File(PathBuf),
    Delta(Location),
    Simulate(Simulate),
}

/// Where files are: `PATH`, or `s3://BUCKET/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    Directory(PathBuf),
    Bucket {
        bucket: String,
        /// Without slashes at its ends; empty for the whole bucket.
        prefix: String,
    },
}

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkUri {
    Topic(TopicUri),
    Csv(Location),
    Parquet(Location),
    Delta(Location),
    Sqlite(PathBuf),
    Stdout,
}

/// What lies between two stages of a line: one writes it, the next one reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Through {
    Topic(TopicUri),
    Delta(Location),
}

/// Where dead letters go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LettersUri {
    Topic(TopicUri),
    /// `jsonl:PATH`: a file, to which lines are appended.
    Lines(PathBuf),
}

/// An address that could not be read; the text says what is wrong and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UriError(String);

const SOURCES: [&str; 6] = ["http", "https", "kafka", "file", "delta", "sim"];
const SINKS: [&str; 6] = ["kafka", "csv", "parquet", "delta", "sqlite", "stdout"];

impl FromStr for SourceUri {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        let Some((scheme, rest)) = split(uri) else {
            return Err(wrong(uri, "no scheme; for a file write ", &format!("\"file:{}\"", excerpt(uri, 80))));
        };
        match scheme.as_str() {
            "http" | "https" => http(uri).map(Self::Http),
            "kafka" => topic(uri, rest).map(Self::Topic),
            "file" => path(uri, "file", rest).map(Self::File),
            "sim" => simulate::simulate(uri, rest).map(Self::Simulate),
            "delta" => location(uri, "delta", rest).map(Self::Delta),
            "parquet" | "sqlite" => Err(wrong(uri, &format!("{scheme}: only writes"), "")),
            "csv" => {
                Err(wrong(uri, "csv: writes; to read a CSV file write ", &format!("\"file:{}\"", excerpt(rest, 80))))
            }
            "stdout" => Err(wrong(uri, "stdout: only writes", "")),
            _ => Err(unknown(uri, &scheme, rest, &SOURCES)),
        }
    }
}

impl FromStr for SinkUri {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        let Some((scheme, rest)) = split(uri) else {
            return Err(wrong(
                uri,
                "no scheme; for CSV files in a directory write ",
                &format!("\"csv:{}\"", excerpt(uri, 80)),
            ));
        };
        match scheme.as_str() {
            "kafka" => topic(uri, rest).map(Self::Topic),
            "csv" => location(uri, "csv", rest).map(Self::Csv),
            "parquet" => location(uri, "parquet", rest).map(Self::Parquet),
            "delta" => location(uri, "delta", rest).map(Self::Delta),
            "sqlite" => path(uri, "sqlite", rest).map(Self::Sqlite),
            "stdout" if rest.is_empty() => Ok(Self::Stdout),
            "stdout" => Err(wrong(uri, "nothing may follow \"stdout:\"", "")),
            "file" => {
                Err(wrong(uri, "file: only reads; to write CSV files into a directory use ", "\"csv:DIRECTORY\""))
            }
            "http" | "https" | "sim" => {
                let sinks = "kafka:, csv:, parquet:, delta:, sqlite: or stdout:";
                Err(wrong(uri, &format!("{scheme}: only reads; a sink is "), sinks))
            }
            _ => Err(unknown(uri, &scheme, rest, &SINKS)),
        }
    }
}

impl FromStr for TopicUri {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        match split(uri) {
            Some((scheme, rest)) if scheme == "kafka" => topic(uri, rest),
            Some((scheme, rest)) => Err(unknown(uri, &scheme, rest, &["kafka"])),
            None => Err(wrong(
                uri,
                "no scheme; for a topic of the embedded log write ",
                &format!("\"kafka:///{}\"", excerpt(uri, 80)),
            )),
        }
    }
}

impl FromStr for Through {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        match split(uri) {
            Some((scheme, rest)) if scheme == "delta" => location(uri, "delta", rest).map(Self::Delta),
            Some((scheme, rest)) if scheme != "kafka" => Err(unknown(uri, &scheme, rest, &["kafka", "delta"])),
            _ => uri.parse().map(Self::Topic),
        }
    }
}

impl FromStr for LettersUri {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        match split(uri) {
            Some((scheme, rest)) if scheme == "jsonl" => path(uri, "jsonl", rest).map(Self::Lines),
            Some((scheme, rest)) if scheme != "kafka" => Err(unknown(uri, &scheme, rest, &["kafka", "jsonl"])),
            _ => uri.parse().map(Self::Topic),
        }
    }
}

impl FromStr for LogUri {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        let rest = uri.strip_prefix("kafka://").unwrap_or("/");
        if uri.starts_with("kafka://") && rest.split_once('/').is_none_or(|(_, topic)| topic.is_empty()) {
            return Ok(Self { brokers: brokers(uri, rest.trim_end_matches('/'))?, topic: None });
        }
        uri.parse().map(|TopicUri { brokers, topic }| Self { brokers, topic: Some(topic) })
    }
}

fn http(uri: &str) -> Result<url::Url, UriError> {
    let slashes = uri.split_once(':').is_some_and(|(_, rest)| rest.starts_with("//") && !rest.starts_with("///"));
    match url::Url::parse(uri) {
        Ok(url) if slashes => Ok(url),
        Ok(url) => Err(wrong(uri, "two slashes follow the colon: ", &format!("\"{url}\""))),
        Err(error) => {
            Err(wrong(uri, &error.to_string(), "; write a URL such as \"http://localhost:8080/iss-now.json\""))
        }
    }
}

fn topic(uri: &str, rest: &str) -> Result<TopicUri, UriError> {
    let Some(rest) = rest.strip_prefix("//") else {
        let topic = excerpt(rest.trim_start_matches('/'), 80);
        return Err(wrong(
            uri,
            "for the embedded log write ",
            &format!("\"kafka:///{topic}\", for a broker \"kafka://HOST:PORT/{topic}\""),
        ));
    };
    let (hosts, topic) = rest.split_once('/').unwrap_or((rest, ""));
    let brokers = brokers(uri, hosts)?;
    if topic.is_empty() {
        return Err(wrong(uri, "no topic is named; write ", &format!("\"kafka://{}/TOPIC\"", excerpt(hosts, 80))));
    }
    crate::log::check_name(topic).map_err(|error| wrong(uri, &error.to_string(), ""))?;
    Ok(TopicUri { brokers, topic: topic.to_owned() })
}

/// `HOST[:PORT]`, several with commas between; nothing is the embedded log.
fn brokers(uri: &str, hosts: &str) -> Result<Option<String>, UriError> {
    if hosts.is_empty() {
        return Ok(None);
    }
    for host in hosts.split(',') {
        let legal = url::Url::parse(&format!("kafka://{host}")).is_ok_and(|url| {
            url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.path().is_empty()
                && url.query().is_none()
        });
        if !legal || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(wrong(
                uri,
                &format!("\"{}\" is no broker", excerpt(host, 80)),
                "; write HOST:PORT, several with commas between",
            ));
        }
    }
    Ok(Some(hosts.to_owned()))
}

fn path(uri: &str, scheme: &str, rest: &str) -> Result<PathBuf, UriError> {
    // Browsers and editors give `file:///absolute`; two slashes would name a host.
    let path = match rest.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(relative) => {
            let relative = excerpt(relative, 80);
            return Err(wrong(
                uri,
                "a path follows the colon, without slashes of its own: ",
                &format!("\"{scheme}:{relative}\" or \"{scheme}:/{relative}\""),
            ));
        }
        None => rest,
    };
    if path.is_empty() {
        return Err(wrong(uri, "no path; write ", &format!("\"{scheme}:PATH\"")));
    }
    Ok(PathBuf::from(path))
}

/// What follows `csv:` and its like.
fn location(uri: &str, scheme: &str, rest: &str) -> Result<Location, UriError> {
    let Some(rest) = rest.strip_prefix("s3://") else { return path(uri, scheme, rest).map(Location::Directory) };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    // https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    let legal = (3..=63).contains(&bucket.len())
        && bucket.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    if !legal {
        let what = format!("\"{}\" cannot name a bucket", excerpt(bucket, 80));
        return Err(wrong(uri, &what, &format!("; write \"{scheme}:s3://BUCKET/PATH\"")));
    }
    let prefix = prefix.trim_end_matches('/');
    if prefix.split('/').any(|part| matches!(part, "." | "..") || (part.is_empty() && !prefix.is_empty())) {
        return Err(wrong(uri, "a path in a bucket has no empty parts, and no \".\" or \"..\"", ""));
    }
    Ok(Location::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

/// The scheme in lower case, and what follows its colon.
fn split(uri: &str) -> Option<(String, &str)> {
    let (scheme, rest) = uri.split_once(':')?;
    let legal = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    legal.then(|| (scheme.to_ascii_lowercase(), rest))
}

fn wrong(uri: &str, what: &str, hint: &str) -> UriError {
    UriError(format!("{}: {what}{hint}", excerpt(uri, 120)))
}

fn unknown(uri: &str, scheme: &str, rest: &str, known: &[&str]) -> UriError {
    let hint = if rest.starts_with(|c: char| c.is_ascii_digit()) && known.contains(&"kafka") {
        // `localhost:9092/topic`: a host and its port.
        did_you_mean(Some(format!("kafka://{}", excerpt(uri, 80))))
    } else if scheme == "s3" && known.contains(&"delta") {
        // It says where, and not what.
        let format = if known.contains(&"parquet") { "parquet" } else { "delta" };
        did_you_mean(Some(format!("{format}:{}", excerpt(uri, 80))))
    } else if let Some(near) = nearest(scheme, known.iter().copied()) {
        did_you_mean(Some(near))
    } else {
        format!("; use one of {}", known.iter().map(|scheme| format!("{scheme}:")).collect::<Vec<_>>().join(", "))
    };
    wrong(uri, &format!("unknown scheme \"{}\"", excerpt(scheme, 40)), &hint)
}

impl fmt::Display for TopicUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kafka://{}/{}", self.brokers.as_deref().unwrap_or_default(), self.topic)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

impl fmt::Display for Through {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(topic) => write!(f, "{topic}"),
            Self::Delta(table) => write!(f, "delta:{table}"),
        }
    }
}

impl fmt::Display for LettersUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(topic) => write!(f, "{topic}"),
            Self::Lines(path) => write!(f, "jsonl:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests;
