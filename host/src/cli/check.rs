//! `host check`: what pipeline files would do. Loads and opens the plugins; touches no source, topic or sink, but reads of
//! tables that queries ask which columns they have.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::{Global, printable, run, worse};
use crate::config::{Delivery, Overrides, Pipeline, Sink, Source, Until};
use crate::failures::{Policy, Rule};
use crate::log::Start;
use crate::partitioning::Finding;
use crate::plugin::{Engine, Field, Plugin};
use crate::query;
use crate::schema::{self, Schema, Wire};
use crate::sink;
use crate::source::delta;
use crate::source::file::Format;
use crate::uri::TopicUri;
use crate::version::Version;

const EXAMPLES: &str = "\
Examples:
  host check pipelines/iss-csv.toml
      What it reads, does and writes; what a crash may repeat, and why
  host check pipelines/*.toml --json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Check {
    /// Pipeline files
    #[arg(required = true, value_name = "FILE.toml")]
    files: Vec<PathBuf>,
}

/// What a stage does, a line for each part.
type Rows = Vec<(&'static str, String)>;

impl Check {
    /// Checks every file, whatever is wrong with the one before; returns the worst error.
    pub(super) fn run(self, global: Global) -> anyhow::Result<()> {
        let mut worst: Option<anyhow::Error> = None;
        let mut engine = None;
        for file in &self.files {
            match check(file, &mut engine) {
                Ok(stages) => print(&stages, global.json)?,
                Err(error) => worst = Some(worse(worst.take(), error, global.json)),
            }
        }
        worst.map_or(Ok(()), Err)
    }
}

/// What each stage of a file does, from the first to the last. The engine is made for the first file that needs it.
fn check(file: &Path, engine: &mut Option<Engine>) -> anyhow::Result<Vec<Rows>> {
    let pipeline = Pipeline::read(file, &Overrides::default())?;
    run::plugins_exist(&pipeline)?;
    let engine = match engine {
        Some(engine) => engine,
        None => engine.insert(Engine::new()?),
    };
    let mut stages = Vec::new();
    for stage in pipeline.line() {
        let plugins = crate::load::plugins(stage, engine)?;
        // A sink that this chain cannot feed is a mistake that would show only at the start.
        crate::load::fields(stage, &plugins)?;
        let schemas = Schemas::of(stage)?;
        stages.push((stage, plugins, schemas));
    }
    query::check(&pipeline)?;
    query::check_plugins(&pipeline, stages.iter().flat_map(|(_, plugins, _)| plugins))?;
    let findings = crate::load::findings(stages.iter().map(|(stage, plugins, _)| (*stage, plugins.as_slice())));
    Ok(stages.iter().map(|(stage, plugins, schemas)| rows(file, stage, plugins, schemas, &findings)).collect())
}

/// The schemas of what a stage reads and writes, in words.
struct Schemas {
    read: Option<String>,
    written: Option<String>,
}

impl Schemas {
    /// Reads the files of the schemas, and asks no registry.
    fn of(stage: &Pipeline) -> anyhow::Result<Self> {
        let written = match &stage.sink {
            Sink::Topic(topic) => Some(topic),
            _ => None,
        };
        let read = stage.source_schema.as_ref().zip(stage.reads());
        let written = stage.sink_schema.as_ref().zip(written);
        let words = |(options, topic): (&schema::Options, &TopicUri)| schema(options, &topic.topic);
        Ok(Self { read: read.map(words).transpose()?, written: written.map(words).transpose()? })
    }
}

fn schema(options: &schema::Options, topic: &str) -> anyhow::Result<String> {
    let title = Schema::load(options)?.title();
    let wire = if options.wire == Wire::Avro { "Avro" } else { "JSON" };
    let framed = match &options.registry {
        Some(registry) => format!("{wire} after its number in {} (subject {})", registry.url, registry.subject(topic)),
        None => format!("{wire} and nothing else"),
    };
    Ok(format!("{title}; on the wire {framed}"))
}

fn rows(file: &Path, stage: &Pipeline, plugins: &[Version], schemas: &Schemas, findings: &[Finding]) -> Rows {
    let mut rows =
        vec![("pipeline", format!("{} ({})", stage.name, file.display())), ("source", source(&stage.source))];
    if !stage.source.goes_back() {
        let kept_nowhere = || "none: what is polled is not kept".to_owned();
        rows.push(("via", stage.via.as_ref().map_or_else(kept_nowhere, ToString::to_string)));
    }
    rows.extend(schemas.read.iter().map(|schema| ("read by", schema.clone())));
    rows.extend(plugins.iter().map(|version| ("plugin", self::plugin(&version.plugin, &version.opened.fields))));
    let own = findings.iter().filter(|finding| finding.pipeline == stage.name);
    rows.extend(own.map(|finding| ("partitioning", finding.to_string())));
    if plugins.iter().any(|version| version.plugin.has_timer()) {
        rows.push(("event time", event_time(stage)));
    }
    rows.push(("sink", sink(&stage.sink)));
    rows.extend(schemas.written.iter().map(|schema| ("written by", schema.clone())));
    rows.push(("delivery", delivery(stage)));
    rows.push(("checkpoints", checkpoints(stage, plugins.iter().any(|version| version.plugin.has_state()))));
    rows.push(("workers", workers(stage)));
    rows.push(("group", format!("{}, topics are created with {} partition(s)", stage.group, stage.partitions)));
    rows.push(("dead letters", dead_letters(stage)));
    rows.push(("failures", failures(stage.failures)));
    rows.push(("until", until(stage)));
    rows.push(("log", stage.log.display().to_string()));
    if let Some(queries) = &stage.queries {
        let scheme = if queries.tls.is_some() { "https" } else { "http" };
        let begin = queries.begin.iter().map(|path| format!("{path} begins it"));
        let paths: Vec<String> = begin.chain(queries.queries.iter().map(|query| query.path.clone())).collect();
        rows.push(("queries", format!("{scheme}://{}: {}", queries.listen, paths.join(", "))));
    }
    rows
}

/// Stages one after the other; as JSON the last one, with the one before it as its `upstream`.
fn print(stages: &[Rows], json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        let object = stages.iter().fold(serde_json::Value::Null, |upstream, rows| {
            let mut object: serde_json::Map<_, _> =
                rows.iter().map(|(key, value)| (key.replace(' ', "_"), value.as_str().into())).collect();
            for (key, name) in [("plugin", "plugins"), ("partitioning", "partitioning")] {
                object.remove(key);
                let all: Vec<&String> = rows.iter().filter(|(row, _)| *row == key).map(|(_, value)| value).collect();
                object.insert(name.to_owned(), serde_json::json!(all));
            }
            object.insert("upstream".to_owned(), upstream);
            serde_json::Value::Object(object)
        });
        return writeln!(out, "{object}");
    }
    stages.iter().flatten().try_for_each(|(key, value)| writeln!(out, "{key:12}  {value}"))
}

fn source(source: &Source) -> String {
    let polled = |options: &crate::source::http::Options| {
        format!(
            "polled every {:?}, at most {:?} and {} bytes a poll",
            options.every, options.deadline, options.max_body
        )
    };
    match source {
        Source::Http(options) => format!("{}, {}", options.url, polled(options)),
        Source::Simulate(simulate, options) => format!("{simulate}, {}", polled(options)),
        Source::Topic(topic, Start::Earliest) => format!("{topic}, from its start"),
        Source::Topic(topic, Start::Latest) => format!("{topic}, from its end"),
        Source::Delta(options) => {
            let start = match options.start {
                delta::Start::Earliest => "from its start".to_owned(),
                delta::Start::Latest => "from its end".to_owned(),
                delta::Start::Version(version) => format!("from version {version}"),
            };
            format!("{source}, {start}")
        }
        Source::File(options) => {
            let format = match options.format {
                Format::JsonLines => "JSON lines",
                Format::Csv { header: true, .. } => "CSV with a header",
                Format::Csv { header: false, .. } => "CSV without a header",
            };
            let follow = if options.follow { ", followed as it grows" } else { "" };
            format!("file:{}, {format}{follow}", options.path.display())
        }
    }
}

fn sink(sink: &Sink) -> String {
    match sink {
        Sink::Topic(topic) => topic.to_string(),
        Sink::Csv(options) => {
            format!("{sink}, a file each {:?} or {} bytes", options.files.every, options.files.size)
        }
        Sink::Parquet(options) => {
            format!("{sink}, a file each {:?} or {} bytes", options.files.every, options.files.size)
        }
        Sink::Delta(options) => format!("{sink}, a version each {:?} or {} bytes", options.every, options.size),
        Sink::Sqlite(options) if options.key.is_empty() => format!("{sink}, a row a message in {}", options.table),
        Sink::Sqlite(options) => format!("{sink}, in {} the last message by {}", options.table, options.key.join(", ")),
        Sink::Stdout => "stdout:, JSON lines".to_owned(),
    }
}

/// How often a message can have its effect, and why.
fn delivery(stage: &Pipeline) -> String {
    let step = match &stage.sink {
        Sink::Topic(topic) if topic.brokers.is_some() => match stage.reads() {
            Some(read) if read.brokers == topic.brokers => "output, state and positions are one Kafka transaction",
            _ => "output, state and the offset to go on from are one Kafka transaction",
        },
        Sink::Topic(_) => "output, state and the offset to go on from are one SQLite transaction",
        Sink::Sqlite(_) => "rows, state and the offset to go on from are one SQLite transaction",
        Sink::Delta(_) => "a version of the table holds rows, state and the offset to go on from",
        Sink::Csv(_) | Sink::Parquet(_) => {
            "a manifest names the finished files, with the state and the offset to go on from"
        }
        Sink::Stdout => "",
    };
    match (stage.delivery, stage.obstacle()) {
        (_, Some(obstacle)) if stage.reads().is_none() && !stage.source.goes_back() => {
            format!("not assured: {obstacle}")
        }
        (_, Some(obstacle)) => format!("at least once: {obstacle}"),
        (Delivery::ExactlyOnce, None) => format!("exactly once: {step}"),
        (Delivery::AtLeastOnce, None) => match &stage.sink {
            Sink::Topic(topic) if topic.brokers.is_some() => {
                "at least once, as was asked: after a crash, what was written since the last commit comes again"
                    .to_owned()
            }
            _ => format!("exactly once, though less was asked, because it costs nothing here: {step}"),
        },
    }
}

/// Where checkpoints are, and how often one is made.
fn checkpoints(stage: &Pipeline, has_state: bool) -> String {
    let in_log = |brokers: &Option<String>| match brokers {
        Some(brokers) => format!("kafka://{brokers}/{}.changelog", stage.group),
        None => stage.log.display().to_string(),
    };
    let place = match &stage.sink {
        Sink::Topic(topic) => in_log(&topic.brokers),
        Sink::Csv(sink::csv::Options { files, .. }) | Sink::Parquet(sink::parquet::Options { files, .. }) => {
            format!("{}/.apogee/{}", files.location, stage.group)
        }
        Sink::Delta(options) => format!("{}/_apogee/{}", options.table, stage.group),
        Sink::Sqlite(options) => options.path.display().to_string(),
        Sink::Stdout if !has_state => return "none: without state the group's position is enough".to_owned(),
        Sink::Stdout => in_log(&stage.reads().and_then(|topic| topic.brokers.clone())),
    };
    match &stage.sink {
        Sink::Topic(_) | Sink::Sqlite(_) => format!("{place}, one each {:?}", stage.interval),
        Sink::Delta(_) => {
            format!("{place}, one with each version, or {:?} after a message without one", stage.interval)
        }
        Sink::Csv(_) | Sink::Parquet(_) => {
            format!("{place}, one with each file, or {:?} after a message without one", stage.interval)
        }
        Sink::Stdout => format!("{place}, one with each output, or {:?} after a message without one", stage.interval),
    }
}

fn event_time(stage: &Pipeline) -> String {
    let close = if stage.close {
        "at the end of the source every window closes"
    } else {
        "a window that is open at the end stays open for the next run"
    };
    format!("goes on by the clock in a partition that is silent for {:?}; {close}", stage.idle)
}

fn workers(stage: &Pipeline) -> String {
    match stage.reads() {
        Some(topic) if topic.brokers.is_some() => {
            format!("{}, and those of other hosts with this group share the partitions", stage.workers)
        }
        Some(_) => "1: the embedded log is read by one".to_owned(),
        None => "1: what is read is one partition".to_owned(),
    }
}

fn dead_letters(stage: &Pipeline) -> String {
    let in_kafka = matches!(&stage.sink, Sink::Topic(topic) if topic.brokers.is_some());
    let step = if stage.letters_with_sink() && !(in_kafka && stage.delivery == Delivery::AtLeastOnce) {
        "in the same step as the output"
    } else {
        "written before the output that they belong to, so after a crash some can come twice"
    };
    format!("{}, {step}", stage.dead_letters)
}

fn failures(Rule { policy, most, of }: Rule) -> String {
    let what = match policy {
        Policy::DeadLetter => "is a dead letter",
        Policy::Skip => "is counted and passed over",
        Policy::Stop => return "the pipeline stops before a message on which a plugin fails".to_owned(),
    };
    format!("a message on which a plugin fails {what}; more than {most} of {of} stop the pipeline")
}

fn until(stage: &Pipeline) -> String {
    match stage.until {
        Until::Stopped if stage.upstream.is_some() => {
            "the pipeline before it has ended, and all of it is read".to_owned()
        }
        Until::Stopped => "stopped".to_owned(),
        Until::End => "the end of what there is at the start".to_owned(),
        Until::Elapsed(time) => format!("{time:?} have passed"),
    }
}

fn plugin(plugin: &Plugin, fields: &[Field]) -> String {
    let fields = match fields {
        [] => "fields not known in advance".to_owned(),
        fields => crate::load::shown(fields),
    };
    let description = &plugin.description;
    let state = if plugin.has_state() { ", keeps state" } else { "" };
    format!("{} {}{state}: {fields}", printable(&description.name), printable(&description.version))
}
