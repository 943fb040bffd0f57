//! The plugins of a pipeline before it runs: each compiled and opened once, so that mistakes show before anything is read,
//! and what follows from what they say.

use crate::config::text::excerpt;
use crate::config::{self, Pipeline};
use crate::partitioning::{self, Finding};
use crate::plugin::{Engine, Field};
use crate::sink::{SinkError, csv, delta, parquet, sqlite};
use crate::version::Version;

/// Most plugins of one stage: state is kept by their numbers, each a byte, and one of those means a checkpoint.
const MOST_PLUGINS: usize = 100;

/// How many characters of a plugin's fields are told in the log.
const FIELDS: usize = 2_000;

/// Compiles and opens every plugin once, so that mistakes show before anything is read.
pub fn plugins(pipeline: &Pipeline, engine: &Engine) -> anyhow::Result<Vec<Version>> {
    if pipeline.plugins.len() > MOST_PLUGINS {
        let (name, count) = (&pipeline.name, pipeline.plugins.len());
        return Err(config::Error::Arguments(format!(
            "pipeline {name:?} has {count} plugins in a row, where {MOST_PLUGINS} are the most; put a topic between two \
             (`through`)"
        ))
        .into());
    }
    let mut number = 0;
    let load = |spec: &config::PluginSpec| {
        let plugin = engine.load(&spec.path)?;
        let has_state = plugin.has_state();
        let version = Version::new(plugin, spec.settings.clone(), spec.limits.clone(), number)?;
        number += u8::from(has_state);
        Ok(version)
    };
    pipeline.plugins.iter().map(load).collect()
}

/// What each plugin with state gets of its groups. The pipelines are a line, each with its plugins.
pub fn findings<'a>(line: impl Iterator<Item = (&'a Pipeline, &'a [Version])>) -> Vec<Finding> {
    let says = |version: &'a Version| partitioning::Says {
        name: &version.plugin.description.name,
        has_state: version.plugin.has_state(),
        opened: &version.opened,
    };
    let stage = |(pipeline, plugins): (&'a Pipeline, &'a [Version])| partitioning::Stage {
        pipeline,
        plugins: plugins.iter().map(says).collect(),
    };
    partitioning::findings(&line.map(stage).collect::<Vec<_>>())
}

/// What a sink holds that needs to know it before the first message; `None` for the others.
pub fn fields(pipeline: &Pipeline, plugins: &[Version]) -> Result<Option<Vec<Field>>, SinkError> {
    if matches!(pipeline.sink, config::Sink::Topic(_) | config::Sink::Stdout) {
        return Ok(None);
    }
    match plugins.last() {
        Some(version) if !version.opened.fields.is_empty() => {
            let fields = &version.opened.fields;
            match &pipeline.sink {
                config::Sink::Sqlite(options) => sqlite::check(options, fields)?,
                config::Sink::Delta(options) => delta::check(options, fields)?,
                config::Sink::Csv(csv::Options { files, .. })
                | config::Sink::Parquet(parquet::Options { files, .. }) => {
                    files.check(fields).map_err(|what| SinkError::Columns { sink: pipeline.sink.to_string(), what })?;
                }
                config::Sink::Topic(_) | config::Sink::Stdout => {}
            }
            Ok(Some(fields.clone()))
        }
        last => Err(SinkError::NoColumns {
            sink: pipeline.sink.to_string(),
            plugin: last.map(|version| version.plugin.title()).unwrap_or_default(),
        }),
    }
}

/// Tells in the log what each plugin puts out, where it knows that in advance.
pub fn tell(pipeline: &Pipeline, plugins: &[Version]) {
    for Version { plugin, opened, .. } in plugins.iter().filter(|version| !version.opened.fields.is_empty()) {
        let fields = excerpt(&shown(&opened.fields), FIELDS);
        tracing::info!("{}: {} puts out {fields}", pipeline.name, plugin.title());
    }
}

/// Fields for a person: name and kind of each, with a `?` where it can be null.
pub fn shown(fields: &[Field]) -> String {
    let field = |field: &Field| {
        format!("{} {}{}", excerpt(&field.name, 400), field.kind, if field.nullable { "?" } else { "" })
    };
    fields.iter().map(field).collect::<Vec<_>>().join(", ")
}
