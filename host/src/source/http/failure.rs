//! Why a poll gave no message: the cause that is counted, and the words for a person.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// What a failed poll is counted under, as `poll CAUSE`. The table in [`super`] says what each means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Timeout,
    Unreachable,
    Tls,
    Redirect,
    Status(u16),
    TooLarge,
    DecodedTooLarge,
    Encoding,
    NotJson,
    NotCsv,
    Broken,
}

impl Cause {
    pub fn counter(self) -> String {
        format!("poll {self}")
    }

    /// Whether no server was found that can be trusted to be the one meant.
    pub fn nobody_answered(self) -> bool {
        matches!(self, Self::Timeout | Self::Unreachable | Self::Tls | Self::Broken)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Redirect => "redirect refused",
            Self::Status(status) => return write!(f, "status {status}"),
            Self::TooLarge => "too large",
            Self::DecodedTooLarge => "decompressed too large",
            Self::Encoding => "encoding",
            Self::NotJson => NOT_JSON,
            Self::NotCsv => NOT_CSV,
            Self::Broken => "broken reply",
        })
    }
}

/// The causes that send a body to the dead letters.
pub const NOT_JSON: &str = "not json";
pub const NOT_CSV: &str = "not csv";

/// A poll that gave no message.
#[derive(Debug)]
pub struct Failure {
    pub cause: Cause,
    /// What happened, for a person.
    pub text: String,
    /// How long the server asks to be left alone.
    pub retry_after: Option<Duration>,
    /// The body, where it was whole but not what was asked for.
    pub body: Option<Vec<u8>>,
}

impl Failure {
    pub fn new(cause: Cause, text: impl Into<String>) -> Self {
        Self { cause, text: text.into(), retry_after: None, body: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        // Only the innermost cause says something: the outer ones say that a request failed.
        let innermost = chain(&error).last().map_or_else(String::new, ToString::to_string);
        if let Some(tls) = chain(&error).find_map(|e| e.downcast_ref::<native_tls::Error>()) {
            Self::new(Cause::Tls, tls_reason(&tls.to_string()))
        } else if error.is_redirect() {
            Self::new(Cause::Redirect, innermost)
        } else if error.is_connect() {
            Self::new(Cause::Unreachable, innermost)
        } else {
            Self::new(Cause::Broken, format!("the reply broke off or was not HTTP: {innermost}"))
        }
    }
}

/// `error` and what it came from, outermost first.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&e| e.source())
}

/// The TLS library's text with a plain word before it where it is a known one.
fn tls_reason(text: &str) -> String {
    let known = [
        ("expired", "its certificate has expired"),
        ("self-signed", "its certificate is self-signed"),
        ("self signed", "its certificate is self-signed"),
        ("hostname mismatch", "its certificate is for another host"),
        ("ip address mismatch", "its certificate is for another host"),
        ("local issuer", "the issuer of its certificate is not known on this machine"),
    ];
    let lower = text.to_lowercase();
    match known.iter().find(|(sign, _)| lower.contains(sign)) {
        Some((_, plain)) => format!("{plain}: {text}"),
        None => text.to_owned(),
    }
}
