//! `sim:NAME?PARAMETERS`: feeds that are simulated. What is not said has a default.

use std::fmt;
use std::str::FromStr;

use super::{UriError, wrong};
use crate::config::text::{did_you_mean, excerpt, nearest};
use crate::config::values::Period;

/// A simulated feed.
#[derive(Debug, Clone, PartialEq)]
pub enum Simulate {
    Iss(Iss),
    Turnstiles(Turnstiles),
    Flights(Flights),
}

/// `sim:iss`, as Open Notify serves it; `sim:iss?shape=wheretheiss` as wheretheiss.at does.
#[derive(Debug, Clone, PartialEq)]
pub struct Iss {
    pub shape: Shape,
    /// Simulated milliseconds from one reply to the next; `None` follows the clock.
    pub step: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    OpenNotify,
    WhereTheIssAt,
}

/// `sim:turnstiles`: counts of subway turnstiles, a row of CSV a reply.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Turnstiles {
    /// Simulated milliseconds from one reply to the next; `None` follows the clock.
    pub step: Option<u64>,
    /// The same seed and step give the same replies.
    pub seed: u64,
    /// The share of replies, from 0 to 1, that repeat an earlier one …
    pub duplicates: f64,
    /// … and of those that say a time that has long passed.
    pub late: f64,
}

/// `sim:flights`: rows of the shape of OpenFlights' routes, one a reply.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Flights {
    /// The same seed gives the same rows.
    pub seed: u64,
}

const NAMES: [&str; 3] = ["iss", "turnstiles", "flights"];

/// What follows `sim:`.
pub(super) fn simulate(uri: &str, rest: &str) -> Result<Simulate, UriError> {
    let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (mut iss, mut turnstiles, mut flights) =
        (Iss { shape: Shape::OpenNotify, step: None }, Turnstiles::default(), Flights::default());
    let known: &[&str] = match name {
        "iss" => &["shape", "step"],
        "turnstiles" => &["step", "seed", "duplicates", "late"],
        "flights" => &["seed"],
        _ => {
            let hint = match nearest(name, NAMES) {
                Some(near) => did_you_mean(Some(format!("sim:{near}"))),
                None => format!("; there are {}", NAMES.map(|name| format!("\"sim:{name}\"")).join(", ")),
            };
            return Err(wrong(uri, &format!("unknown simulator \"{}\"", excerpt(name, 40)), &hint));
        }
    };
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let value = value.as_ref();
        match key.as_ref() {
            unknown if !known.contains(&unknown) => {
                let hint = did_you_mean(nearest(unknown, known.iter().copied()));
                return Err(wrong(uri, &format!("unknown parameter \"{}\"", excerpt(unknown, 40)), &hint));
            }
            "shape" => iss.shape = value.parse().map_err(|error: UriError| wrong(uri, &error.0, ""))?,
            "step" => {
                let step: Period = value.parse().map_err(|error| wrong(uri, &format!("step: {error}"), ""))?;
                iss.step = Some(u64::try_from(step.0.as_millis()).unwrap_or(u64::MAX));
                turnstiles.step = iss.step;
            }
            "seed" => {
                let seed = value.parse().map_err(|_| wrong(uri, "seed: write a whole number", ""))?;
                (turnstiles.seed, flights.seed) = (seed, seed);
            }
            "duplicates" => turnstiles.duplicates = share(value).map_err(|what| wrong(uri, "duplicates: ", what))?,
            _ => turnstiles.late = share(value).map_err(|what| wrong(uri, "late: ", what))?,
        }
    }
    Ok(match name {
        "iss" => Simulate::Iss(iss),
        "turnstiles" => Simulate::Turnstiles(turnstiles),
        _ => Simulate::Flights(flights),
    })
}

/// A share from 0 to 1.
pub fn share(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or("a share is a number from 0 to 1, such as 0.05")
}

impl FromStr for Shape {
    type Err = UriError;

    fn from_str(shape: &str) -> Result<Self, UriError> {
        match shape {
            "open-notify" => Ok(Self::OpenNotify),
            "wheretheiss" => Ok(Self::WhereTheIssAt),
            _ => Err(UriError(format!(
                "unknown shape \"{}\"; there are \"open-notify\" and \"wheretheiss\"",
                excerpt(shape, 40)
            ))),
        }
    }
}

impl Simulate {
    /// A short name of the feed, for a topic.
    pub fn feed(&self) -> &'static str {
        match self {
            Self::Iss(Iss { shape: Shape::OpenNotify, .. }) => "iss",
            Self::Iss(Iss { shape: Shape::WhereTheIssAt, .. }) => "iss-wheretheiss",
            Self::Turnstiles(_) => "turnstiles",
            Self::Flights(_) => "flights",
        }
    }
}

impl fmt::Display for Simulate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parameters = Vec::new();
        let name = match self {
            Self::Iss(Iss { shape, step }) => {
                parameters.extend((*shape == Shape::WhereTheIssAt).then(|| "shape=wheretheiss".to_owned()));
                parameters.extend(step.map(|step| format!("step={step}ms")));
                "iss"
            }
            Self::Turnstiles(Turnstiles { step, seed, duplicates, late }) => {
                parameters.extend(step.map(|step| format!("step={step}ms")));
                parameters.extend((*seed != 0).then(|| format!("seed={seed}")));
                parameters.extend((*duplicates != 0.0).then(|| format!("duplicates={duplicates}")));
                parameters.extend((*late != 0.0).then(|| format!("late={late}")));
                "turnstiles"
            }
            Self::Flights(Flights { seed }) => {
                parameters.extend((*seed != 0).then(|| format!("seed={seed}")));
                "flights"
            }
        };
        let separator = if parameters.is_empty() { "" } else { "?" };
        write!(f, "sim:{name}{separator}{}", parameters.join("&"))
    }
}
