//! From what is written in a pipeline file to what it asks for. No I/O.

mod lake;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use serde_json::Value;
use toml::Spanned;

use crate::config::asked::{Asked, Further};
use crate::config::error::{Fault, fault};
use crate::config::rules::{Contradiction, Key, LONGEST_NAME};
use crate::config::text::{did_you_mean, excerpt, nearest};
use crate::config::written::{self, Given, List};
use crate::config::{PluginSpec, Sink, Source, format_of};
use crate::failures::{Policy, Rule};
use crate::log::Start;
use crate::plugin::{Limits, MOST_MEMORY, MOST_TABLE_ELEMENTS};
use crate::sink::{csv, files, parquet};
use crate::source::file::Format;
use crate::source::{self, delta, http};
use crate::uri::SourceUri;

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

    let mut asked = Asked::new(&name, self::source(&source)?, plugins, self::sink(&sink, &name)?);
    asked.further = further;
    asked.source_schema = lake::schema(source.get_ref().schema.as_ref(), path)?;
    asked.sink_schema = lake::schema(sink.get_ref().schema.as_ref(), path)?;
    asked.s3 = lake::s3(written.s3);
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

/// What a key of a source is for.
#[derive(PartialEq)]
enum For {
    Polled,
    Topic,
    /// Whatever can be read from its start or from its end.
    Position,
    Delta,
    File,
    Csv,
}

fn source(written: &Spanned<written::Source>) -> Result<Source, Fault> {
    let keys = written.get_ref();
    let uri = keys.uri.as_ref().ok_or_else(|| {
        fault(
            Some(written.span()),
            "[source] has no `uri`; add one such as \"sim:iss\", \"http://…\", \"kafka:///TOPIC\" or \"file:PATH\"",
        )
    })?;
    let (uri, place) = (&uri.get_ref().0, uri.span());
    let mut source = match uri {
        SourceUri::File(path) => Source::File(file(keys, path, place)?),
        uri => Source::new(uri).map_err(|error| fault(Some(place), error))?,
    };
    source_keys(keys, &source)?;
    if let Some(options) = source.polled() {
        set(&mut options.every, &keys.every, |period| period.0.0);
        set(&mut options.deadline, &keys.deadline, |period| period.0.0);
        set(&mut options.max_body, &keys.max_body, |size| size.0.0);
        set(&mut options.max_decoded, &keys.max_decoded, |size| size.0.0);
        set(&mut options.distinct, &keys.distinct, |pointer| Some(pointer.clone()));
        if let Some(pointer) = &keys.distinct
            && !pointer.get_ref().starts_with('/')
        {
            let shown = excerpt(pointer.get_ref(), 60);
            return Err(fault(Some(pointer.span()), format!("a JSON pointer starts with a slash; write \"/{shown}\"")));
        }
        if let Some(key) = &keys.key {
            options.key = Some(self::key(key)?);
        }
        if let (Some(http::Key::Field(_)), Some(pointer)) = (&options.key, &keys.distinct) {
            let what = "a JSON pointer finds nothing in replies that are CSV, as a number in `key` says; leave it out";
            return Err(fault(Some(pointer.span()), what));
        }
    }
    match (&mut source, &keys.start) {
        (Source::Topic(_, start), Some(asked)) => {
            *start = choice(asked, &[("earliest", Start::Earliest), ("latest", Start::Latest)])?;
        }
        (Source::Delta(options), Some(asked)) => {
            options.start = choice(asked, &[("earliest", delta::Start::Earliest), ("latest", delta::Start::Latest)])?;
        }
        _ => {}
    }
    if let (Source::Delta(options), Some(version)) = (&mut source, &keys.version) {
        if keys.start.is_some() {
            return Err(fault(Some(version.span()), "`version` and `start` both say where to begin; leave out one"));
        }
        options.start = delta::Start::Version(*version.get_ref());
    }
    Ok(source)
}

/// Where the key of a polled message is.
fn key(written: &Spanned<written::Key>) -> Result<http::Key, Fault> {
    match written.get_ref() {
        written::Key::Pointer(pointer) if pointer.starts_with('/') => Ok(http::Key::Pointer(pointer.clone())),
        written::Key::Pointer(pointer) => {
            let shown = excerpt(pointer, 60);
            Err(fault(Some(written.span()), format!("a JSON pointer starts with a slash; write \"/{shown}\"")))
        }
        written::Key::Field(0) => Err(fault(Some(written.span()), "fields are counted from 1; write 1 or more")),
        written::Key::Field(number) => Ok(http::Key::Field(*number as usize - 1)),
    }
}

/// Refuses keys that mean nothing to the source at hand.
fn source_keys(keys: &written::Source, source: &Source) -> Result<(), Fault> {
    let given = [
        ("every", span(&keys.every), For::Polled),
        ("deadline", span(&keys.deadline), For::Polled),
        ("max_body", span(&keys.max_body), For::Polled),
        ("max_decoded", span(&keys.max_decoded), For::Polled),
        ("distinct", span(&keys.distinct), For::Polled),
        ("key", span(&keys.key), For::Polled),
        ("start", span(&keys.start), For::Position),
        ("version", span(&keys.version), For::Delta),
        ("schema", span(&keys.schema), For::Topic),
        ("format", span(&keys.format), For::File),
        ("follow", span(&keys.follow), For::File),
        ("header", span(&keys.header), For::Csv),
        ("delimiter", span(&keys.delimiter), For::Csv),
    ];
    let (scheme, is): (&str, &[For]) = match source {
        Source::Http(_) => ("http:", &[For::Polled]),
        Source::Simulate(..) => ("sim:", &[For::Polled]),
        Source::Topic(..) => ("kafka:", &[For::Topic, For::Position]),
        Source::Delta(_) => ("delta:", &[For::Position, For::Delta]),
        Source::File(source::file::Options { format: Format::JsonLines, .. }) => ("JSON lines", &[For::File]),
        Source::File(_) => ("file:", &[For::File, For::Csv]),
    };
    for (key, place, wanted) in given {
        if place.is_some() && !is.contains(&wanted) {
            let wanted = match wanted {
                For::Polled => "http: and sim:",
                For::Topic => "kafka:",
                For::Position => "kafka: and delta:",
                For::Delta => "delta:",
                For::File => "file:",
                For::Csv => "CSV files",
            };
            return Err(fault(place, format!("`{key}` does not apply to {scheme} but to {wanted}; remove it")));
        }
    }
    Ok(())
}

fn file(keys: &written::Source, path: &Path, place: Range<usize>) -> Result<source::file::Options, Fault> {
    let csv = Format::Csv { header: true, delimiter: b',' };
    let mut format = match &keys.format {
        Some(asked) => choice(asked, &[("csv", csv), ("jsonl", Format::JsonLines)])?,
        None => format_of(path).ok_or_else(|| {
            fault(
                Some(place),
                "the file's name does not say its format; add `format = \"csv\"` or `format = \"jsonl\"`",
            )
        })?,
    };
    if let Format::Csv { header, delimiter } = &mut format {
        set(header, &keys.header, |header| *header);
        if let Some(asked) = &keys.delimiter {
            *delimiter = match asked.get_ref().as_bytes() {
                [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => *byte,
                _ => {
                    return Err(fault(
                        Some(asked.span()),
                        "a delimiter is one ASCII character, such as \",\", \";\" or \"\\t\", and no quote",
                    ));
                }
            };
        }
    }
    let follow = keys.follow.as_ref().is_some_and(|follow| *follow.get_ref());
    Ok(source::file::Options { path: path.to_owned(), format, follow })
}

/// What a key of a sink is for.
#[derive(Clone, Copy, PartialEq)]
enum ForSink {
    /// Files of whatever format.
    Files,
    /// Whatever grows in pieces: files and tables of files.
    Pieces,
    Compressed,
    Csv,
    Delta,
    Sqlite,
    Topic,
}

fn sink(written: &Spanned<written::Sink>, name: &str) -> Result<Sink, Fault> {
    let keys = written.get_ref();
    let uri = keys.uri.as_ref().ok_or_else(|| {
        fault(
            Some(written.span()),
            "[sink] has no `uri`; add one such as \"csv:DIRECTORY\", \"kafka:///TOPIC\" or \"stdout:\"",
        )
    })?;
    let mut sink = Sink::new(&uri.get_ref().0, name);
    sink_keys(keys, &sink)?;
    match &mut sink {
        Sink::Csv(options) => {
            files(&mut options.files, keys)?;
            if let Some(asked) = &keys.compression {
                let choices = [("none", csv::Compression::None), ("gzip", csv::Compression::Gzip)];
                options.compression = choice(asked, &choices)?;
            }
            set(&mut options.escape_formulas, &keys.escape_formulas, |escape| *escape);
        }
        Sink::Parquet(options) => {
            files(&mut options.files, keys)?;
            if let Some(asked) = &keys.compression {
                use parquet::Compression::{None, Snappy, Zstd};
                options.compression = choice(asked, &[("zstd", Zstd), ("snappy", Snappy), ("none", None)])?;
            }
        }
        Sink::Delta(options) => {
            set(&mut options.every, &keys.every, |period| period.0.0);
            set(&mut options.size, &keys.size, |size| size.0.0);
            set(&mut options.partition_by, &keys.partition_by, Vec::clone);
        }
        Sink::Sqlite(options) => {
            set(&mut options.table, &keys.table, String::clone);
            set(&mut options.key, &keys.key, Vec::clone);
        }
        Sink::Topic(_) | Sink::Stdout => {}
    }
    Ok(sink)
}

fn files(options: &mut files::Options, keys: &written::Sink) -> Result<(), Fault> {
    set(&mut options.every, &keys.every, |period| period.0.0);
    set(&mut options.size, &keys.size, |size| size.0.0);
    set(&mut options.window, &keys.window, |period| Some(period.0.0));
    if let Some(path) = &keys.path {
        let template = files::Template::parse(path.get_ref()).map_err(|what| fault(Some(path.span()), what))?;
        options.path = Some(template);
    }
    Ok(())
}

/// Refuses keys that mean nothing to the sink at hand.
fn sink_keys(keys: &written::Sink, sink: &Sink) -> Result<(), Fault> {
    use ForSink::{Compressed, Csv, Delta, Files, Pieces, Sqlite, Topic};
    let given = [
        ("every", span(&keys.every), Pieces),
        ("size", span(&keys.size), Pieces),
        ("window", span(&keys.window), Files),
        ("path", span(&keys.path), Files),
        ("compression", span(&keys.compression), Compressed),
        ("escape_formulas", span(&keys.escape_formulas), Csv),
        ("partition_by", span(&keys.partition_by), Delta),
        ("table", span(&keys.table), Sqlite),
        ("key", span(&keys.key), Sqlite),
        ("schema", span(&keys.schema), Topic),
    ];
    let (scheme, is): (&str, &[ForSink]) = match sink {
        Sink::Topic(_) => ("kafka:", &[Topic]),
        Sink::Csv(_) => ("csv:", &[Pieces, Files, Compressed, Csv]),
        Sink::Parquet(_) => ("parquet:", &[Pieces, Files, Compressed]),
        Sink::Delta(_) => ("delta:", &[Pieces, Delta]),
        Sink::Sqlite(_) => ("sqlite:", &[Sqlite]),
        Sink::Stdout => ("stdout:", &[]),
    };
    for (key, place, wanted) in given {
        if place.is_some() && !is.contains(&wanted) {
            let wanted = match wanted {
                Pieces => "csv:, parquet: and delta:",
                Files | Compressed => "csv: and parquet:",
                Csv => "csv:",
                Delta => "delta:",
                Sqlite => "sqlite:",
                Topic => "kafka:",
            };
            return Err(fault(place, format!("`{key}` does not apply to {scheme} but to {wanted}; remove it")));
        }
    }
    Ok(())
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
