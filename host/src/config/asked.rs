//! What was asked for, by a file and on the command line, and the pipelines that this makes.
//!
//! Everything that goes without saying is decided here, after all has been said. No I/O.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::overrides::Overrides;
use crate::config::rules::{self, Contradiction};
use crate::config::values::Via;
use crate::config::{Delivery, Error, Pipeline, PluginSpec, Sink, Source, Until};
use crate::failures::Rule;
use crate::log::{BATCH_MESSAGES, Start};
use crate::query::options as query;
use crate::schema::options as schema;
use crate::uri::{LettersUri, Through, TopicUri};
use crate::{objects, source};

/// A pipeline as it was asked for; `None` leaves a choice to the host.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub name: String,
    pub source: Source,
    pub via: Option<Via>,
    pub partitions: Option<u32>,
    pub group: Option<String>,
    pub until: Option<Until>,
    pub workers: Option<usize>,
    pub batch: Option<usize>,
    pub idle: Option<Duration>,
    pub close: Option<bool>,
    /// Those before the first topic that lies between plugins.
    pub plugins: Vec<PluginSpec>,
    /// What lies between plugins, with the plugins after it.
    pub further: Vec<Further>,
    pub sink: Sink,
    pub source_schema: Option<schema::Options>,
    pub sink_schema: Option<schema::Options>,
    pub delivery: Option<Delivery>,
    pub interval: Option<Duration>,
    pub dead_letters: Option<LettersUri>,
    pub failures: Rule,
    pub log: Option<PathBuf>,
    pub client: BTreeMap<String, String>,
    pub s3: objects::Options,
    pub queries: Option<query::Options>,
}

/// A topic or a table between plugins, with the schema of what is there and the plugins after it.
#[derive(Debug, Clone)]
pub(super) struct Further {
    pub through: Through,
    pub schema: Option<schema::Options>,
    pub plugins: Vec<PluginSpec>,
}

impl Asked {
    pub fn new(name: &str, source: Source, plugins: Vec<PluginSpec>, sink: Sink) -> Self {
        Self {
            name: name.to_owned(),
            source,
            via: None,
            partitions: None,
            group: None,
            until: None,
            workers: None,
            batch: None,
            idle: None,
            close: None,
            plugins,
            further: Vec::new(),
            sink,
            source_schema: None,
            sink_schema: None,
            delivery: None,
            interval: None,
            dead_letters: None,
            failures: Rule::default(),
            log: None,
            client: BTreeMap::new(),
            s3: objects::Options::default(),
            queries: None,
        }
    }

    /// Takes what the command line says instead. Another source or sink of the same kind keeps the settings of the
    /// first one (how often to poll, most bytes of a file); of another kind, it has defaults.
    pub fn change(&mut self, overrides: &Overrides) -> Result<(), Error> {
        if let Some(uri) = &overrides.from {
            self.read_from(Source::new(uri).map_err(|error| Error::Arguments(format!("--from: {error}")))?);
        }
        if let Some(uri) = &overrides.to {
            let new = Sink::new(uri, &self.name);
            match (&mut self.sink, new) {
                (Sink::Csv(old), Sink::Csv(new)) => old.files.location = new.files.location,
                (Sink::Parquet(old), Sink::Parquet(new)) => old.files.location = new.files.location,
                (Sink::Delta(old), Sink::Delta(new)) => old.table = new.table,
                (Sink::Sqlite(old), Sink::Sqlite(new)) => old.path = new.path,
                (old, new) => *old = new,
            }
        }
        if let Some(period) = overrides.every {
            let options = self.source.polled().ok_or_else(|| {
                Error::Arguments(
                    "--every: is for sources that are polled (http:, sim:); this one is not, so leave it out".into(),
                )
            })?;
            options.every = period.0;
        }
        let Overrides { via, until, log, workers, delivery, .. } = overrides.clone();
        self.via = via.or(self.via.take());
        self.until = until.or(self.until.take());
        self.log = log.or(self.log.take());
        self.workers = workers.or(self.workers);
        self.delivery = delivery.or(self.delivery);
        Ok(())
    }

    fn read_from(&mut self, mut new: Source) {
        // What was said of a source that is polled says nothing about one that is not.
        if new.goes_back() != self.source.goes_back() {
            self.via = None;
        }
        if self.until == Some(Until::End) {
            self.until = None;
        }
        if let (Some(new), Some(old)) = (new.polled(), self.source.polled()) {
            let (url, key) = (new.url.clone(), old.key.clone().or(new.key.take()));
            *new = crate::source::http::Options { url, key, ..old.clone() };
        }
        self.source = new;
    }

    /// The last pipeline of the line, with the others upstream of it.
    pub fn resolve(&self) -> Result<Pipeline, Contradiction> {
        let mut pipeline = self.stage(1);
        for number in 2..=self.stages() {
            pipeline = Pipeline { upstream: Some(Box::new(pipeline)), ..self.stage(number) };
        }
        match rules::contradiction(self, &pipeline.line()) {
            Some(contradiction) => Err(contradiction),
            None => Ok(pipeline),
        }
    }

    fn stages(&self) -> usize {
        self.further.len() + 1
    }

    /// The pipeline from one topic to the next; counted from 1.
    fn stage(&self, number: usize) -> Pipeline {
        let last = number == self.stages();
        let until = self.until.clone().unwrap_or_else(|| self.ends());
        let close = self.close.unwrap_or(matches!(self.source, Source::File(_)) && until == Until::End);
        let before = number.checked_sub(2).map(|before| &self.further[before]);
        let (source, via, until, plugins) = match before {
            None => (self.source.clone(), self.via(), until, &self.plugins),
            // It ends after the one before it, not by itself.
            Some(Further { through, plugins, .. }) => (read(through), None, Until::Stopped, plugins),
        };
        let after = self.further.get(number - 1);
        let sink = after.map_or_else(|| self.sink.clone(), |Further { through, .. }| self.write(through));
        let called = |name: &str| if last { name.to_owned() } else { format!("{name}.{number}") };
        let mut pipeline = Pipeline {
            name: called(&self.name),
            source,
            via,
            partitions: self.partitions.unwrap_or(1),
            group: called(self.group.as_deref().unwrap_or(&self.name)),
            until,
            workers: 1,
            batch: self.batch.unwrap_or(BATCH_MESSAGES),
            idle: self.idle.unwrap_or(Duration::from_secs(60)),
            close,
            plugins: plugins.clone(),
            delivery: Delivery::AtLeastOnce,
            interval: self.interval.filter(|_| last).unwrap_or(interval(&sink)),
            sink,
            source_schema: before.map_or(&self.source_schema, |before| &before.schema).clone(),
            sink_schema: after.map_or(&self.sink_schema, |after| &after.schema).clone(),
            upstream: None,
            dead_letters: self.dead_letters(),
            failures: self.failures,
            log: self.log.clone().unwrap_or_else(|| PathBuf::from("apogee.db")),
            client: self.client.clone(),
            s3: self.s3.clone(),
            queries: self.queries.clone().filter(|_| last),
        };
        if rules::is_shared(&pipeline) {
            pipeline.workers = self.workers.unwrap_or(1);
        }
        let best = if pipeline.obstacle().is_none() { Delivery::ExactlyOnce } else { Delivery::AtLeastOnce };
        pipeline.delivery = self.delivery.filter(|_| last).unwrap_or(best);
        pipeline
    }

    /// The sink of a stage that another one follows: a table grows as that of the last stage does, where it has one.
    fn write(&self, through: &Through) -> Sink {
        match (through, &self.sink) {
            (Through::Topic(topic), _) => Sink::Topic(topic.clone()),
            (Through::Delta(table), Sink::Delta(last)) => Sink::Delta(crate::sink::delta::Options {
                table: table.clone(),
                partition_by: Vec::new(),
                ..last.clone()
            }),
            (Through::Delta(table), _) => Sink::delta(table.clone()),
        }
    }

    fn via(&self) -> Option<TopicUri> {
        match &self.via {
            Some(Via::None) => None,
            Some(Via::Topic(topic)) => Some(topic.clone()),
            None => self.source.default_via(&self.name),
        }
    }

    fn ends(&self) -> Until {
        match &self.source {
            Source::File(file) if !file.follow => Until::End,
            _ => Until::Stopped,
        }
    }

    /// Beside the output, where one step can hold both.
    fn dead_letters(&self) -> LettersUri {
        let brokers = match &self.sink {
            Sink::Topic(topic) => topic.brokers.clone(),
            _ => None,
        };
        let topic = TopicUri { brokers, topic: format!("{}.dead", self.name) };
        self.dead_letters.clone().unwrap_or(LettersUri::Topic(topic))
    }
}

/// A transaction is cheap, and a file is better large.
fn interval(sink: &Sink) -> Duration {
    match sink {
        Sink::Topic(_) | Sink::Stdout => Duration::from_millis(100),
        Sink::Sqlite(_) => Duration::from_millis(100),
        Sink::Csv(_) | Sink::Parquet(_) | Sink::Delta(_) => Duration::from_secs(10),
    }
}

/// The source of a stage that follows another one.
fn read(through: &Through) -> Source {
    match through {
        Through::Topic(topic) => Source::Topic(topic.clone(), Start::Earliest),
        Through::Delta(table) => {
            Source::Delta(source::delta::Options { table: table.clone(), start: source::delta::Start::Earliest })
        }
    }
}
