//! What the command line changes about a pipeline, wherever the pipeline came from.

use std::path::PathBuf;

use crate::config::rules::Key;
use crate::config::values::{Period, Via};
use crate::config::{Delivery, Until};
use crate::uri::{SinkUri, SourceUri};

/// Each `None` leaves the pipeline as it is.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub from: Option<SourceUri>,
    pub via: Option<Via>,
    pub to: Option<SinkUri>,
    pub every: Option<Period>,
    pub until: Option<Until>,
    pub workers: Option<usize>,
    pub delivery: Option<Delivery>,
    pub log: Option<PathBuf>,
}

impl Overrides {
    /// Whether what `key` says comes from here.
    pub(super) fn names(&self, key: Key) -> bool {
        match key {
            Key::Via => self.via.is_some(),
            Key::Until => self.until.is_some(),
            Key::Sink => self.to.is_some(),
            Key::Workers => self.workers.is_some(),
            Key::Delivery => self.delivery.is_some(),
            Key::Name | Key::Close | Key::Batch | Key::Through(_) | Key::DeadLetters | Key::Interval | Key::Queries => {
                false
            }
        }
    }
}
