//! Takes in the body of a request: so many bytes, in so much time, and not slower than a line that is of any use.
//! What the request says of names, paths or dispositions is not looked at.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::HttpBody;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use tokio::time::{Instant, timeout_at};

use crate::control::routes::Failure;

/// The largest component that is taken.
const LARGEST: usize = 64 << 20;
/// All of it must have come by then.
const LONGEST: Duration = Duration::from_secs(60);
/// How much later than at `RATE` a byte may come.
const LATE: Duration = Duration::from_secs(5);
/// Bytes in a second.
const RATE: usize = 64 << 10;

/// The component that a request carries.
pub(super) async fn component(request: Request) -> Result<Vec<u8>, Failure> {
    let headers = request.headers();
    if headers.get(CONTENT_TYPE).is_none_or(|kind| kind != "application/wasm") {
        let what = "the body is a component, with `Content-Type: application/wasm`".to_owned();
        return Err(Failure(StatusCode::UNSUPPORTED_MEDIA_TYPE, what));
    }
    let too_large = || Failure(StatusCode::PAYLOAD_TOO_LARGE, format!("a component has at most {} MiB", LARGEST >> 20));
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > LARGEST as u64) {
        return Err(too_large());
    }
    let mut body = request.into_body();
    let mut component = Vec::new();
    let start = Instant::now();
    loop {
        let due = start + LONGEST.min(LATE + Duration::from_secs((component.len() / RATE) as u64));
        let frame = timeout_at(due, poll_fn(|context| Pin::new(&mut body).poll_frame(context))).await;
        let frame = frame.map_err(|_| {
            let what = format!("the body came too slowly: {} bytes in {:?}", component.len(), start.elapsed());
            Failure(StatusCode::REQUEST_TIMEOUT, what)
        })?;
        let Some(frame) = frame else { return Ok(component) };
        let frame = frame.map_err(|error| Failure(StatusCode::BAD_REQUEST, format!("the body broke off: {error}")))?;
        let Ok(bytes) = frame.into_data() else { continue };
        if component.len() + bytes.len() > LARGEST {
            return Err(too_large());
        }
        component.extend_from_slice(&bytes);
    }
}
