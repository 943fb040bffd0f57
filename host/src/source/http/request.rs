//! One poll: a request, and a reply that is whole, bounded and JSON, or a [`Failure`].
//!
//! Nothing of a body is read beyond the bounds, so neither an endless body nor one that swells when it
//! is decompressed costs more memory than they allow (Invariants 3 and 8).

use std::io::Read;
use std::time::{Duration, SystemTime};

use flate2::read::MultiGzDecoder;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};

use super::Options;
use super::failure::{Cause, Failure};
use super::key::{self, Key};

/// The longest that a server is left alone when it asks for it.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Polls once, within the deadline. Gives the body, decompressed.
pub async fn get(client: &Client, options: &Options) -> Result<Vec<u8>, Failure> {
    let (gzip, raw) = within(options.deadline, async {
        let response = send(client, options).await?;
        let gzip = is_gzip(response.headers())?;
        Ok((gzip, body(response, options.max_body).await?))
    })
    .await?;
    let body = if gzip { decompress(&raw, options.max_decoded)? } else { bounded(raw, options.max_decoded)? };
    match &options.key {
        Some(Key::Field(_)) => check_csv(body),
        _ => check_json(body),
    }
}

/// Sends a request and waits for the head of a good reply, no longer than the deadline.
pub async fn headers(client: &Client, options: &Options) -> Result<(), Failure> {
    within(options.deadline, send(client, options)).await.map(drop)
}

async fn within<T>(deadline: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(deadline, work).await {
        Ok(result) => result,
        Err(_) => Err(Failure::new(Cause::Timeout, format!("no whole reply within {deadline:?}"))),
    }
}

async fn send(client: &Client, options: &Options) -> Result<Response, Failure> {
    let request = client.get(options.url.clone());
    let accept = if matches!(options.key, Some(Key::Field(_))) { "text/csv" } else { "application/json" };
    let request = request.header(ACCEPT, accept).header(ACCEPT_ENCODING, "gzip");
    let response = request.send().await?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let mut failure = Failure::new(Cause::Status(status.as_u16()), format!("it answers with status {status}"));
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        let value = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        failure.retry_after = value.and_then(|value| retry_after(value, SystemTime::now()));
    }
    Err(failure)
}

/// `Retry-After` in either of its forms, seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let wait = match value.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        // A date that has passed asks for no wait.
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Failure> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    match (codings.next().map(|coding| coding.to_str().unwrap_or_default()), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.eq_ignore_ascii_case("identity") => Ok(false),
        (Some(coding), None) if coding.eq_ignore_ascii_case("gzip") => Ok(true),
        _ => {
            Err(Failure::new(Cause::Encoding, "its body is encoded, and not by gzip, which is all that was asked for"))
        }
    }
}

async fn body(mut response: Response, limit: u64) -> Result<Vec<u8>, Failure> {
    let too_large = || Failure::new(Cause::TooLarge, format!("its body has more than {limit} bytes"));
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if (body.len() + chunk.len()) as u64 > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn decompress(raw: &[u8], limit: u64) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    MultiGzDecoder::new(raw)
        .take(limit.saturating_add(1))
        .read_to_end(&mut body)
        .map_err(|error| Failure::new(Cause::Encoding, format!("its gzip is broken: {error}")))?;
    bounded(body, limit)
}

fn bounded(body: Vec<u8>, limit: u64) -> Result<Vec<u8>, Failure> {
    if body.len() as u64 > limit {
        let text = format!("its body has more than {limit} bytes once decompressed");
        return Err(Failure::new(Cause::DecodedTooLarge, text));
    }
    Ok(body)
}

/// Gives the body back when it is one JSON value in UTF-8.
fn check_json(body: Vec<u8>) -> Result<Vec<u8>, Failure> {
    let error = match std::str::from_utf8(&body) {
        Err(error) => error.to_string(),
        Ok(text) => match serde_json::from_str::<serde::de::IgnoredAny>(text) {
            Err(error) => error.to_string(),
            Ok(_) => return Ok(body),
        },
    };
    Err(not_as_asked(Cause::NotJson, "JSON", &error, body))
}

/// Gives the body back when it is one row of CSV in UTF-8.
fn check_csv(body: Vec<u8>) -> Result<Vec<u8>, Failure> {
    match key::row(&body) {
        Ok(_) => Ok(body),
        Err(error) => Err(not_as_asked(Cause::NotCsv, "a row of CSV", &error, body)),
    }
}

fn not_as_asked(cause: Cause, what: &str, error: &str, body: Vec<u8>) -> Failure {
    let start: String = String::from_utf8_lossy(&body).chars().take(60).collect();
    let text = format!("it is not {what} ({error}): {start:?}");
    Failure { body: Some(body), ..Failure::new(cause, text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_has_two_forms_and_a_cap() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:40 GMT", now), Some(Duration::from_secs(3)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("86400", now), Some(MAX_RETRY_AFTER));
        assert_eq!(retry_after("99999999999999999999", now), None);
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn only_one_json_value_in_utf_8_is_json() {
        for good in [&br#"{"a": [1, "x", null]}"#[..], b" 1 ", "\"é\"".as_bytes()] {
            assert_eq!(check_json(good.to_vec()).unwrap(), good);
        }
        for bad in [&b""[..], b"NaN", br#"{"a": NaN}"#, b"{} {}", b"<html>", b"{\"a\": \"\xff\"}", b"\xef\xbb\xbf{}"] {
            let failure = check_json(bad.to_vec()).unwrap_err();
            assert_eq!((failure.cause, failure.body.as_deref()), (Cause::NotJson, Some(bad)));
        }
    }
}
