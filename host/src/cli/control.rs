//! The flags that say how a host that runs can be asked, and those by which a command finds it.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::http::uri::Authority;
use clap::Args;
use native_tls::TlsAcceptor;
use url::{Host, Url};

use crate::config::Error;
use crate::config::error::unreadable;
use crate::control::api::Status;
use crate::control::client::{self, ClientError, Remote};
use crate::control::server::Network;
use crate::control::tls;
use crate::control::token::{Token, VARIABLE};

/// How a host listens, besides on its Unix socket, and whether it follows its plugins' files.
#[derive(Debug, Default, Args)]
pub(super) struct Listen {
    /// Also serve the control interface over HTTP, such as on 127.0.0.1:7070; needs a token
    #[arg(long, value_name = "IP:PORT")]
    control: Option<SocketAddr>,
    /// The token that callers over HTTP show; a file of its owner's alone [default: $APOGEE_CONTROL_TOKEN]
    #[arg(long, value_name = "FILE", requires = "control")]
    control_token: Option<PathBuf>,
    /// A certificate (PEM) to serve the control interface over HTTPS
    #[arg(long, value_name = "FILE", requires = "control", requires = "control_key")]
    control_cert: Option<PathBuf>,
    /// Its key (PEM, PKCS #8)
    #[arg(long, value_name = "FILE", requires = "control_cert")]
    control_key: Option<PathBuf>,
    /// Another name by which callers over HTTP know this machine
    #[arg(long, value_name = "NAME", requires = "control")]
    control_host: Vec<Authority>,
    /// Swap each plugin for its file's new content whenever the file changes
    #[arg(long)]
    pub(super) watch: bool,
}

impl Listen {
    /// Refuses what would let strangers in.
    pub(super) fn network(&self) -> Result<Option<Network>, Error> {
        let Some(address) = self.control else { return Ok(None) };
        let token = Token::find(self.control_token.as_deref())?.ok_or_else(|| {
            Error::Arguments(format!(
                "--control {address}: whoever reaches it must show a token; add --control-token FILE, or set {VARIABLE}"
            ))
        })?;
        let tls = self.tls()?;
        if tls.is_none() && !address.ip().is_loopback() {
            return Err(Error::Arguments(format!(
                "--control {address}: others can reach this address, so the token would pass in the clear; add \
                 --control-cert FILE and --control-key FILE, or listen on 127.0.0.1"
            )));
        }
        let (named, names) = ("--control", self.control_host.clone());
        Ok(Some(Network { address, named, token: Some(token), tls, names }))
    }

    fn tls(&self) -> Result<Option<TlsAcceptor>, Error> {
        let (Some(certificate), Some(key)) = (&self.control_cert, &self.control_key) else { return Ok(None) };
        let named = format!("--control-cert {}, --control-key {}", certificate.display(), key.display());
        tls::acceptor(certificate, key, &named).map(Some)
    }
}

/// Which hosts a command asks: by default all of this user on this machine.
#[derive(Debug, Args)]
pub(super) struct Reach {
    /// Ask the host at this URL instead of those of this user on this machine
    #[arg(long, value_name = "URL")]
    control: Option<Url>,
    /// The token to show there [default: $APOGEE_CONTROL_TOKEN]
    #[arg(long, value_name = "FILE", requires = "control")]
    control_token: Option<PathBuf>,
    /// Certificates (PEM) to trust there besides those of the system
    #[arg(long, value_name = "FILE", requires = "control")]
    control_ca: Option<PathBuf>,
}

impl Reach {
    /// Every host, with what it runs.
    pub(super) fn hosts(&self) -> anyhow::Result<Vec<(client::Host, Status)>> {
        Ok(client::hosts(self.remote()?.as_ref())?)
    }

    /// The hosts that run a pipeline.
    pub(super) fn running(&self, pipeline: &str) -> anyhow::Result<Vec<(client::Host, Status)>> {
        Ok(client::running(pipeline, self.remote()?.as_ref())?)
    }

    /// Asks each host that runs a pipeline in turn, and stops at the first error.
    pub(super) fn each<T>(
        &self,
        pipeline: &str,
        mut ask: impl FnMut(&client::Host) -> Result<T, ClientError>,
    ) -> anyhow::Result<Vec<T>> {
        Ok(self.running(pipeline)?.iter().map(|(host, _)| ask(host)).collect::<Result<_, _>>()?)
    }

    fn remote(&self) -> Result<Option<Remote>, Error> {
        let Some(url) = &self.control else { return Ok(None) };
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        };
        if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
            return Err(Error::Arguments(format!(
                "--control {url}: write https://…, or http:// where it is on this machine; the token is not sent in the \
                 clear"
            )));
        }
        let ca = self.control_ca.as_ref();
        let ca = ca.map(|path| std::fs::read(path).map_err(|error| unreadable(path, &error))).transpose()?;
        Ok(Some(Remote { url: url.clone(), token: Token::find(self.control_token.as_deref())?, ca }))
    }
}
