//! Finds the log that a topic lives in, opening each only when it is first needed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf, absolute};
use std::sync::{Arc, Mutex, PoisonError};

use crate::log::embedded::Embedded;
use crate::log::kafka::Kafka;
use crate::log::{Log, LogError};
use crate::uri::TopicUri;

/// The logs that one pipeline uses: the embedded one, and any Kafka clusters.
pub struct Logs {
    file: PathBuf,
    client: BTreeMap<String, String>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    embedded: BTreeMap<PathBuf, Embedded>,
    kafka: BTreeMap<String, Arc<Kafka>>,
}

impl Logs {
    /// `file` is that of the embedded log; `client` are librdkafka settings.
    pub fn new(file: &Path, client: &BTreeMap<String, String>) -> Self {
        Self { file: file.to_owned(), client: client.clone(), open: Mutex::default() }
    }

    /// The log that `uri` names; the topic itself may not exist yet.
    pub fn of(&self, uri: &TopicUri) -> Result<Arc<dyn Log>, LogError> {
        match &uri.brokers {
            Some(brokers) => Ok(self.kafka(brokers)?),
            None => Ok(Arc::new(self.embedded()?)),
        }
    }

    pub fn kafka(&self, brokers: &str) -> Result<Arc<Kafka>, LogError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kafka) = open.kafka.get(brokers) {
            return Ok(kafka.clone());
        }
        let kafka = Arc::new(Kafka::connect(brokers, &self.client)?);
        open.kafka.insert(brokers.to_owned(), kafka.clone());
        Ok(kafka)
    }

    pub fn embedded(&self) -> Result<Embedded, LogError> {
        self.file(&self.file)
    }

    /// An embedded log in this file, once however the file is named.
    pub fn file(&self, path: &Path) -> Result<Embedded, LogError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = absolute(path).unwrap_or_else(|_| path.to_owned());
        if let Some(embedded) = open.embedded.get(&whole) {
            return Ok(embedded.clone());
        }
        let embedded = Embedded::open(path)?;
        open.embedded.insert(whole, embedded.clone());
        Ok(embedded)
    }
}
