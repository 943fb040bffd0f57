//! `host check`: what pipeline files would do. Loads and opens the plugins; touches no source, topic or sink.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::{Global, printable, run, worse};
use crate::config::{Pipeline, Sink, Source, Until};
use crate::log::Start;
use crate::plugin::{Engine, Field, Kind, Plugin};
use crate::source::file::Format;

const EXAMPLES: &str = "\
Examples:
  host check pipelines/iss-csv.toml
  host check pipelines/*.toml --json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Check {
    /// Pipeline files
    #[arg(required = true, value_name = "FILE.toml")]
    files: Vec<PathBuf>,
}

impl Check {
    /// Checks every file, whatever is wrong with the one before; returns the worst error.
    pub(super) fn run(self, global: Global) -> anyhow::Result<()> {
        let mut worst: Option<anyhow::Error> = None;
        let mut engine = None;
        for file in &self.files {
            match check(file, &mut engine) {
                Ok(rows) => print(&rows, global.json)?,
                Err(error) => worst = Some(worse(worst.take(), error, global.json)),
            }
        }
        worst.map_or(Ok(()), Err)
    }
}

/// What a pipeline does, a line for each part. The engine is made for the first file that needs it.
fn check(file: &Path, engine: &mut Option<Engine>) -> anyhow::Result<Vec<(&'static str, String)>> {
    let pipeline = Pipeline::read(file)?;
    run::plugins_exist(&pipeline)?;
    let engine = match engine {
        Some(engine) => engine,
        None => engine.insert(Engine::new()?),
    };
    let mut rows =
        vec![("pipeline", format!("{} ({})", pipeline.name, file.display())), ("source", source(&pipeline.source))];
    if !pipeline.source.goes_back() {
        rows.push((
            "via",
            pipeline.via.as_ref().map_or("none: what is polled is not kept".to_owned(), ToString::to_string),
        ));
    }
    let plugins = crate::run::load(&pipeline, engine)?;
    // A sink that this chain cannot feed is a mistake that would show only at the start.
    crate::run::columns(&pipeline, &plugins)?;
    rows.extend(plugins.iter().map(|(plugin, opened)| ("plugin", self::plugin(plugin, &opened.fields))));
    rows.push(("sink", sink(&pipeline.sink)));
    rows.push(("group", format!("{}, topics are created with {} partition(s)", pipeline.group, pipeline.partitions)));
    rows.push(("dead letters", pipeline.dead_letters.to_string()));
    rows.push((
        "until",
        match pipeline.until {
            Until::Stopped => "stopped".to_owned(),
            Until::End => "the end of what there is at the start".to_owned(),
            Until::Elapsed(time) => format!("{time:?} have passed"),
        },
    ));
    rows.push(("log", pipeline.log.display().to_string()));
    Ok(rows)
}

fn print(rows: &[(&str, String)], json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        let plugins: Vec<&String> = rows.iter().filter(|(key, _)| *key == "plugin").map(|(_, value)| value).collect();
        let mut object: serde_json::Map<_, _> =
            rows.iter().map(|(key, value)| (key.replace(' ', "_"), value.as_str().into())).collect();
        object.remove("plugin");
        object.insert("plugins".to_owned(), serde_json::json!(plugins));
        return writeln!(out, "{}", serde_json::Value::Object(object));
    }
    rows.iter().try_for_each(|(key, value)| writeln!(out, "{key:12}  {value}"))
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
            format!("csv:{}, a file each {:?} or {} bytes", options.directory.display(), options.every, options.size)
        }
        Sink::Stdout => "stdout:, JSON lines".to_owned(),
    }
}

fn plugin(plugin: &Plugin, fields: &[Field]) -> String {
    let fields = match fields {
        [] => "fields not known in advance".to_owned(),
        fields => fields.iter().map(field).collect::<Vec<_>>().join(", "),
    };
    let description = &plugin.description;
    format!("{} {}: {fields}", printable(&description.name), printable(&description.version))
}

fn field(field: &Field) -> String {
    let kind = match field.kind {
        Kind::Boolean => "boolean",
        Kind::Integer => "integer",
        Kind::Float => "float",
        Kind::Text => "text",
        Kind::Timestamp => "timestamp",
    };
    format!("{} {kind}{}", printable(&field.name), if field.nullable { "?" } else { "" })
}
