//! A pipeline file as it is written: every key that there is, where it stands, nothing decided.
//!
//! The tables are flat, because toml loses the place of what is inside an internally tagged enum.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Visitor};
use toml::Spanned;

use crate::config::error::{Fault, fault};
use crate::config::text::{did_you_mean, excerpt, nearest};
use crate::config::values::{Period, Size, Via};
use crate::config::{Delivery, Until};
use crate::uri::{LettersUri, SinkUri, SourceUri, Through};

/// A value and its place, where the key is there.
pub(super) type Given<T> = Option<Spanned<T>>;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pipeline {
    pub name: Given<String>,
    pub log: Given<PathBuf>,
    pub workers: Given<u32>,
    pub dead_letters: Given<Text<LettersUri>>,
    pub source: Given<Source>,
    #[serde(default)]
    pub client: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    pub plugin: Option<List<Spanned<Plugin>>>,
    #[serde(default)]
    pub failures: Failures,
    pub sink: Given<Sink>,
    #[serde(default)]
    pub s3: S3,
    pub queries: Given<Queries>,
    pub query: Option<List<Spanned<Query>>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub uri: Given<Text<SourceUri>>,
    pub every: Given<Text<Period>>,
    pub deadline: Given<Text<Period>>,
    pub max_body: Given<Text<Size>>,
    pub max_decoded: Given<Text<Size>>,
    pub distinct: Given<String>,
    pub via: Given<Text<Via>>,
    pub partitions: Given<u32>,
    pub group: Given<String>,
    pub start: Given<String>,
    pub until: Given<Text<Until>>,
    pub batch: Given<u32>,
    pub idle: Given<Text<Period>>,
    pub close: Given<bool>,
    pub format: Given<String>,
    pub header: Given<bool>,
    pub delimiter: Given<String>,
    pub follow: Given<bool>,
    pub version: Given<u32>,
    pub key: Given<Key>,
    pub schema: Given<Schema>,
}

/// Where the key of a polled message is: a JSON pointer, or the number of a CSV field, counted from 1.
#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "write a JSON pointer such as \"/id\", or the number of a CSV field, counted from 1")]
pub(super) enum Key {
    Pointer(String),
    Field(u32),
}

/// `[source.schema]`, `[sink.schema]` and, beside a `through`, `[plugin.schema]`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Schema {
    pub avro: Given<PathBuf>,
    pub json: Given<PathBuf>,
    pub wire: Given<String>,
    pub registry: Given<Text<url::Url>>,
    pub subject: Given<String>,
}

/// `[s3]`: the service behind `s3://`.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct S3 {
    pub endpoint: Given<Text<url::Url>>,
    pub region: Given<String>,
    pub profile: Given<String>,
    pub credentials: Given<PathBuf>,
    pub access_key_file: Given<PathBuf>,
    pub secret_key_file: Given<PathBuf>,
}

/// `[queries]`: where queries are answered.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Queries {
    pub listen: Given<Text<std::net::SocketAddr>>,
    pub token: Given<PathBuf>,
    pub certificate: Given<PathBuf>,
    pub key: Given<PathBuf>,
    pub hosts: Given<Vec<String>>,
    pub database: Given<PathBuf>,
    pub results: Given<PathBuf>,
    pub begin: Given<String>,
    pub stay: Given<bool>,
}

/// `[[query]]`: one question that is answered.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    pub path: Given<String>,
    pub summary: Given<String>,
    pub sql: Given<String>,
    pub plugin: Given<String>,
    pub question: Given<String>,
    #[serde(default)]
    pub parameters: BTreeMap<Spanned<String>, Spanned<Parameter>>,
    pub rows: Given<u32>,
    pub time: Given<Text<Period>>,
    pub save: Given<bool>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameter {
    pub kind: Given<String>,
    pub default: Given<toml::Value>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plugin {
    pub file: Given<PathBuf>,
    pub through: Given<Text<Through>>,
    pub schema: Given<Schema>,
    pub settings: Given<toml::Table>,
    #[serde(default)]
    pub limits: Limits,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub memory: Given<Text<Size>>,
    pub call: Given<Text<Period>>,
    pub output_messages: Given<u32>,
    pub output_bytes: Given<Text<Size>>,
    pub table_elements: Given<u32>,
    pub resources: Given<u32>,
    pub log_lines: Given<u32>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Failures {
    pub policy: Given<String>,
    pub most: Given<u32>,
    pub of: Given<u32>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sink {
    pub uri: Given<Text<SinkUri>>,
    pub every: Given<Text<Period>>,
    pub size: Given<Text<Size>>,
    pub window: Given<Text<Period>>,
    pub path: Given<String>,
    pub compression: Given<String>,
    pub escape_formulas: Given<bool>,
    pub partition_by: Given<Vec<String>>,
    pub table: Given<String>,
    pub key: Given<Vec<String>>,
    pub schema: Given<Schema>,
    pub delivery: Given<Text<Delivery>>,
    pub interval: Given<Text<Period>>,
}

/// Tables with a header each, `[[plugin]]`.
pub(super) struct List<T>(pub Vec<T>);

/// A value that is written as text, such as a duration or a URI.
pub(super) struct Text<T>(pub T);

/// Reads the text of a pipeline file.
pub(super) fn parse(text: &str) -> Result<Pipeline, Fault> {
    toml::from_str(text).map_err(|error| {
        if let Some((key, _)) = unknown_field(error.message())
            && ["secret", "password", "token", "access_key"].iter().any(|word| key.contains(word))
            && elsewhere(key).is_none()
        {
            // Without its line, which may show what is to be kept.
            return fault(None, format!("{}; no secret is ever in a pipeline file", explain(error.message(), "")));
        }
        let span = error.span().filter(|span| !span.is_empty() || span.start > 0);
        let source = span.clone().and_then(|span| text.get(span)).unwrap_or_default();
        fault(span, explain(error.message(), source))
    })
}

/// What serde and toml say, in the words of someone who writes a file. `source` is the text they point at.
fn explain(message: &str, source: &str) -> String {
    if let Some((key, known)) = unknown_field(message) {
        let hint = match nearest(key, known.iter().copied()) {
            Some(near) => did_you_mean(Some(near)),
            None => elsewhere(key).unwrap_or_else(|| format!("; the keys here are {}", known.join(", "))),
        };
        return format!("unknown key \"{}\"{hint}", excerpt(key, 60));
    }
    if let Some(mismatch) = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: ")) {
        let (found, expected) = mismatch.split_once(", expected ").unwrap_or((mismatch, "something else"));
        let expected = match expected {
            "a string" | "path string" | "a path" => "text in quotes",
            "a boolean" => "true or false",
            "u32" => "a whole number from 0 to 4294967295",
            "a map" => "a table",
            expected if expected.starts_with("struct ") => "a table",
            expected => expected,
        };
        return format!("this is {}; write {expected}", excerpt(&found.replace('`', ""), 80));
    }
    match message.trim_end() {
        "duplicate key" => format!("\"{}\" is there twice; remove one", excerpt(source, 60)),
        message if message.starts_with("string values must be quoted") => {
            "no value; write one, and text in quotes".to_owned()
        }
        message => excerpt(message, 300).replace("\\n", "; "),
    }
}

/// The key and the known ones, from serde's words for a key that is not known.
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let (key, known) = message.strip_prefix("unknown field `")?.split_once("`, expected ")?;
    // The known keys stand in backticks: every second piece.
    Some((key, known.split('`').skip(1).step_by(2).collect()))
}

/// In which table a key belongs that was written in another one.
fn elsewhere(key: &str) -> Option<String> {
    let tables = [
        ("[source]", keys::<Source>()),
        ("[sink]", keys::<Sink>()),
        ("[plugin.limits]", keys::<Limits>()),
        ("[failures]", keys::<Failures>()),
        ("[s3]", keys::<S3>()),
        ("[queries]", keys::<Queries>()),
        ("[[query]]", keys::<Query>()),
        ("[sink.schema] or [source.schema]", keys::<Schema>()),
        ("[[plugin]]", keys::<Plugin>()),
        ("the top of the file", keys::<Pipeline>()),
    ];
    let homes: Vec<&str> =
        tables.into_iter().filter(|(_, keys)| keys.iter().any(|known| known == key)).map(|(table, _)| table).collect();
    (!homes.is_empty()).then(|| format!("; it belongs into {}", homes.join(" or ")))
}

/// The keys of a table, as serde lists them when it meets one that is not among them.
fn keys<T: for<'de> Deserialize<'de>>() -> Vec<String> {
    let Err(error) = toml::from_str::<T>("' ' = 0") else {
        return Vec::new();
    };
    unknown_field(error.message()).map(|(_, known)| known.into_iter().map(str::to_owned).collect()).unwrap_or_default()
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FromText(PhantomData))
    }
}

struct FromText<T>(PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for FromText<T> {
    type Value = Text<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text<T>, E> {
        text.parse().map(Text).map_err(E::custom)
    }

    /// A bare number lacks its unit, and the type itself says so best.
    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Text<T>, E> {
        self.visit_str(&number.to_string())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FromList(PhantomData))
    }
}

struct FromList<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FromList<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a [[plugin]] table for each plugin")
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<List<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(List(list))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, _: A) -> Result<List<T>, A::Error> {
        Err(serde::de::Error::custom("there can be several plugins, so the header has two brackets: [[plugin]]"))
    }
}
