//! The settings, as written and as used.

use apogee_sdk::Frame;
use jiff::SignedDuration;
use jiff::fmt::strtime;
use schemars::JsonSchema;
use serde::Deserialize;

/// The settings of a pipeline file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How long a window is, such as `30s`. Windows are aligned to the Unix epoch.
    pub window: Option<Length>,
    /// How long after one window the next begins; by default when it ends.
    pub slide: Option<Length>,
    /// Instead of `window`: after how long without a message of its group a window ends.
    pub session: Option<Length>,
    /// How long after its end a window still takes messages; by default not at all.
    #[serde(default)]
    pub grace: Length,
    /// How far a message may be ahead of all before it; one that is further is rejected. By default any.
    pub ahead: Option<Length>,
    /// The fields to group by, by their flattened names. Without any it is the message's key.
    #[serde(default)]
    pub by: Vec<String>,
    /// `count`, `sum(F)`, `min(F)`, `max(F)`, `avg(F)` of a field, or `duplicates`; by default `count`.
    #[serde(default = "count")]
    pub aggregates: Vec<Aggregation>,
    /// The fields that name a message: of those that agree in them, a window counts the first, whatever its group. Two
    /// that agree must come in one partition, so this and `by` have the fields in common by which messages are keyed.
    #[serde(default)]
    pub distinct: Vec<String>,
    /// What is put out, in this order; by default the fields in `by`, the aggregates, `start` and `end`.
    pub fields: Option<Vec<Pick>>,
    /// When to put out a window.
    #[serde(default)]
    pub emit: Emit,
}

fn count() -> Vec<Aggregation> {
    vec![Aggregation::Count]
}

/// A field of what is put out.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pick {
    /// A field in `by`, an aggregate by its name, such as `sum_F` for `sum(F)`, or `start` or `end`, the window's.
    pub from: String,
    /// What it is called; by default as it is.
    pub name: Option<String>,
    /// How `start` or `end` is written in UTC, as `strftime` says it; by default as RFC 3339 has it.
    pub format: Option<String>,
}

/// When a window is put out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Emit {
    /// Once, when it is over; its timestamp is the last millisecond of the window.
    #[default]
    Close,
    /// As it stands after each message; its timestamp is that of the message.
    Change,
}

/// A length of time in milliseconds; written as `500ms`, `30s`, `5m` or `1h 30m`.
#[derive(Debug, Default, Clone, Copy, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Length(pub i64);

impl TryFrom<String> for Length {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let duration: Option<SignedDuration> = text.parse().ok();
        let whole = duration.filter(|it| !it.is_negative() && it.subsec_nanos() % 1_000_000 == 0);
        let milliseconds = whole.and_then(|it| i64::try_from(it.as_millis()).ok());
        milliseconds.map(Self).ok_or_else(|| format!("{text:?} is no length of time such as \"30s\" or \"500ms\""))
    }
}

/// What is put out of a window; a field by its flattened name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub enum Aggregation {
    Count,
    Duplicates,
    Sum(String),
    Min(String),
    Max(String),
    Avg(String),
}

impl TryFrom<String> for Aggregation {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let of = text.strip_suffix(')').and_then(|text| text.split_once('(')).filter(|(_, field)| !field.is_empty());
        let (name, field) = of.map_or((text.as_str(), None), |(name, field)| (name, Some(field.to_owned())));
        match (name, field) {
            ("count", None) => Ok(Self::Count),
            ("duplicates", None) => Ok(Self::Duplicates),
            ("sum", Some(field)) => Ok(Self::Sum(field)),
            ("min", Some(field)) => Ok(Self::Min(field)),
            ("max", Some(field)) => Ok(Self::Max(field)),
            ("avg", Some(field)) => Ok(Self::Avg(field)),
            _ => Err(format!(
                "{text:?} is no aggregate; there are count, duplicates, sum(FIELD), min(FIELD), max(FIELD) and avg(FIELD)"
            )),
        }
    }
}

impl Aggregation {
    /// Its name in what is put out.
    pub fn name(&self) -> String {
        match self {
            Self::Count => "count".to_owned(),
            Self::Duplicates => "duplicates".to_owned(),
            Self::Sum(field) => format!("sum_{field}"),
            Self::Min(field) => format!("min_{field}"),
            Self::Max(field) => format!("max_{field}"),
            Self::Avg(field) => format!("avg_{field}"),
        }
    }

    pub fn kind(&self) -> apogee_sdk::Kind {
        match self {
            Self::Count | Self::Duplicates => apogee_sdk::Kind::Integer,
            _ => apogee_sdk::Kind::Float,
        }
    }

    /// The field whose numbers it takes.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Count | Self::Duplicates => None,
            Self::Sum(field) | Self::Min(field) | Self::Max(field) | Self::Avg(field) => Some(field),
        }
    }
}

/// One field of what is put out.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Its place among the [`names`](Settings::names).
    pub from: usize,
    pub name: String,
    /// How a time is written, where not as RFC 3339 has it.
    pub format: Option<String>,
}

fn different(names: &[String]) -> Result<(), String> {
    let twice = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name));
    twice.map_or(Ok(()), |(_, name)| Err(format!("settings: two outgoing fields are called `{name}`")))
}

impl Settings {
    /// How time is cut; the settings must fit together.
    pub fn frame(&self) -> Result<Frame, String> {
        let duplicates = self.aggregates.contains(&Aggregation::Duplicates);
        match (self.window, self.slide, self.session) {
            _ if self.aggregates.is_empty() => Err("settings: `aggregates` is empty; leave it out to count".to_owned()),
            _ if duplicates && self.distinct.is_empty() => {
                Err("settings: `duplicates` needs `distinct`, the fields that name a message".to_owned())
            }
            (None, None, Some(_)) if !self.distinct.is_empty() => {
                Err("settings: `distinct` needs `window`; of two sessions that join, both have counted".to_owned())
            }
            (None, None, Some(gap)) => Ok(Frame::Session { gap: gap.0 }),
            (Some(size), None, None) => Ok(Frame::Tumbling { size: size.0 }),
            (Some(size), Some(slide), None) => Ok(Frame::Hopping { size: size.0, slide: slide.0 }),
            _ => Err("settings: give `window`, maybe with `slide`, or `session`".to_owned()),
        }
    }

    /// The names of all that can be put out, which must differ: of the group, of the aggregates, of start and end.
    pub fn names(&self) -> Result<Vec<String>, String> {
        let aggregates = self.aggregates.iter().map(Aggregation::name);
        let edges = ["start", "end"].map(str::to_owned);
        let names: Vec<String> = self.by.iter().cloned().chain(aggregates).chain(edges).collect();
        different(&names)?;
        Ok(names)
    }

    /// What is put out, in order: which of the [`names`](Self::names), as what, and how.
    pub fn outgoing(&self) -> Result<Vec<Outgoing>, String> {
        let names = self.names()?;
        let Some(picks) = &self.fields else {
            let all = names.into_iter().enumerate();
            return Ok(all.map(|(from, name)| Outgoing { from, name, format: None }).collect());
        };
        if picks.is_empty() {
            return Err("settings: `fields` is empty; leave it out to put out all there is".to_owned());
        }
        let is_edge = |from: usize| from + 2 >= names.len();
        let outgoing = |pick: &Pick| {
            let Pick { from, name, format } = pick;
            let known = || format!("settings: `fields` takes `{from}`, and there are {}", names.join(", "));
            let place = names.iter().position(|it| it == from).ok_or_else(known)?;
            if format.is_some() && !is_edge(place) {
                return Err(format!("settings: `{from}` is no time and has no `format`; `start` and `end` have"));
            }
            if let Some(format) = format {
                strtime::format(format, jiff::Timestamp::UNIX_EPOCH)
                    .map_err(|error| format!("settings: `format` of `{from}`: {error}"))?;
            }
            Ok(Outgoing { from: place, name: name.as_ref().unwrap_or(from).clone(), format: format.clone() })
        };
        let outgoing = picks.iter().map(outgoing).collect::<Result<Vec<_>, _>>()?;
        different(&outgoing.iter().map(|it| it.name.clone()).collect::<Vec<_>>())?;
        Ok(outgoing)
    }
}
