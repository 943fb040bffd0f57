//! What an error of a bucket means: that something is to be mended first, or only that nobody answered.

use std::error::Error as _;

use crate::config::text::excerpt;
use crate::log::LogError;
use crate::sink::SinkError;
use crate::source::SourceError;

/// Why something could not be done with objects. Holds no key.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Trouble {
    /// Which bucket, folder or object, as a URI.
    pub place: String,
    /// What is wrong, and what to do.
    pub what: String,
    /// Nobody answered, or not in time: it can be tried again. Else somebody has to do something first.
    pub interrupted: bool,
}

impl Trouble {
    pub fn new(place: &str, error: object_store::Error) -> Self {
        // The client's own words hold the answer's body, which may name the access key.
        let text = chain(&error);
        let (code, status) = (code_in(&text), status(&text));
        let what = match code {
            Some("NoSuchBucket") => "the bucket is not there; create it, or name another one".to_owned(),
            Some("InvalidAccessKeyId") => "the service does not know the access key; give it another one, as \
                `access_key_file` in [s3], in AWS_ACCESS_KEY_ID or in the profile"
                .to_owned(),
            Some("SignatureDoesNotMatch") => {
                "the secret key is not the one that belongs to the access key; mend it, as \
                `secret_key_file` in [s3], in AWS_SECRET_ACCESS_KEY or in the profile"
                    .to_owned()
            }
            Some("ExpiredToken" | "InvalidToken") => {
                "the session's token does not hold any more; get new keys".to_owned()
            }
            Some("RequestTimeTooSkewed") => "this machine's clock is not that of the service; set it".to_owned(),
            Some("AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException") => {
                wrong_region()
            }
            _ if text.contains("incorrectly configured region") => wrong_region(),
            _ if matches!(status, Some(401 | 403)) => {
                format!("the keys give no right to this{}; give them the right, or use others", said(code))
            }
            Some("NoSuchUpload") => "the upload was ended by somebody else".to_owned(),
            Some("InvalidPart") => "the service has lost a part of the upload".to_owned(),
            _ if matches!(status, Some(400..500)) && status != Some(404) => {
                format!("the service refuses with status {}{}", status.unwrap_or_default(), said(code))
            }
            _ if status.is_some() => {
                format!("the service answered with status {}{}", status.unwrap_or_default(), said(code))
            }
            _ => format!(
                "the service does not answer as it should: {}; is it there, where `endpoint` in [s3] or AWS_ENDPOINT_URL says?",
                excerpt(innermost(&error).trim(), 200)
            ),
        };
        // What is gone, and what somebody else was quicker with, is found again as it is by who begins anew.
        let again = matches!(code, Some("NoSuchUpload" | "InvalidPart"))
            || matches!(status, None | Some(404 | 408 | 409 | 412 | 429 | 500..));
        let local = matches!(error, object_store::Error::InvalidPath { .. } | object_store::Error::NotSupported { .. });
        let interrupted = again && !local && code != Some("NoSuchBucket") && !text.contains("configured region");
        Self { place: place.to_owned(), what, interrupted }
    }
}

impl From<Trouble> for SinkError {
    fn from(Trouble { place, what, interrupted }: Trouble) -> Self {
        if interrupted { Self::Interrupted { place, what } } else { Self::Place { place, what } }
    }
}

impl From<Trouble> for SourceError {
    fn from(Trouble { place, what, interrupted }: Trouble) -> Self {
        match interrupted {
            true => Self::Log(LogError::Interrupted { log: place, error: what }),
            false => Self::Unreachable(format!("{place}: {what}")),
        }
    }
}

fn wrong_region() -> String {
    "the bucket is in another region; name it as `region` in [s3], in AWS_REGION or in the profile".to_owned()
}

fn said(code: Option<&str>) -> String {
    code.map(|code| format!(" ({})", excerpt(code, 50))).unwrap_or_default()
}

/// All that an error and its causes say.
fn chain(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}\n{error}");
        cause = error.source();
    }
    text
}

fn innermost(error: &object_store::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// The code by which the service said what is wrong, such as `NoSuchBucket`; none where it did not say.
pub fn code(error: &object_store::Error) -> Option<String> {
    code_in(&chain(error)).map(str::to_owned)
}

/// The code in the body of an answer, as S3 has it.
fn code_in(text: &str) -> Option<&str> {
    Some(text.split_once("<Code>")?.1.split_once("</Code>")?.0)
}

/// The status of the answer, as the client's error tells it.
fn status(text: &str) -> Option<u16> {
    text.split_once("status code: ")?.1.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(text: &str) -> Trouble {
        let error = object_store::Error::Generic { store: "S3", source: text.to_owned().into() };
        Trouble::new("s3://b", error)
    }

    #[test]
    fn what_is_to_be_mended_is_told_from_what_passes() {
        let answer = |status: &str, code: &str| {
            let key = "<AWSAccessKeyId>AKIAHUSH</AWSAccessKeyId>";
            let text =
                format!("Server returned non-2xx status code: {status}: <Error><Code>{code}</Code>{key}</Error>");
            let trouble = trouble(&text);
            assert!(!trouble.what.contains("HUSH"), "{trouble}");
            (trouble.interrupted, trouble.what)
        };
        for (status, code, says) in [
            ("404 Not Found", "NoSuchBucket", "create it"),
            ("403 Forbidden", "InvalidAccessKeyId", "access key"),
            ("403 Forbidden", "SignatureDoesNotMatch", "secret key"),
            ("403 Forbidden", "AccessDenied", "no right to this (AccessDenied)"),
            ("400 Bad Request", "AuthorizationHeaderMalformed", "another region"),
            ("400 Bad Request", "InvalidRequest", "refuses with status 400 (InvalidRequest)"),
        ] {
            let (interrupted, what) = answer(status, code);
            assert!(!interrupted && what.contains(says), "{code}: {what}");
        }
        for (status, code) in [
            ("503 Service Unavailable", "SlowDown"),
            ("404 Not Found", "NoSuchUpload"),
            ("400 Bad Request", "InvalidPart"),
        ] {
            assert!(answer(status, code).0, "{code}");
        }
        assert!(trouble("error sending request: connection refused").interrupted);
        assert!(!trouble("Received redirect without LOCATION, ... incorrectly configured region").interrupted);
    }
}
