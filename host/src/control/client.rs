//! Asks running hosts: those of this user through their sockets, or one over the network.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Certificate, Client, Method, RequestBuilder};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use url::Url;

use crate::config::text::excerpt;
use crate::control::api::{Problem, Status};
use crate::control::socket;
use crate::control::token::{Token, VARIABLE};

/// The longest answer that is read.
const LARGEST: usize = 16 << 20;
/// How long to wait for an answer that takes no work.
const SOON: Duration = Duration::from_secs(10);
/// How long to wait for a swap: longer than the host does.
const LATE: Duration = Duration::from_secs(280);

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No host runs that pipeline, or none at all.
    #[error("{0}")]
    Nobody(String),
    /// The host that was asked does not do it.
    #[error("{0}")]
    Refused(String),
    /// There was no answer, or none that the host stands by.
    #[error("{0}")]
    Unreachable(String),
}

/// A host that is asked over the network.
pub struct Remote {
    pub url: Url,
    pub token: Option<Token>,
    /// Certificates to trust besides those of the system, as PEM.
    pub ca: Option<Vec<u8>>,
}

/// A host that can be asked.
pub struct Host {
    /// Its socket or URL.
    pub name: String,
    url: Url,
    token: Option<Token>,
    client: Client,
    runtime: Runtime,
}

/// Every host that can be asked, with what it runs.
pub fn hosts(remote: Option<&Remote>) -> Result<Vec<(Host, Status)>, ClientError> {
    if let Some(remote) = remote {
        let host = Host::remote(remote)?;
        let status = host.get(&["status"])?;
        return Ok(vec![(host, status)]);
    }
    let sockets = socket::sockets().map_err(|error| ClientError::Unreachable(error.to_string()))?;
    let mut hosts = Vec::new();
    for path in sockets {
        let host = Host::local(&path)?;
        match host.get(&["status"]) {
            Ok(status) => hosts.push((host, status)),
            // Such as that of a host which was killed: the next one clears it away.
            Err(error) if !socket::is_served(&path) => tracing::debug!("{error}"),
            Err(error) => tracing::warn!("a host does not say what it runs, and is not asked for anything: {error}"),
        }
    }
    if hosts.is_empty() {
        return Err(ClientError::Nobody(format!(
            "no host runs here (looked for its socket in {}); start one with `host run FILE.toml`, or name one with \
             --control URL",
            socket::directory().display()
        )));
    }
    Ok(hosts)
}

/// The hosts that run a pipeline.
pub fn running(pipeline: &str, remote: Option<&Remote>) -> Result<Vec<(Host, Status)>, ClientError> {
    let mut hosts = hosts(remote)?;
    let mut names: Vec<String> =
        hosts.iter().flat_map(|(_, status)| status.pipelines.iter().map(|found| found.of.clone())).collect();
    names.sort();
    names.dedup();
    hosts.retain(|(_, status)| status.pipelines.iter().any(|found| found.of == pipeline));
    if hosts.is_empty() {
        let names = if names.is_empty() { "none".to_owned() } else { excerpt(&names.join(", "), 400) };
        return Err(ClientError::Nobody(format!("no host runs pipeline {pipeline:?}; there is {names}")));
    }
    Ok(hosts)
}

impl Host {
    fn local(socket: &Path) -> Result<Self, ClientError> {
        let client = Client::builder().no_proxy().unix_socket(PathBuf::from(socket));
        let url = "http://localhost/".parse().map_err(|error| unreachable(socket.display(), &error))?;
        Self::new(socket.display().to_string(), url, None, client)
    }

    fn remote(remote: &Remote) -> Result<Self, ClientError> {
        let Remote { url, token, ca } = remote;
        let mut client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        if let Some(pem) = ca {
            let certificates = Certificate::from_pem_bundle(pem)
                .map_err(|error| ClientError::Refused(format!("--control-ca: no certificates in PEM ({error})")))?;
            client = client.tls_certs_merge(certificates);
        }
        Self::new(url.to_string(), url.clone(), token.clone(), client)
    }

    fn new(name: String, url: Url, token: Option<Token>, client: reqwest::ClientBuilder) -> Result<Self, ClientError> {
        let client = client.build().map_err(|error| unreachable(&name, &error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| unreachable(&name, &error))?;
        Ok(Self { name, url, token, client, runtime })
    }

    /// Asks for what is at a path, given by its segments.
    pub fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, ClientError> {
        self.ask(self.request(Method::GET, path).timeout(SOON))
    }

    /// Asks for something to be done.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        component: Option<&[u8]>,
    ) -> Result<T, ClientError> {
        let mut request = self.request_with(Method::POST, path, query).timeout(LATE);
        if let Some(component) = component {
            request = request.header("content-type", "application/wasm").body(component.to_vec());
        }
        self.ask(request)
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.request_with(method, path, &[])
    }

    fn request_with(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> RequestBuilder {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.client.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token.secret()),
            None => request,
        }
    }

    fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let broken = |error: reqwest::Error| unreachable(&self.name, &anyhow::Error::from(error));
        let (status, text) = self.runtime.block_on(async {
            let mut response = request.send().await.map_err(broken)?;
            let mut text = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(broken)? {
                if text.len() + chunk.len() > LARGEST {
                    return Err(unreachable(&self.name, &"the answer is too long for one of a host"));
                }
                text.extend_from_slice(&chunk);
            }
            Ok((response.status(), text))
        })?;
        if status.is_success() {
            return serde_json::from_slice(&text).map_err(|error| {
                let error = excerpt(&error.to_string(), 200);
                unreachable(&self.name, &format!("the answer is not one of this version of the program ({error})"))
            });
        }
        let problem = serde_json::from_slice(&text).map(|Problem { error }| excerpt(&error, 4000));
        let what = problem.unwrap_or_else(|_| format!("{} answers {status}, as no host does", self.name));
        let hint = match (status.as_u16(), &self.token) {
            (401, None) => format!("; give it with --control-token FILE or in {VARIABLE}"),
            _ => String::new(),
        };
        let what = what + &hint;
        Err(if status.is_client_error() { ClientError::Refused(what) } else { ClientError::Unreachable(what) })
    }
}

fn unreachable(name: impl std::fmt::Display, error: &dyn std::fmt::Display) -> ClientError {
    ClientError::Unreachable(format!("{name}: {error:#}"))
}
