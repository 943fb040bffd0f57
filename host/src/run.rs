//! Runs a pipeline: builds source, plugins and sink from its configuration and keeps them going.
//!
//! A source that cannot go back is pumped into a topic by a thread of its own, so that what was polled is safe
//! before anything else happens to it; the task loop then reads that topic like any other.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::config::{self, Pipeline, Until};
use crate::dead_letter::DeadLetters;
use crate::log::connect::Logs;
use crate::log::{Log, Start, Writer};
use crate::message::Fetch;
use crate::metrics::Counters;
use crate::plugin::{Engine, Field, Plugin};
use crate::simulate::iss;
use crate::sink::csv::CsvSink;
use crate::sink::stdout::StdoutSink;
use crate::sink::topic::TopicSink;
use crate::sink::{Sink, SinkError};
use crate::source::file::FileSource;
use crate::source::http::HttpSource;
use crate::source::{Poll, Source};
use crate::stop::Stop;
use crate::task::{self, Order, Shared, Stage, Task};

/// How long the pump waits for a reply before it looks whether it should stop.
const WAIT: Duration = Duration::from_millis(50);

/// Runs one pipeline until its input ends, its time is over, or `stop` is requested.
/// The counters are those that progress and the closing summary show.
pub fn run(pipeline: &Pipeline, engine: &Engine, counters: &Counters, stop: &Stop) -> anyhow::Result<()> {
    let logs = Arc::new(Logs::new(&pipeline.log, &pipeline.client));
    let plugins = load(pipeline, engine)?;
    let output = Output::open(pipeline, &plugins, &logs, counters)?;
    let dead_letters = || DeadLetters::new(logs.clone(), pipeline.dead_letters.clone());
    let (mut source, _simulator) = open_source(pipeline, &logs, counters)?;
    let mut shared = Shared { pipeline: &pipeline.name, counters, dead_letters: dead_letters() };
    let open = |partition| output.task(pipeline, &plugins, partition);
    let ends = Ends::new(&pipeline.until, stop);

    let Some(via) = &pipeline.via else {
        return task::run(source.as_mut(), open, &mut shared, || ends.order());
    };
    let log = logs.of(via)?;
    log.create_topic(&via.topic, pipeline.partitions)?;
    let mut writer = log.writer(&via.topic)?;
    let mut reader = log.reader(&via.topic, &pipeline.group, Start::Earliest)?;
    let (pumped, failed) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let pump = std::thread::Builder::new().name("pump".to_owned()).spawn_scoped(scope, || {
            let mut shared = Shared { pipeline: &pipeline.name, counters, dead_letters: dead_letters() };
            let order = || if failed.load(Ordering::Relaxed) { Order::Stop } else { ends.order() };
            let result = pump(source.as_mut(), writer.as_mut(), &mut shared, order);
            pumped.store(true, Ordering::Release);
            result
        })?;
        // Once the pump has ended, what it wrote is read to its end; when asked to stop, it waits for the next run.
        let order = || match () {
            () if stop.requested() => Order::Stop,
            () if pumped.load(Ordering::Acquire) => Order::Drain,
            () => Order::Go,
        };
        let worked = task::run(reader.as_mut(), open, &mut shared, order);
        failed.store(worked.is_err(), Ordering::Relaxed);
        let pumped = pump.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the polling thread panicked")));
        worked.and(pumped)
    })
}

/// Compiles and opens every plugin once, so that mistakes show before anything is read.
pub fn load(pipeline: &Pipeline, engine: &Engine) -> anyhow::Result<Vec<(Plugin, Vec<Field>)>> {
    let load = |spec: &config::PluginSpec| {
        let plugin = engine.load(&spec.path)?;
        if plugin.exports.iter().any(|interface| interface == "state") {
            tracing::warn!(
                "plugin {} has state, which this version of the host does not keep over a restart",
                plugin.title()
            );
        }
        let fields = plugin.open(&spec.settings, &spec.limits)?.fields;
        Ok((plugin, fields))
    };
    pipeline.plugins.iter().map(load).collect()
}

/// The columns of what the last plugin gives; `None` where the sink needs none.
pub fn columns(pipeline: &Pipeline, plugins: &[(Plugin, Vec<Field>)]) -> Result<Option<Vec<String>>, SinkError> {
    let config::Sink::Csv(options) = &pipeline.sink else {
        return Ok(None);
    };
    let fields = plugins.last().into_iter().flat_map(|(_, fields)| fields);
    let columns: Vec<String> = fields.map(|field| field.name.clone()).collect();
    if columns.is_empty() {
        let plugin = plugins.last().map(|(plugin, _)| plugin.title()).unwrap_or_default();
        return Err(SinkError::NoColumns { sink: format!("csv:{}", options.directory.display()), plugin });
    }
    Ok(Some(columns))
}

/// When the first source of a pipeline ends.
struct Ends<'a> {
    stop: &'a Stop,
    at: Option<Instant>,
    at_end: bool,
}

impl<'a> Ends<'a> {
    fn new(until: &Until, stop: &'a Stop) -> Self {
        let at = match until {
            Until::Elapsed(duration) => Instant::now().checked_add(*duration),
            Until::End | Until::Stopped => None,
        };
        Self { stop, at, at_end: *until == Until::End }
    }

    fn order(&self) -> Order {
        if self.stop.requested() || self.at.is_some_and(|at| at <= Instant::now()) {
            Order::Stop
        } else if self.at_end {
            Order::Drain
        } else {
            Order::Go
        }
    }
}

/// Appends what `source` gives to a topic; each message is durable there before the next poll.
fn pump(
    source: &mut dyn Source,
    writer: &mut dyn Writer,
    shared: &mut Shared<'_>,
    order: impl Fn() -> Order,
) -> anyhow::Result<()> {
    loop {
        match order() {
            Order::Go => {}
            Order::Drain => source.drain()?,
            Order::Stop => return Ok(()),
        }
        match source.poll(WAIT)? {
            Poll::Messages(Fetch { partition, batch, rejected, next, .. }) => {
                if !batch.is_empty() {
                    writer.append(&batch)?;
                    writer.flush()?;
                }
                shared.reject_input(partition, &rejected)?;
                shared.dead_letters.flush()?;
                source.commit(partition, next)?;
            }
            Poll::Idle | Poll::Revoked(_) => {}
            Poll::End => return Ok(()),
        }
    }
}

/// The source, and the simulator behind it where there is one.
fn open_source(
    pipeline: &Pipeline,
    logs: &Logs,
    counters: &Counters,
) -> anyhow::Result<(Box<dyn Source>, Option<iss::Server>)> {
    let source: Box<dyn Source> = match &pipeline.source {
        config::Source::Http(options) => Box::new(HttpSource::new(options.clone(), counters.clone())?),
        config::Source::Simulate(simulate, options) => {
            let server = iss::Server::start(simulate, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
            let mut options = options.clone();
            options.url = server.url(simulate.shape).parse().context("the simulator's address")?;
            return Ok((Box::new(HttpSource::new(options, counters.clone())?), Some(server)));
        }
        config::Source::Topic(uri, start) => {
            let log = logs.of(uri)?;
            log.create_topic(&uri.topic, pipeline.partitions)?;
            log.reader(&uri.topic, &pipeline.group, *start)?
        }
        config::Source::File(options) => {
            Box::new(FileSource::open(options.clone(), logs.embedded()?, &pipeline.group)?)
        }
    };
    Ok((source, None))
}

/// The sink, checked once and then opened for each partition.
enum Output<'a> {
    Csv(&'a crate::sink::csv::Options, Vec<String>, &'a Counters),
    Topic(Arc<dyn Log>, &'a str),
    Stdout,
}

impl<'a> Output<'a> {
    fn open(
        pipeline: &'a Pipeline,
        plugins: &[(Plugin, Vec<Field>)],
        logs: &Logs,
        counters: &'a Counters,
    ) -> anyhow::Result<Self> {
        match &pipeline.sink {
            config::Sink::Stdout => Ok(Self::Stdout),
            config::Sink::Topic(uri) => {
                let log = logs.of(uri)?;
                log.create_topic(&uri.topic, pipeline.partitions)?;
                Ok(Self::Topic(log, &uri.topic))
            }
            config::Sink::Csv(options) => {
                let columns = columns(pipeline, plugins)?.unwrap_or_default();
                let removed = crate::sink::csv::prepare(options)?;
                if removed > 0 {
                    tracing::info!("removed {removed} unfinished file(s) of an earlier run; their input is read again");
                }
                Ok(Self::Csv(options, columns, counters))
            }
        }
    }

    fn task(&self, pipeline: &Pipeline, plugins: &[(Plugin, Vec<Field>)], partition: i32) -> anyhow::Result<Task> {
        let chain = plugins.iter().zip(&pipeline.plugins).map(|((plugin, _), spec)| {
            let instance = plugin.open(&spec.settings, &spec.limits)?;
            Ok(Stage { plugin: plugin.clone(), instance })
        });
        let chain = chain.collect::<anyhow::Result<_>>()?;
        let sink: Box<dyn Sink> = match self {
            Self::Stdout => Box::new(StdoutSink::default()),
            Self::Topic(log, topic) => Box::new(TopicSink::new(log.writer(topic).context("the sink")?)),
            Self::Csv(options, columns, counters) => {
                Box::new(CsvSink::new((*options).clone(), columns.clone(), partition, (*counters).clone()))
            }
        };
        Ok(Task::new(partition, chain, sink))
    }
}
