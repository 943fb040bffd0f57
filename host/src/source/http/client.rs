//! The HTTP client of the poller: whom it talks to, and where it lets itself be sent.
//!
//! It refuses every redirect that would leave the host, and takes no proxy from the environment: the
//! one address that a poll reaches is the one that the pipeline names.

use reqwest::redirect::{Action, Attempt, Policy};
use url::Url;

/// Most redirects of one poll.
const MAX_REDIRECTS: usize = 5;

/// Why a redirect was not followed.
#[derive(Debug, thiserror::Error)]
pub enum RedirectError {
    #[error("it redirects more than {MAX_REDIRECTS} times")]
    TooMany,
    #[error("it redirects from https to http, to {0}")]
    Downgrade(String),
    #[error("it redirects to another host or port, {0}; poll that URL if you trust it")]
    Elsewhere(String),
}

/// A client for one endpoint.
pub fn build() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(concat!("apogee/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::custom(follow_or_refuse))
        .referer(false)
        .no_proxy()
        .build()
}

fn follow_or_refuse(attempt: Attempt) -> Action {
    let Some(from) = attempt.previous().last() else {
        return attempt.stop();
    };
    match check(from, attempt.url(), attempt.previous().len()) {
        Ok(()) => attempt.follow(),
        Err(error) => attempt.error(error),
    }
}

/// Whether the `hop`-th redirect may go `from` there `to` here.
fn check(from: &Url, to: &Url, hop: usize) -> Result<(), RedirectError> {
    let upgrade = from.scheme() == "http" && to.scheme() == "https";
    let same_port = from.port_or_known_default() == to.port_or_known_default();
    // The usual upgrade goes from port 80 to port 443, and names neither.
    let usual_ports = upgrade && from.port().is_none() && to.port().is_none();
    if hop > MAX_REDIRECTS {
        Err(RedirectError::TooMany)
    } else if from.scheme() == "https" && to.scheme() != "https" {
        Err(RedirectError::Downgrade(place(to)))
    } else if from.host() != to.host() || !(same_port || usual_ports) || !(upgrade || from.scheme() == to.scheme()) {
        Err(RedirectError::Elsewhere(place(to)))
    } else {
        Ok(())
    }
}

/// Host and port for an error text. The server wrote them, so they are cut; a URL has no control characters.
fn place(url: &Url) -> String {
    let host: String = url.host_str().unwrap_or("nowhere").chars().take(100).collect();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}", url.scheme())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(from: &str, to: &str) -> String {
        check(&Url::parse(from).unwrap(), &Url::parse(to).unwrap(), 1).map_or_else(|e| e.to_string(), |()| "ok".into())
    }

    #[test]
    fn a_redirect_stays_on_its_host() {
        assert_eq!(verdict("http://a/x", "http://a/y"), "ok");
        assert_eq!(verdict("http://a/x", "https://a/x"), "ok");
        assert_eq!(verdict("http://a:81/x", "https://a:81/x"), "ok");
        let elsewhere = |to| format!("it redirects to another host or port, {to}; poll that URL if you trust it");
        assert_eq!(verdict("http://a/x", "http://b/x"), elsewhere("http://b"));
        assert_eq!(verdict("http://a/x", "http://169.254.169.254/x"), elsewhere("http://169.254.169.254"));
        assert_eq!(verdict("http://a/x", "http://a:81/x"), elsewhere("http://a:81"));
        assert_eq!(verdict("http://a/x", "https://a:444/x"), elsewhere("https://a:444"));
        assert_eq!(verdict("https://a/x", "http://a/x"), "it redirects from https to http, to http://a");
    }
}
