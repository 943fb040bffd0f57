//! Durations, sizes and choices as a person writes them, the same in a file and on the command line.

use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;

use crate::config::text::{did_you_mean, excerpt, nearest};
use crate::config::{Delivery, Until};
use crate::uri::{TopicUri, UriError};

/// Nobody means more, and clocks can still add it to now.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// A duration from 1 ms to a year: `5s`, `500ms`, `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(pub Duration);

/// A number of bytes, at least one: `64KiB`, `1MiB`, `10MB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// The topic between a source that cannot go back and the plugins, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    None,
    Topic(TopicUri),
}

/// A value that could not be read; the text says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(pub(crate) String);

impl FromStr for Period {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let text = text.trim();
        let shown = excerpt(text, 40);
        if text.parse::<f64>().is_ok() {
            return Err(ValueError(format!("{shown} has no unit; write \"{shown}s\" for seconds, or use ms, m, h")));
        }
        let duration: SignedDuration = text.parse().map_err(|_| {
            ValueError(format!("\"{shown}\" is no duration; write one such as \"5s\", \"500ms\" or \"1h 30m\""))
        })?;
        let duration = Duration::try_from(duration)
            .map_err(|_| ValueError(format!("\"{shown}\" is negative; durations are at least 1ms")))?;
        if duration < Duration::from_millis(1) {
            return Err(ValueError(format!("\"{shown}\" is too short; durations are at least 1ms")));
        }
        if duration > LONGEST {
            return Err(ValueError(format!("\"{shown}\" is too long; durations are at most a year")));
        }
        Ok(Self(duration))
    }
}

impl FromStr for Size {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let text = text.trim();
        let shown = excerpt(text, 40);
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" if !number.is_empty() => {
                return Err(ValueError(format!(
                    "{shown} has no unit; write \"{shown}B\" for bytes, or use KiB, MiB, GiB"
                )));
            }
            "b" => 1,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            _ => 0,
        };
        match number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)) {
            Some(bytes) if bytes > 0 => Ok(Self(bytes)),
            Some(0) if factor > 0 => Err(ValueError(format!("\"{shown}\" is nothing; sizes are at least 1B"))),
            _ => Err(ValueError(format!("\"{shown}\" is no size; write one such as \"64KiB\" or \"1MiB\""))),
        }
    }
}

impl FromStr for Via {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        if text == "none" { Ok(Self::None) } else { text.parse().map(Self::Topic) }
    }
}

impl FromStr for Until {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "stopped" => Ok(Self::Stopped),
            "end" => Ok(Self::End),
            text => match text.parse::<Period>() {
                Ok(period) => Ok(Self::Elapsed(period.0)),
                Err(ValueError(error)) if text.starts_with(|c: char| c.is_ascii_digit()) => Err(ValueError(error)),
                Err(_) => Err(ValueError(format!(
                    "\"{}\" is none of \"stopped\", \"end\" and a duration such as \"95m\"",
                    excerpt(text, 40)
                ))),
            },
        }
    }
}

impl FromStr for Delivery {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let all = [Self::ExactlyOnce, Self::AtLeastOnce].map(|delivery| (delivery.to_string(), delivery));
        if let Some((_, delivery)) = all.iter().find(|(name, _)| name == text) {
            return Ok(*delivery);
        }
        let near = nearest(text, all.iter().map(|(name, _)| name.as_str()));
        let hint =
            near.map_or("; write \"exactly-once\" or \"at-least-once\"".to_owned(), |near| did_you_mean(Some(near)));
        Err(ValueError(format!("unknown delivery \"{}\"{hint}", excerpt(text, 40))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_bounds() {
        let millis = |text: &str| text.parse::<Period>().map(|period| period.0.as_millis()).map_err(|e| e.to_string());
        assert_eq!(millis("5s"), Ok(5_000));
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("95m"), Ok(95 * 60_000));
        assert_eq!(millis("1h 30m"), Ok(90 * 60_000));
        assert_eq!(millis("5").unwrap_err(), "5 has no unit; write \"5s\" for seconds, or use ms, m, h");
        assert_eq!(millis("0s").unwrap_err(), "\"0s\" is too short; durations are at least 1ms");
        assert_eq!(millis("-5s").unwrap_err(), "\"-5s\" is negative; durations are at least 1ms");
        assert_eq!(millis("99999h").unwrap_err(), "\"99999h\" is too long; durations are at most a year");
        assert!(millis("soon").unwrap_err().contains("no duration"));
    }

    #[test]
    fn sizes_have_units_and_do_not_overflow() {
        let bytes = |text: &str| text.parse::<Size>().map(|size| size.0).map_err(|e| e.to_string());
        assert_eq!(bytes("64KiB"), Ok(65_536));
        assert_eq!(bytes("1 MiB"), Ok(1 << 20));
        assert_eq!(bytes("10MB"), Ok(10_000_000));
        assert_eq!(bytes("7").unwrap_err(), "7 has no unit; write \"7B\" for bytes, or use KiB, MiB, GiB");
        assert_eq!(bytes("0B").unwrap_err(), "\"0B\" is nothing; sizes are at least 1B");
        for wrong in ["", "MiB", "99999999999GiB", "1XB", "-1B"] {
            assert!(bytes(wrong).unwrap_err().contains("is no size"), "{wrong}");
        }
    }
}
