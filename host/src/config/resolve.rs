//! From what is written in a pipeline file to what it asks for. No I/O.

mod lake;
mod sink;
mod source;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use serde_json::Value;
use toml::Spanned;

use crate::config::PluginSpec;
use crate::config::asked::{Asked, Further};
use crate::config::error::{Fault, fault};
use crate::config::rules::{Contradiction, Key, LONGEST_NAME};
use crate::config::text::{did_you_mean, excerpt, nearest};
use crate::config::written::{self, Given, List};
use crate::failures::{Policy, Rule};
use crate::plugin::{Limits, MOST_MEMORY, MOST_TABLE_ELEMENTS};

/// Batches of more messages than this are cut by their bytes anyway.
const LARGEST_BATCH: u32 = 100_000;
/// Threads of one process; more would only stand in each other's way.
const MOST_WORKERS: u32 = 1_000;

pub(super) fn resolve(written: written::Pipeline, path: &Path) -> Result<(Asked, Places), Fault> {
    let source = written.source.ok_or_else(|| fault(None, "no [source]; add one with a `uri`, such as \"sim:iss\""))?;
    let sink = written
        .sink
        .ok_or_else(|| fault(None, "no [sink]; add one with a `uri`, such as \"csv:out\" or \"stdout:\""))?;
    let mut places = Places::of(&source, &sink);
    places.add(Key::Name, &written.name);
    places.add(Key::DeadLetters, &written.dead_letters);
    places.add(Key::Workers, &written.workers);
    places.add(Key::Queries, &written.queries);
    let name = match written.name {
        Some(name) => name.into_inner(),
        None => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let (plugins, further) = stages(written.plugin, path, &mut places)?;

    let mut asked = Asked::new(&name, source::source(&source)?, plugins, sink::sink(&sink, &name)?);
    asked.further = further;
    asked.source_schema = lake::schema(source.get_ref().schema.as_ref(), path)?;
    asked.sink_schema = lake::schema(sink.get_ref().schema.as_ref(), path)?;
    asked.s3 = lake::s3(written.s3)?;
    asked.queries = lake::queries(written.queries, written.query)?;
    asked.delivery = sink.get_ref().delivery.as_ref().map(|delivery| delivery.get_ref().0);
    asked.interval = sink.get_ref().interval.as_ref().map(|interval| interval.get_ref().0.0);
    let source = source.into_inner();
    asked.via = source.via.map(|via| via.into_inner().0);
    asked.until = source.until.map(|until| until.into_inner().0);
    asked.idle = source.idle.map(|idle| idle.into_inner().0.0);
    asked.close = source.close.map(Spanned::into_inner);
    asked.group = group(source.group)?;
    asked.partitions = from_one(&source.partitions, u32::MAX, "a topic has at least one partition")?;
    asked.batch = from_one(&source.batch, LARGEST_BATCH, "a batch has 1 to 100000 messages")?.map(|n| n as usize);
    asked.workers = from_one(&written.workers, MOST_WORKERS, "there are 1 to 1000 workers")?.map(|n| n as usize);
    asked.dead_letters = written.dead_letters.map(|letters| letters.into_inner().0);
    asked.failures = failures(&written.failures)?;
    if let Some(log) = written.log {
        if log.get_ref().as_os_str().is_empty() {
            return Err(fault(Some(log.span()), "no path; name the file of the embedded log, such as \"apogee.db\""));
        }
        asked.log = Some(log.into_inner());
    }
    asked.client = client(written.client)?;
    Ok((asked, places))
}

fn failures(keys: &written::Failures) -> Result<Rule, Fault> {
    let policies = [("dead-letter", Policy::DeadLetter), ("stop", Policy::Stop), ("skip", Policy::Skip)];
    let mut rule = Rule::default();
    if let Some(policy) = &keys.policy {
        rule.policy = choice(policy, &policies)?;
    }
    let rate = span(&keys.most).or(span(&keys.of));
    if rule.policy == Policy::Stop && rate.is_some() {
        let what = "with policy = \"stop\" the first failure stops the pipeline; leave `most` and `of` out";
        return Err(fault(rate, what));
    }
    set(&mut rule.most, &keys.most, |most| *most);
    set(&mut rule.of, &keys.of, |of| *of);
    if rule.most >= rule.of {
        let what = format!(
            "`most` of `of` messages may fail, and with {} of {} a plugin that always does would never stop its pipeline; \
             write a smaller `most`, or a larger `of`",
            rule.most, rule.of
        );
        return Err(fault(rate, what));
    }
    Ok(rule)
}

fn group(group: Given<String>) -> Result<Option<String>, Fault> {
    let Some(group) = group else { return Ok(None) };
    if group.get_ref().len() > LONGEST_NAME || crate::log::check_name(group.get_ref()).is_err() {
        let what = format!("not a group name: use 1 to {LONGEST_NAME} letters, digits, '.', '_' and '-'");
        return Err(fault(Some(group.span()), what));
    }
    Ok(Some(group.into_inner()))
}

/// A number from 1 to `most`.
fn from_one(given: &Given<u32>, most: u32, what: &str) -> Result<Option<u32>, Fault> {
    let Some(number) = given else { return Ok(None) };
    match *number.get_ref() {
        0 => Err(fault(Some(number.span()), format!("{what}; write 1 or more"))),
        n if n > most => Err(fault(Some(number.span()), format!("{what}; write {most} or less"))),
        n => Ok(Some(n)),
    }
}

/// Where the keys stand that can contradict one another.
pub(super) struct Places(BTreeMap<Key, Range<usize>>);

impl Places {
    fn of(source: &Spanned<written::Source>, sink: &Spanned<written::Sink>) -> Self {
        let (source, sink) = (source.get_ref(), sink.get_ref());
        let mut places = Self(BTreeMap::new());
        places.add(Key::Via, &source.via);
        places.add(Key::Until, &source.until);
        places.add(Key::Close, &source.close);
        places.add(Key::Batch, &source.batch);
        places.add(Key::Sink, &sink.uri);
        places.add(Key::Delivery, &sink.delivery);
        places.add(Key::Interval, &sink.interval);
        places
    }

    fn add<T>(&mut self, key: Key, given: &Given<T>) {
        self.0.extend(given.as_ref().map(|given| (key, given.span())));
    }

    pub fn fault(&self, Contradiction { key, what }: Contradiction) -> Fault {
        let place = self.0.get(&key).cloned();
        let what = match (key, &place) {
            (Key::Name, Some(_)) => what,
            (Key::Name, None) => format!("{what}; set `name`"),
            _ => format!("`{}`: {what}", key.name()),
        };
        fault(place, what)
    }
}

/// The plugins before the first `through`, and each `through` with the plugins that follow it.
type Stages = (Vec<PluginSpec>, Vec<Further>);

fn stages(written: Option<List<Spanned<written::Plugin>>>, path: &Path, places: &mut Places) -> Result<Stages, Fault> {
    let written = written.map(|list| list.0).unwrap_or_default();
    if written.is_empty() {
        return Err(fault(None, "no [[plugin]]; add one with a `file`, such as \"../plugins/flatten.wasm\""));
    }
    let beside = path.parent().unwrap_or(Path::new(""));
    let (mut first, mut further): Stages = Default::default();
    for mut plugin in written {
        let through = plugin.get_mut().through.take();
        if first.is_empty()
            && let Some(through) = &through
        {
            let what = "nothing comes before the first plugin, so there is nothing to write there; leave it out, or keep \
                        what is polled in a topic with `via` in [source]";
            return Err(fault(Some(through.span()), what));
        }
        if through.is_some() {
            places.add(Key::Through(further.len() + 1), &through);
        }
        let schema = plugin.get_mut().schema.take();
        if let (Some(schema), None) = (&schema, &through) {
            let what =
                "the schema of a topic between plugins stands beside its `through`; that of the end is [sink.schema]";
            return Err(fault(Some(schema.span()), what));
        }
        if let (Some(schema), Some(through)) = (&schema, &through)
            && matches!(through.get_ref().0, crate::uri::Through::Delta(_))
        {
            let what = "a schema is that of messages on a topic, and a table has its own; remove it";
            return Err(fault(Some(schema.span()), what));
        }
        let schema = lake::schema(schema.as_ref(), path)?;
        let plugin = self::plugin(plugin, beside)?;
        match (through, further.last_mut()) {
            (Some(through), _) => {
                further.push(Further { through: through.into_inner().0, schema, plugins: vec![plugin] });
            }
            (None, Some(Further { plugins, .. })) => plugins.push(plugin),
            (None, None) => first.push(plugin),
        }
    }
    Ok((first, further))
}

fn plugin(written: Spanned<written::Plugin>, beside: &Path) -> Result<PluginSpec, Fault> {
    let place = written.span();
    let keys = written.into_inner();
    let file = keys.file.ok_or_else(|| {
        fault(Some(place), "[[plugin]] has no `file`; name a component, such as \"../plugins/flatten.wasm\"")
    })?;
    if file.get_ref().as_os_str().is_empty() {
        return Err(fault(Some(file.span()), "no path; name a component, such as \"../plugins/flatten.wasm\""));
    }
    let settings = match keys.settings {
        None => Value::Object(serde_json::Map::new()),
        Some(settings) => {
            let place = settings.span();
            json(toml::Value::Table(settings.into_inner())).ok_or_else(|| {
                fault(Some(place), "settings become JSON, which has no nan and no inf; write a number")
            })?
        }
    };
    Ok(PluginSpec { path: beside.join(file.into_inner()), settings, limits: limits(&keys.limits)? })
}

fn limits(keys: &written::Limits) -> Result<Limits, Fault> {
    let mut limits = Limits::default();
    let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    set(&mut limits.memory, &keys.memory, |size| bytes(size.0.0));
    set(&mut limits.call, &keys.call, |period| period.0.0);
    set(&mut limits.output_messages, &keys.output_messages, |n| *n as usize);
    set(&mut limits.output_bytes, &keys.output_bytes, |size| bytes(size.0.0));
    set(&mut limits.table_elements, &keys.table_elements, |n| *n as usize);
    set(&mut limits.resources, &keys.resources, |n| *n as usize);
    set(&mut limits.log_lines, &keys.log_lines, |n| *n);
    if limits.output_messages == 0 {
        return Err(fault(span(&keys.output_messages), "with 0 nothing could come out of the plugin; write 1 or more"));
    }
    if limits.memory > MOST_MEMORY {
        return Err(fault(span(&keys.memory), "WebAssembly addresses 4GiB at most; write \"4GiB\" or less"));
    }
    if limits.table_elements > MOST_TABLE_ELEMENTS {
        return Err(fault(span(&keys.table_elements), format!("the most is {MOST_TABLE_ELEMENTS}")));
    }
    Ok(limits)
}

/// Settings of librdkafka, which takes all of them as text.
fn client(written: BTreeMap<Spanned<String>, Spanned<toml::Value>>) -> Result<BTreeMap<String, String>, Fault> {
    let mut client = BTreeMap::new();
    for (key, value) in written {
        crate::log::kafka::check_client_setting(key.get_ref()).map_err(|error| fault(Some(key.span()), error))?;
        let text = match value.get_ref() {
            toml::Value::String(text) => text.clone(),
            value @ (toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_)) => value.to_string(),
            _ => {
                return Err(fault(Some(value.span()), "a setting of the client is text, a number, true or false"));
            }
        };
        client.insert(key.into_inner(), text);
    }
    Ok(client)
}

/// A TOML value as JSON, dates as text; `None` for what JSON does not have.
fn json(value: toml::Value) -> Option<Value> {
    Some(match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => Value::Number(serde_json::Number::from_f64(number)?),
        toml::Value::Boolean(truth) => Value::Bool(truth),
        toml::Value::Datetime(date) => Value::String(date.to_string()),
        toml::Value::Array(values) => Value::Array(values.into_iter().map(json).collect::<Option<_>>()?),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(key, value)| Some((key, json(value)?))).collect::<Option<_>>()?)
        }
    })
}

fn choice<T: Clone>(asked: &Spanned<String>, choices: &[(&str, T)]) -> Result<T, Fault> {
    if let Some((_, value)) = choices.iter().find(|(name, _)| name == asked.get_ref()) {
        return Ok(value.clone());
    }
    let names = || choices.iter().map(|(name, _)| *name);
    let hint = match nearest(asked.get_ref(), names()) {
        Some(near) => did_you_mean(Some(near)),
        None => format!("; write {}", names().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ")),
    };
    Err(fault(Some(asked.span()), format!("unknown value \"{}\"{hint}", excerpt(asked.get_ref(), 60))))
}

fn set<T, W>(target: &mut T, given: &Given<W>, value: impl Fn(&W) -> T) {
    if let Some(given) = given {
        *target = value(given.get_ref());
    }
}

fn span<T>(given: &Given<T>) -> Option<Range<usize>> {
    given.as_ref().map(Spanned::span)
}
