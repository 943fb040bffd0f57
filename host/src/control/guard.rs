//! Who may ask: no web page, not even one whose name was made to point here, and over the network only who has the token.
//!
//! A browser says in `Host` which name it was given, and in `Origin` and `Sec-Fetch-Site` whose page asks; all three must be
//! ours. Nothing is ever upgraded, and no answer allows another site anything. What comes over the Unix socket is its
//! owner's, as the file system sees to it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, HOST, HeaderName, HeaderValue, ORIGIN, UPGRADE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use crate::config::text::excerpt;
use crate::control::routes::Failure;
use crate::control::token::Token;

/// A longer request line names nothing that there is.
const LONGEST: usize = 8 << 10;

/// How whatever is served speaks of itself.
pub struct Manner {
    /// In the log.
    pub name: &'static str,
    /// Where a name of this host is added.
    pub names: &'static str,
    /// Where the token is named.
    pub token: &'static str,
    pub refuse: fn(Failure) -> Response,
}

/// Where a request comes in.
pub(super) struct Door {
    manner: &'static Manner,
    /// `None` for a Unix socket.
    network: Option<Authorized>,
}

/// Whom the network may ask for, and with which token; without one it is whoever is on this machine.
struct Authorized {
    token: Option<Token>,
    authorities: Vec<Authority>,
}

impl Door {
    pub fn socket(manner: &'static Manner) -> Self {
        Self { manner, network: None }
    }

    /// `names` are those by which others know this host, with or without a port.
    pub fn network(
        manner: &'static Manner,
        token: Option<Token>,
        address: SocketAddr,
        is_tls: bool,
        names: &[Authority],
    ) -> Self {
        let authorities = authorities(address, is_tls, names);
        Self { manner, network: Some(Authorized { token, authorities }) }
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
        let Some(Authorized { token, authorities }) = &self.network else {
            return if headers.contains_key(ORIGIN) { forbidden("no web page may ask this socket") } else { Ok(()) };
        };
        let ours = |text: &str| text.parse::<Authority>().is_ok_and(|asked| authorities.contains(&asked));
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok()).filter(|_| hosts.next().is_none());
        let absolute = request.uri().authority().is_none_or(|authority| authorities.contains(authority));
        if !absolute || !host.is_some_and(ours) {
            let host = excerpt(host.unwrap_or("none, or several"), 80);
            return forbidden(&format!("this is not host {host}; a name of it is added with {}", self.manner.names));
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
        let Some(token) = token else { return Ok(()) };
        let shown =
            headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).and_then(|shown| shown.strip_prefix(b"Bearer "));
        if !shown.is_some_and(|shown| token.is(shown)) {
            let what = format!("the token of {} is wanted, as `Authorization: Bearer TOKEN`", self.manner.token);
            return Err(Failure(StatusCode::UNAUTHORIZED, what));
        }
        Ok(())
    }
}

/// What callers may call this host.
fn authorities(address: SocketAddr, is_tls: bool, names: &[Authority]) -> Vec<Authority> {
    let port = address.port();
    let own = [address.to_string(), format!("localhost:{port}")];
    let given = names.iter().map(|name| match name.port() {
        Some(_) => name.to_string(),
        None => format!("{name}:{port}"),
    });
    let mut all: Vec<String> = own.into_iter().chain(given).collect();
    // Callers leave out the port that the scheme implies.
    let implied = if is_tls { ":443" } else { ":80" };
    let short: Vec<String> = all.iter().filter_map(|name| name.strip_suffix(implied)).map(str::to_owned).collect();
    all.extend(short);
    all.iter().filter_map(|name| name.parse().ok()).collect()
}

/// Lets a request through, or does not; and says of every answer that it is data, for now, for whoever asked.
pub(super) async fn guard(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let reads = request.method() == Method::GET;
    let (method, path) = (excerpt(request.method().as_str(), 20), excerpt(request.uri().path(), 200));
    let refusal = door.refusal(&request);
    let is_known = refusal.is_ok();
    let mut response = match refusal {
        Ok(()) => next.run(request).await,
        Err(failure) => (door.manner.refuse)(failure),
    };
    // Strangers are not to fill the log.
    if !is_known {
        tracing::debug!("{}: {method} {path}: {}", door.manner.name, response.status());
    } else if !reads || response.status().is_client_error() {
        tracing::info!("{}: {method} {path}: {}", door.manner.name, response.status());
    }
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_the_scheme_implies_may_be_left_out() {
        let named = |address: &str, is_tls, name: &str| {
            let names = authorities(address.parse().unwrap(), is_tls, &[name.parse().unwrap()]);
            names.iter().map(Authority::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(named("127.0.0.1:7070", true, "station"), "127.0.0.1:7070 localhost:7070 station:7070");
        let all = "[::1]:443 localhost:443 station:443 [::1] localhost station";
        assert_eq!(named("[::1]:443", true, "station"), all);
        assert_eq!(named("127.0.0.1:443", false, "[fe80::1]:80"), "127.0.0.1:443 localhost:443 [fe80::1]:80 [fe80::1]");
    }
}
