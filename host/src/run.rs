//! Runs a pipeline: builds sources, plugins and sinks from its configuration and keeps them going.
//!
//! A pipeline is a line of stages, each with threads of its own: a source that cannot go back is pumped into a topic
//! first, so that what was polled is safe before anything else happens to it; where a plugin has `through`, what comes
//! before it fills the topic that what comes after it reads. Only the first one knows the source's end; the others end
//! when the one before has ended and its topic is read to the end.

mod flow;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;

use crate::checkpoint::Identity;
use crate::config::{self, Delivery, Pipeline};
use crate::control::handle::{Handle, Registry};
use crate::dead_letter::DeadLetters;
use crate::failures::Failures;
use crate::load;
use crate::log::connect::Logs;
use crate::log::{Log, Reading, Start};
use crate::member::Member;
use crate::metrics::{Counters, Tentative};
use crate::objects;
use crate::partitioning::Verdict;
use crate::plugin::{Engine, Field};
use crate::pump;
use crate::query;
use crate::rejects::Rejects;
use crate::schema::Schemas;
use crate::simulate;
use crate::sink::csv::Csv;
use crate::sink::delta::{self, DeltaSink};
use crate::sink::embedded::EmbeddedSink;
use crate::sink::files::FileSink;
use crate::sink::kafka::{self, KafkaSink};
use crate::sink::parquet::Parquet;
use crate::sink::sqlite;
use crate::sink::stdout::StdoutSink;
use crate::sink::{Sink, SinkError};
use crate::source::delta::DeltaSource;
use crate::source::file::FileSource;
use crate::source::http::HttpSource;
use crate::source::{self, Source};
use crate::stop::{Order, Stop};
use crate::store::Store;
use crate::supervise::supervise;
use crate::uri::{LettersUri, TopicUri};
use crate::versions::Versions;
use crate::worker::{self, Worker};
use flow::{Ending, Flow};

/// Runs one pipeline until its input ends, its time is over, or `stop` is requested.
/// The counters are those that progress and the closing summary show; `registry` is where it can be asked and changed.
pub fn run(
    pipeline: &Pipeline,
    engine: &Engine,
    counters: &Counters,
    stop: &Stop,
    registry: &Registry,
) -> anyhow::Result<()> {
    let logs = Arc::new(Logs::new(&pipeline.log, &pipeline.client));
    let mut stages = Vec::new();
    for stage in pipeline.line() {
        let last = std::ptr::eq(stage, pipeline);
        let counters = if last { counters.clone() } else { counters.of_stage(&stage.name) };
        stages.push(Running::open(stage, &pipeline.name, engine, logs.clone(), counters)?);
    }
    stages.iter().for_each(|stage| registry.add(&stage.handle));
    query::check_plugins(pipeline, stages.iter().flat_map(|stage| stage.handle.versions.file()))?;
    for finding in load::findings(stages.iter().map(|stage| (stage.pipeline, stage.handle.versions.file()))) {
        if finding.verdict == Verdict::Split {
            tracing::warn!("{}: {finding}", finding.pipeline);
        }
    }
    let mut works: Vec<(&str, Work<'_>)> = Vec::new();
    if stages[0].pipeline.via.is_some() {
        works.push(("pump", Box::new(|order| stages[0].pump(order))));
    }
    for stage in &stages {
        works.push((&stage.pipeline.name, Box::new(|order| stage.work(order))));
    }
    let flow = Flow::new(stop, &stages[0].pipeline.until, works.len());
    let waits = pipeline.queries.as_ref().is_some_and(|queries| queries.begin.is_some());
    let may_begin = || !waits || registry.has_begun(&pipeline.name);
    let result = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for ((name, work), place) in works.into_iter().zip(0..) {
            let (flow, may_begin) = (&flow, &may_begin);
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, move || {
                let mut end = Ending { flow, place, well: false };
                let result = if place > 0 || flow.begin(may_begin) { work(&|| flow.order(place)) } else { Ok(()) };
                end.well = result.is_ok();
                result
            });
            // Without this one the others would wait for ever.
            threads.push(thread.inspect_err(|_| drop(Ending { flow, place, well: false }))?);
        }
        first_cause(threads.into_iter().map(|thread| thread.join()))
    });
    stages.iter().for_each(|stage| stage.handle.end(cause(&result)));
    result
}

/// What ended something, in words.
fn cause(result: &anyhow::Result<()>) -> Option<String> {
    result.as_ref().err().map(|error| format!("{error:#}"))
}

/// What a thread of a line does, asking again and again what it is to do next.
type Work<'a> = Box<dyn FnOnce(&(dyn Fn() -> Order + Sync)) -> anyhow::Result<()> + Send + 'a>;

/// The error of the first thread that has one; those of the others, which often follow from it, are logged.
fn first_cause(results: impl Iterator<Item = std::thread::Result<anyhow::Result<()>>>) -> anyhow::Result<()> {
    let mut first = Ok(());
    for result in results {
        let result = result.unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked, told above; please report it")));
        match (result, &first) {
            (Err(error), Ok(())) => first = Err(error),
            (Err(error), Err(_)) => tracing::warn!("{error:#}"),
            (Ok(()), _) => {}
        }
    }
    first
}

/// One pipeline of a line, with all that its workers have in common.
struct Running<'a> {
    pipeline: &'a Pipeline,
    counters: Counters,
    logs: Arc<Logs>,
    handle: Arc<Handle>,
    fields: Option<Vec<Field>>,
    schemas: Schemas,
}

impl<'a> Running<'a> {
    /// Loads the plugins and the schemas, and creates the topics and the table that are missing.
    fn open(
        pipeline: &'a Pipeline,
        of: &str,
        engine: &Engine,
        logs: Arc<Logs>,
        counters: Counters,
    ) -> anyhow::Result<Self> {
        let plugins = load::plugins(pipeline, engine)?;
        let fields = load::fields(pipeline, &plugins)?;
        load::tell(pipeline, &plugins);
        pipeline
            .locations()
            .try_for_each(|location| objects::check(&pipeline.s3, location))
            .map_err(SinkError::from)?;
        let schemas = Schemas::open(pipeline)?;
        let sink = match &pipeline.sink {
            config::Sink::Topic(topic) => Some(topic),
            config::Sink::Delta(options) => {
                delta::prepare(options, &pipeline.s3, fields.as_deref().unwrap_or_default())?;
                None
            }
            _ => None,
        };
        for topic in pipeline.reads().into_iter().chain(sink) {
            logs.of(topic)?.create_topic(&topic.topic, pipeline.partitions)?;
        }
        let log: Arc<dyn Log> = match pipeline.reads() {
            Some(topic) => logs.of(topic)?,
            None => Arc::new(logs.embedded()?),
        };
        let versions = Versions::new(plugins, engine.clone(), Store::new(log, &pipeline.group));
        let handle = Handle::new(pipeline, of, versions, counters.clone());
        Ok(Self { pipeline, counters, logs, handle, fields, schemas })
    }

    /// Moves what a source that cannot go back gives into its topic.
    fn pump(&self, order: &(dyn Fn() -> Order + Sync)) -> anyhow::Result<()> {
        let via = self.pipeline.via.as_ref().context("a pump without a topic")?;
        // Declared in this order so that the simulator outlives who polls it.
        let (_simulator, mut source) = self.feed()?;
        let mut writer = self.logs.of(via)?.writer(&via.topic)?;
        let rejects = self.rejects(self.pipeline.source.shown(), self.letters());
        pump::run(source.as_mut(), writer.as_mut(), &via.to_string(), rejects, order)
    }

    /// Runs the workers, until all have ended; when one fails, the others end too.
    fn work(&self, order: &(dyn Fn() -> Order + Sync)) -> anyhow::Result<()> {
        let failed = AtomicBool::new(false);
        let order = || if failed.load(Ordering::Acquire) { Order::Stop } else { order() };
        let work = |number: usize| {
            let result = self.keep_working(number, &order);
            self.handle.forget(number, None);
            if result.is_err() {
                failed.store(true, Ordering::Release);
            }
            result
        };
        let result = std::thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> = (1..self.pipeline.workers).map(|number| scope.spawn(move || work(number))).collect();
            let own = work(0);
            first_cause(std::iter::once(Ok(own)).chain(threads.into_iter().map(|thread| thread.join())))
        });
        self.handle.end(cause(&result));
        result
    }

    fn keep_working(&self, number: usize, order: &dyn Fn() -> Order) -> anyhow::Result<()> {
        let member = Member::claim(&self.pipeline.log, &self.pipeline.group)?;
        let shared = self.pipeline.reads().is_some_and(|topic| topic.brokers.is_some());
        let mut failures = Failures::new(self.pipeline.failures);
        supervise(&self.pipeline.name, &self.counters, shared, order, || {
            self.handle.forget(number, None);
            self.worker(number, &member, &mut failures, order)
        })
    }

    fn worker(
        &self,
        number: usize,
        member: &Member,
        failures: &mut Failures,
        order: &dyn Fn() -> Order,
    ) -> anyhow::Result<()> {
        let pipeline = self.pipeline;
        // Before the source: whatever a former self left under way is ended by then.
        let sink = self.sink(member)?;
        let letters = if pipeline.letters_with_sink() { DeadLetters::with_the_sink() } else { self.letters() };
        let origin = pipeline.reads().map_or_else(|| pipeline.source.shown(), TopicUri::to_string);
        let (_simulator, source) = self.source(member)?;
        let worker = Worker {
            number,
            handle: &self.handle,
            identity: self.identity(sink.as_ref())?,
            source,
            sink,
            rejects: self.rejects(origin, letters),
            failures,
            idle: pipeline.idle,
            close: pipeline.close,
        };
        worker::run(worker, order)
    }

    /// `source` is what is read, as a URI.
    fn rejects(&self, source: String, dead_letters: DeadLetters) -> Rejects {
        let counters = Tentative::new(self.counters.clone());
        Rejects { pipeline: self.pipeline.name.clone(), source, counters, dead_letters, refused: 0 }
    }

    /// Dead letters apart from the output.
    fn letters(&self) -> DeadLetters {
        match &self.pipeline.dead_letters {
            LettersUri::Topic(topic) => DeadLetters::to_topic(self.logs.clone(), topic.clone()),
            LettersUri::Lines(path) => DeadLetters::to_file(path.clone()),
        }
    }

    fn identity(&self, sink: &dyn Sink) -> anyhow::Result<Identity> {
        Ok(Identity {
            pipeline: self.pipeline.name.clone(),
            source: self.origin()?,
            place: sink.place(),
            plugins: Vec::new(),
            exactly_once: sink.exactly_once(),
        })
    }

    /// What is read, in words that are the same as long as its offsets mean the same: brokers may move, and two
    /// embedded logs have nothing in common.
    fn origin(&self) -> anyhow::Result<String> {
        let pipeline = self.pipeline;
        Ok(match (pipeline.reads(), &pipeline.source) {
            (Some(TopicUri { brokers: Some(_), topic }), _) => format!("Kafka topic {topic}"),
            (Some(topic), _) => format!("{topic} of log {}", self.logs.embedded()?.name()?),
            (None, source @ config::Source::File(_)) => format!("{source} of log {}", self.logs.embedded()?.name()?),
            (None, config::Source::Delta(options)) => source::delta::identity(options, &pipeline.s3)?,
            (None, source) => source.to_string(),
        })
    }

    /// What a worker reads: a topic where there is one, else the source itself.
    fn source(&self, member: &Member) -> anyhow::Result<(Option<simulate::Server>, Box<dyn Source>)> {
        let pipeline = self.pipeline;
        let Some(topic) = pipeline.reads() else { return self.feed() };
        let start = match &pipeline.source {
            config::Source::Topic(_, start) => *start,
            _ => Start::Earliest,
        };
        let calls: Duration = pipeline.plugins.iter().map(|plugin| plugin.limits.call).sum();
        let reading = Reading {
            batch: pipeline.batch,
            member: Some(member.name.clone()),
            counters: self.counters.clone(),
            calls,
            // Each that fails costs a call, and less than another one to be found.
            looking: calls.saturating_mul(pipeline.failures.most.saturating_add(1).saturating_mul(2)),
            ..Reading::new(&pipeline.group, start)
        };
        let source = self.logs.of(topic)?.reader(&topic.topic, &reading)?;
        Ok((None, self.schemas.over_source(source)))
    }

    /// The source itself, and the simulator behind it where there is one.
    fn feed(&self) -> anyhow::Result<(Option<simulate::Server>, Box<dyn Source>)> {
        let (pipeline, counters) = (self.pipeline, self.counters.clone());
        let source: Box<dyn Source> = match &pipeline.source {
            config::Source::Http(options) => Box::new(HttpSource::new(options.clone(), counters)?),
            config::Source::Simulate(simulate, options) => {
                let server = simulate::Server::start(simulate, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
                let mut options = options.clone();
                options.url = server.url(options.url.path()).parse().context("the simulator's address")?;
                return Ok((Some(server), Box::new(HttpSource::new(options, counters)?)));
            }
            config::Source::File(options) => {
                let source = FileSource::open(options.clone(), self.logs.embedded()?, &pipeline.group)?;
                Box::new(source.batches_of(pipeline.batch))
            }
            config::Source::Delta(options) => {
                let source = DeltaSource::open(options, &pipeline.s3, self.logs.embedded()?, &pipeline.group)?;
                Box::new(source.batches_of(pipeline.batch))
            }
            config::Source::Topic(..) => anyhow::bail!("a topic is read by its group"),
        };
        Ok((None, source))
    }

    fn sink(&self, member: &Member) -> anyhow::Result<Box<dyn Sink>> {
        let pipeline = self.pipeline;
        let letters = match &pipeline.dead_letters {
            LettersUri::Topic(letters) if pipeline.letters_with_sink() => Some(letters.topic.as_str()),
            _ => None,
        };
        match &pipeline.sink {
            config::Sink::Topic(topic) => {
                let sink = self.topic_sink(topic, Some(&topic.topic), letters, member)?;
                Ok(self.schemas.over_sink(sink))
            }
            config::Sink::Csv(options) => {
                let columns = self.fields.iter().flatten().map(|field| field.name.clone()).collect();
                let csv = Csv::new(columns, options.escape_formulas).compressed(options.compression);
                let (files, group) = (&options.files, &pipeline.group);
                let sink = FileSink::from_options(files, &pipeline.s3, group, csv, pipeline.interval)?;
                Ok(Box::new(sink.counting(self.counters.clone())))
            }
            config::Sink::Parquet(options) => {
                let fields = self.fields.clone().unwrap_or_default();
                let parquet = Parquet::new(fields, options.compression);
                let (files, group) = (&options.files, &pipeline.group);
                let sink = FileSink::from_options(files, &pipeline.s3, group, parquet, pipeline.interval)?;
                Ok(Box::new(sink.counting(self.counters.clone())))
            }
            config::Sink::Delta(options) => {
                let fields = self.fields.as_deref().unwrap_or_default();
                let sink = DeltaSink::new(options.clone(), &pipeline.s3, fields, &pipeline.group, pipeline.interval)?;
                Ok(Box::new(sink.counting(self.counters.clone())))
            }
            config::Sink::Sqlite(options) => {
                let log = self.logs.file(&options.path).with_context(|| pipeline.sink.to_string())?;
                let fields = self.fields.as_deref().unwrap_or_default();
                Ok(Box::new(sqlite::open(log, &pipeline.group, options, fields, pipeline.interval)?))
            }
            // Nothing to keep without state: the source's own position is enough.
            config::Sink::Stdout if !self.handle.versions.file().iter().any(|version| version.plugin.has_state()) => {
                Ok(Box::new(StdoutSink::new(None)))
            }
            config::Sink::Stdout => {
                let embedded = TopicUri { brokers: None, topic: String::new() };
                let log = pipeline.reads().unwrap_or(&embedded);
                Ok(Box::new(StdoutSink::new(Some(self.topic_sink(log, None, None, member)?))))
            }
        }
    }

    /// A sink into the log of `uri`, which keeps the checkpoints there too.
    fn topic_sink(
        &self,
        uri: &TopicUri,
        topic: Option<&str>,
        letters: Option<&str>,
        member: &Member,
    ) -> anyhow::Result<Box<dyn Sink>> {
        let pipeline = self.pipeline;
        let Some(brokers) = &uri.brokers else {
            let sink = EmbeddedSink::new(self.logs.embedded()?, &pipeline.group, topic, letters, pipeline.interval)?;
            return Ok(Box::new(sink));
        };
        let exactly_once = pipeline.delivery == Delivery::ExactlyOnce;
        let options = kafka::Options {
            group: pipeline.group.clone(),
            topic: topic.map(str::to_owned),
            letters: letters.map(str::to_owned),
            inputs: match pipeline.reads() {
                Some(topic) => self.logs.of(topic)?.describe(&topic.topic)?.partitions.len() as u32,
                None => 1,
            },
            member: exactly_once.then(|| member.name.clone()),
            interval: pipeline.interval,
        };
        Ok(Box::new(KafkaSink::new(self.logs.kafka(brokers)?, options).context("the sink")?))
    }
}
