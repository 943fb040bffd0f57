//! `host --plugin …`: a pipeline that is written on the command line alone.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::cli::control::Listen;
use crate::cli::{Global, run};
use crate::config::set::Set;
use crate::config::text::{did_you_mean, nearest};
use crate::config::values::{Period, Via};
use crate::config::{DEFAULT_SOURCE, Delivery, Error, Overrides, Pipeline, PluginSpec, Sink, Source, Until};
use crate::plugin::Limits;
use crate::source::http;
use crate::uri::{SinkUri, SourceUri};

#[derive(Debug, Args)]
pub(super) struct Stream {
    /// Components that the messages go through, in this order
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    plugin: Vec<PathBuf>,
    /// http(s)://…, kafka://BROKER/TOPIC, kafka:///TOPIC (embedded log), file:PATH, delta:TABLE,
    /// sim:iss, sim:turnstiles or sim:flights
    /// [default: the position of the ISS by Open Notify]
    #[arg(long, value_name = "URI", verbatim_doc_comment)]
    from: Option<SourceUri>,
    /// The topic that a polled source goes through, or "none" [default: kafka:///NAME.FEED, embedded]
    #[arg(long, value_name = "URI|none")]
    via: Option<Via>,
    /// kafka://BROKER/TOPIC, kafka:///TOPIC, sqlite:FILE or stdout:; csv:, parquet: or delta: with a
    /// DIRECTORY or s3://BUCKET/PATH [default: stdout:]
    #[arg(long, value_name = "URI", verbatim_doc_comment)]
    to: Option<SinkUri>,
    /// Time from one poll to the next [default: 5s]
    #[arg(long, value_name = "DURATION")]
    every: Option<Period>,
    /// End after this time, such as 95m
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<Period>,
    /// "end" of what there is now, "stopped" by a signal, or a duration [default: end for a file]
    #[arg(long, value_name = "WHEN", conflicts_with = "duration")]
    until: Option<Until>,
    /// A setting of the plugin, JSON or text; of one of several: NAME.KEY=VALUE, NAME as in NAME.wasm
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Names the group, the topics and the dead letters [default: the first plugin's]
    #[arg(long)]
    name: Option<String>,
    /// The file of the embedded log [default: apogee.db]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Threads that share the partitions of a topic in Kafka [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    workers: Option<u32>,
    /// "exactly-once" (where it is possible, the default) or "at-least-once"
    #[arg(long, value_name = "HOW")]
    delivery: Option<Delivery>,
}

impl Stream {
    pub(super) fn run(self, listen: &Listen, global: Global) -> anyhow::Result<()> {
        let by_default = self.from.is_none();
        let pipeline = self.pipeline()?;
        run::plugins_exist(&pipeline)?;
        if let (true, Source::Http(options)) = (by_default, &pipeline.source) {
            http::probe(options).context("no --from is given, so the source is Open Notify")?;
        }
        run::run(&[pipeline], listen, global)
    }

    fn pipeline(self) -> Result<Pipeline, Error> {
        let uri = match self.from {
            Some(uri) => uri,
            None => DEFAULT_SOURCE.parse().map_err(|error| Error::Arguments(format!("--from: {error}")))?,
        };
        let source = Source::new(&uri).map_err(|error| Error::Arguments(format!("--from: {error}")))?;
        let plugins = settings(&self.plugin, &self.set)?;
        let name = self.name.unwrap_or_else(|| stem(&self.plugin[0]));
        let sink = self.to.as_ref().map_or(Sink::Stdout, |to| Sink::new(to, &name));
        let overrides = Overrides {
            from: None,
            via: self.via,
            to: None,
            every: self.every,
            until: self.duration.map(|period| Until::Elapsed(period.0)).or(self.until),
            workers: self.workers.map(|workers| workers as usize),
            delivery: self.delivery,
            log: self.log,
        };
        Pipeline::new(&name, source, plugins, sink, &overrides)
    }
}

/// The plugins with what `--set` says about them.
fn settings(paths: &[PathBuf], set: &[String]) -> Result<Vec<PluginSpec>, Error> {
    let names: Vec<String> = paths.iter().map(|path| stem(path)).collect();
    let mut settings = vec![serde_json::Map::new(); paths.len()];
    for set in set {
        let mut set = Set::read(set)?;
        let key = set.key;
        let named =
            key.split_once('.').and_then(|(name, key)| Some((names.iter().position(|known| known == name)?, key)));
        let plugin = match named {
            Some((plugin, key)) => {
                set.key = key;
                plugin
            }
            None if names.len() == 1 => 0,
            None => {
                let name = key.split('.').next().unwrap_or_default();
                let near = nearest(name, names.iter().map(String::as_str)).filter(|_| key.contains('.'));
                let what =
                    format!("there are several plugins, so write NAME.KEY=VALUE with NAME one of {}", names.join(", "));
                return Err(set.wrong(&(what + &did_you_mean(near))));
            }
        };
        if names.iter().filter(|name| **name == names[plugin]).count() > 1 {
            return Err(set.wrong(&format!("there are several plugins \"{}\"; use a pipeline file", names[plugin])));
        }
        set.put(&mut settings[plugin])?;
    }
    let spec = |(path, settings): (&PathBuf, _)| PluginSpec {
        path: path.clone(),
        settings: serde_json::Value::Object(settings),
        limits: Limits::default(),
    };
    Ok(paths.iter().zip(settings).map(spec).collect())
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(paths: &[&str], set: &[&str]) -> Result<Vec<serde_json::Value>, String> {
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        let set: Vec<String> = set.iter().map(|set| (*set).to_owned()).collect();
        settings(&paths, &set)
            .map(|specs| specs.into_iter().map(|spec| spec.settings).collect())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn settings_are_json_or_text_and_go_to_their_plugin() {
        let one = set(&["a.wasm"], &["n=1", "text=x=y", "list=[1,\"b\"]", "a.separator=.", "other.key=2"]).unwrap();
        assert_eq!(
            one,
            [serde_json::json!({ "n": 1, "text": "x=y", "list": [1, "b"], "separator": ".", "other.key": 2 })]
        );
        let two = set(&["p/a.wasm", "b.wasm"], &["b.n=1", "a.n=2"]).unwrap();
        assert_eq!(two, [serde_json::json!({ "n": 2 }), serde_json::json!({ "n": 1 })]);
    }

    #[test]
    fn settings_that_have_no_plugin_are_refused() {
        let several = set(&["flatten.wasm", "b.wasm"], &["flaten.n=1"]).unwrap_err();
        assert!(several.ends_with("NAME one of flatten, b; did you mean \"flatten\"?"), "{several}");
        assert!(set(&["a.wasm", "b.wasm"], &["n=1"]).unwrap_err().contains("several plugins"));
        assert!(set(&["a.wasm", "x/a.wasm"], &["a.n=1"]).unwrap_err().contains("use a pipeline file"));
        assert_eq!(set(&["a.wasm"], &["n"]).unwrap_err(), "--set n: no value; write KEY=VALUE");
        assert_eq!(set(&["a.wasm"], &["n=1", "a.n=2"]).unwrap_err(), "--set a.n=2: this key is set twice; remove one");
    }
}
