//! Questions about live results, answered over HTTP: SQL over the tables of a `sqlite:` sink, which sees whole commits, and
//! the live state of a plugin.
//!
//! What is refused: whatever does more than read, what takes too long or is too large, callers from other machines without
//! a token, web pages of other sites.

mod answer;
mod form;
mod openapi;
pub mod options;
mod parameters;
mod report;
mod service;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::uri::Authority;

use crate::config::text::excerpt;
use crate::config::{Error, Pipeline, Sink};
use crate::control::handle::Registry;
use crate::control::server::{Network, Server};
use crate::control::tls;
use crate::control::token::Token;
use crate::version::Version;
pub use options::{Ask, Kind, Options, Parameter, Query};
use service::Desk;
use tables::Tables;

/// Answers the queries of a pipeline for as long as the server lives; `None` where it has none.
pub fn serve(pipeline: &Pipeline, registry: &Arc<Registry>) -> anyhow::Result<Option<Server>> {
    let Some(options) = &pipeline.queries else { return Ok(None) };
    check(pipeline)?;
    let tables = options.file(&pipeline.sink).map(Tables::new);
    let router = service::router(Desk::new(&pipeline.name, options, tables, registry));
    Ok(Some(Server::tcp(options.network()?, "queries", &answer::MANNER, router)?))
}

/// Refuses SQL that is wrong, as far as that can be told before the tables are there.
pub fn check(pipeline: &Pipeline) -> Result<(), Error> {
    let Some(options) = &pipeline.queries else { return Ok(()) };
    let Some(file) = options.file(&pipeline.sink) else { return Ok(()) };
    let tables = Tables::new(file);
    for query in &options.queries {
        if let Ask::Tables(sql) = &query.ask {
            tables.check(query, sql).map_err(|what| refused(pipeline, query, &what))?;
        }
    }
    Ok(())
}

/// Refuses questions to plugins that are not there, or do not answer any. `plugins` are those of the whole line.
pub fn check_plugins<'a>(
    pipeline: &Pipeline,
    mut plugins: impl Iterator<Item = &'a Version> + Clone,
) -> Result<(), Error> {
    for query in pipeline.queries.iter().flat_map(|options| &options.queries) {
        let Ask::Plugin { name, .. } = &query.ask else { continue };
        let Some(version) = plugins.clone().find(|version| version.plugin.description.name == *name) else {
            let names: Vec<&str> = plugins.by_ref().map(|version| version.plugin.description.name.as_str()).collect();
            let what = format!("there is no plugin {:?}; there is {}", excerpt(name, 60), names.join(", "));
            return Err(refused(pipeline, query, &what));
        };
        if !version.plugin.has_answers() {
            let what = format!(
                "plugin {} has no `query` interface, so it cannot be asked; build it with one (export_aggregator!)",
                version.plugin.title()
            );
            return Err(refused(pipeline, query, &what));
        }
    }
    Ok(())
}

fn refused(pipeline: &Pipeline, query: &Query, what: &str) -> Error {
    Error::Arguments(format!("pipeline {}: [[query]] {}: {}", pipeline.name, query.path, excerpt(what, 1_000)))
}

impl Options {
    /// The file of the tables, if there is one.
    pub fn file<'a>(&'a self, sink: &'a Sink) -> Option<&'a Path> {
        self.database.as_deref().or(match sink {
            Sink::Sqlite(options) => Some(options.path.as_path()),
            _ => None,
        })
    }

    fn network(&self) -> Result<Network, Error> {
        let token = self.token.as_deref().map(|path| Token::read(path, "[queries] token")).transpose()?;
        let acceptor = |(certificate, key): &(PathBuf, PathBuf)| tls::acceptor(certificate, key, "[queries]");
        let tls = self.tls.as_ref().map(acceptor).transpose()?;
        let names = self.hosts.iter().map(|host| {
            host.parse::<Authority>()
                .map_err(|_| Error::Arguments(format!("[queries] hosts: \"{}\" is no host", excerpt(host, 80))))
        });
        let names = names.collect::<Result<_, _>>()?;
        Ok(Network { address: self.listen, named: "[queries] listen", token, tls, names })
    }
}
