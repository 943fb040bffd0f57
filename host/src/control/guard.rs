//! Who may ask: no web page, not even one whose name was made to point here, and over the network only who has the token.
//!
//! A browser says in `Host` which name it was given, and in `Origin` and `Sec-Fetch-Site` whose page asks; all three must be
//! ours. Nothing is ever upgraded, and no answer allows another site anything. What comes over the Unix socket is its
//! owner's, as the file system sees to it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN, UPGRADE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::config::text::excerpt;
use crate::control::routes::Failure;
use crate::control::token::Token;

/// A longer request line names nothing that there is.
const LONGEST: usize = 8 << 10;

/// Where a request comes in.
pub(super) enum Door {
    Socket,
    Network { token: Token, authorities: Vec<Authority> },
}

impl Door {
    /// `names` are those by which others know this host, with or without a port.
    pub fn network(token: Token, address: SocketAddr, names: &[Authority]) -> Self {
        let port = address.port();
        let own = [format!("{address}"), format!("localhost:{port}")];
        let given = names.iter().map(|name| match name.port() {
            Some(_) => name.to_string(),
            None => format!("{name}:{port}"),
        });
        let authorities = own.into_iter().chain(given).filter_map(|name| name.parse().ok()).collect();
        Self::Network { token, authorities }
    }

    /// The reason for which a request is not even looked at.
    fn refusal(&self, request: &Request) -> Result<(), Failure> {
        let forbidden = |what: &str| Err(Failure(StatusCode::FORBIDDEN, what.to_owned()));
        let headers = request.headers();
        if request.uri().path_and_query().is_some_and(|path| path.as_str().len() > LONGEST) {
            return Err(Failure(StatusCode::URI_TOO_LONG, format!("more than {LONGEST} bytes of path and query")));
        }
        if headers.contains_key(UPGRADE) || request.method() == Method::CONNECT {
            return forbidden("nothing is upgraded here, nor relayed");
        }
        let Self::Network { token, authorities } = self else {
            return if headers.contains_key(ORIGIN) { forbidden("no web page may ask this socket") } else { Ok(()) };
        };
        let ours = |text: &str| text.parse::<Authority>().is_ok_and(|asked| authorities.contains(&asked));
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok()).filter(|_| hosts.next().is_none());
        let absolute = request.uri().authority().is_none_or(|authority| authorities.contains(authority));
        if !absolute || !host.is_some_and(ours) {
            let host = excerpt(host.unwrap_or("none, or several"), 80);
            return forbidden(&format!("this is not host {host}; a name of it is added with --control-host NAME"));
        }
        for origin in headers.get_all(ORIGIN) {
            let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            if !origin.is_some_and(|(_, authority)| ours(authority)) {
                return forbidden("a page of another site may not ask");
            }
        }
        for site in headers.get_all(HeaderName::from_static("sec-fetch-site")) {
            if site != "same-origin" && site != "none" {
                return forbidden("a page of another site may not ask");
            }
        }
        let shown =
            headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).and_then(|shown| shown.strip_prefix(b"Bearer "));
        if !shown.is_some_and(|shown| token.is(shown)) {
            let what = "the token of --control-token is wanted, as `Authorization: Bearer TOKEN`".to_owned();
            return Err(Failure(StatusCode::UNAUTHORIZED, what));
        }
        Ok(())
    }
}

/// Lets a request through, or does not; and says of every answer that it is data, for now, for whoever asked.
pub(super) async fn guard(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), excerpt(request.uri().path(), 200));
    let mut response = match door.refusal(&request) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    };
    if method != Method::GET || response.status().is_client_error() {
        tracing::info!("control: {method} {path}: {}", response.status());
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
