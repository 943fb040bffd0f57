//! What the command line changes about a pipeline, wherever the pipeline came from.

use std::path::PathBuf;

use crate::config::error::Error;
use crate::config::values::{Period, Via};
use crate::config::{Pipeline, Sink, Source, Until};
use crate::uri::{SinkUri, SourceUri};

/// Each `None` leaves the pipeline as it is.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub from: Option<SourceUri>,
    pub via: Option<Via>,
    pub to: Option<SinkUri>,
    pub every: Option<Period>,
    pub until: Option<Until>,
    pub log: Option<PathBuf>,
}

impl Pipeline {
    /// The same pipeline with these changes. Another source of the same kind keeps the settings
    /// of the first one (how often to poll, most bytes of a body); of another kind, it has defaults.
    pub fn with(mut self, overrides: &Overrides) -> Result<Self, Error> {
        if let Some(uri) = &overrides.from {
            self.read_from(uri)?;
        }
        match &overrides.via {
            Some(Via::None) => self.via = None,
            Some(Via::Topic(topic)) => self.via = Some(topic.clone()),
            None => {}
        }
        if let Some(uri) = &overrides.to {
            self.sink = match (Sink::new(uri), self.sink) {
                (Sink::Csv(new), Sink::Csv(old)) => {
                    Sink::Csv(crate::sink::csv::Options { directory: new.directory, ..old })
                }
                (new, _) => new,
            };
        }
        if let Some(period) = overrides.every {
            let options = self.source.polled().ok_or_else(|| {
                Error::Arguments(
                    "--every: is for sources that are polled (http:, sim:); this one is not, so leave it out".into(),
                )
            })?;
            options.every = period.0;
        }
        if let Some(until) = &overrides.until {
            self.until = until.clone();
        }
        if let Some(log) = &overrides.log {
            self.log.clone_from(log);
        }
        match self.contradiction() {
            Some((key, what)) => {
                let flag = match key {
                    "sink" => "--to".to_owned(),
                    "dead_letters" => "dead letters".to_owned(),
                    key => format!("--{key}"),
                };
                Err(Error::Arguments(format!("{flag}: {what}")))
            }
            None => Ok(self),
        }
    }

    fn read_from(&mut self, uri: &SourceUri) -> Result<(), Error> {
        let mut new = Source::new(uri).map_err(|error| Error::Arguments(format!("--from: {error}")))?;
        let mut old = std::mem::replace(&mut self.source, new.clone());
        if let (Some(new), Some(old)) = (new.polled(), old.polled()) {
            let url = new.url.clone();
            *new = crate::source::http::Options { url, ..old.clone() };
        }
        // What followed from the old source follows from the new one.
        if new.goes_back() != old.goes_back() || self.via == old.default_via(&self.name) {
            self.via = new.default_via(&self.name);
        }
        if self.until == Until::End || self.until == old.default_until() {
            self.until = new.default_until();
        }
        self.source = new;
        Ok(())
    }
}
