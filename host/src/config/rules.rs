//! What makes no sense together: each rule says what is wrong and the way out. No I/O.

use std::path::{Path, absolute};

use crate::config::asked::Asked;
use crate::config::text::excerpt;
use crate::config::{Delivery, Error, Pipeline, Sink, Source, Until};
use crate::query::options::Ask;
use crate::uri::{LettersUri, Location};

/// Of a pipeline's name and of its group: what the host adds to name topics must fit, too.
pub(super) const LONGEST_NAME: usize = 230;

/// Two things that make no sense together: the key that it hangs on, and a sentence.
#[derive(Debug)]
pub(super) struct Contradiction {
    pub key: Key,
    pub what: String,
}

/// What a contradiction can hang on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Name,
    Via,
    Until,
    Close,
    Batch,
    Sink,
    /// The first `through`, the second …, counted from 1.
    Through(usize),
    DeadLetters,
    Workers,
    Delivery,
    Interval,
    Queries,
}

/// A rule that is broken, if it is.
type Broken = Option<(Key, String)>;

impl Key {
    /// As a file says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Via => "via",
            Self::Until => "until",
            Self::Close => "close",
            Self::Batch => "batch",
            Self::Sink => "sink",
            Self::Through(_) => "through",
            Self::DeadLetters => "dead_letters",
            Self::Workers => "workers",
            Self::Delivery => "delivery",
            Self::Interval => "interval",
            Self::Queries => "queries",
        }
    }
}

impl Contradiction {
    /// As the command line says it.
    pub fn in_arguments(self) -> Error {
        let what = self.what;
        Error::Arguments(match self.key {
            Key::Name => format!("{what}; name it with --name"),
            Key::Sink => format!("--to: {what}"),
            Key::DeadLetters => format!("dead letters: {what}"),
            key => format!("--{}: {what}", key.name()),
        })
    }
}

/// Whether several workers can share what a pipeline reads.
pub(super) fn is_shared(pipeline: &Pipeline) -> bool {
    pipeline.reads().is_some_and(|topic| topic.brokers.is_some())
}

/// The first rule that is broken. `line` is what `asked` makes, first to last.
pub(super) fn contradiction(asked: &Asked, line: &[&Pipeline]) -> Option<Contradiction> {
    let broken = |(key, what)| Contradiction { key, what };
    name(&asked.name)
        .or_else(|| line.first().and_then(|first| source(first)))
        .or_else(|| rounds(line))
        .or_else(|| sharing(asked, line))
        .or_else(|| line.last().and_then(|last| commits(last)))
        .or_else(|| line.last().and_then(|last| tables(last)))
        .map(broken)
}

fn name(name: &str) -> Broken {
    let legal = name.len() <= LONGEST_NAME && crate::log::check_name(name).is_ok();
    let shown = excerpt(name, 80);
    let what = format!(
        "\"{shown}\" cannot name a pipeline, whose name is that of its topics: use up to {LONGEST_NAME} letters, digits, \
         '.', '_' and '-'"
    );
    (!legal).then_some((Key::Name, what))
}

/// How the source is kept, and how it ends.
fn source(pipeline: &Pipeline) -> Broken {
    let Pipeline { source, via, until, close, .. } = pipeline;
    if source.goes_back() && via.is_some() {
        let what = "is for sources that cannot go back (http:, sim:); this one can, so leave it out";
        return Some((Key::Via, what.to_owned()));
    }
    if let Some(via) = via
        && crate::log::check_name(&via.topic).is_err()
    {
        let what = format!(
            "by default it is {}, which is longer than a topic's name can be (249); name a topic, or rename the pipeline",
            excerpt(&via.topic, 80)
        );
        return Some((Key::Via, what));
    }
    if !source.goes_back() && *until == Until::End {
        let what =
            "\"end\" never comes for a source that is polled; use \"stopped\" or a duration such as \"95m\"".to_owned();
        return Some((Key::Until, what));
    }
    if let (Source::File(file), Until::End) = (source, until)
        && file.follow
    {
        let what = "\"end\" never comes for a file that is followed; leave out one of `until` and `follow`".to_owned();
        return Some((Key::Until, what));
    }
    if *close && *until != Until::End {
        let what = "every window closes at the end of the source, and this one is left before its end, so the next run \
                    would find its windows closed; leave it out, or read with until = \"end\"";
        return Some((Key::Close, what.to_owned()));
    }
    None
}

/// No stage writes what it or one before it reads, and dead letters are read by none.
fn rounds(line: &[&Pipeline]) -> Broken {
    for (number, pipeline) in (1..).zip(line) {
        let key = if number == line.len() { Key::Sink } else { Key::Through(number) };
        if line[..number].iter().any(|before| is_read(before, &pipeline.sink)) {
            let what = format!(
                "{} is what this pipeline reads, so it would go round for ever; write elsewhere",
                pipeline.sink
            );
            return Some((key, what));
        }
        let read = match (&pipeline.dead_letters, &pipeline.source) {
            (LettersUri::Topic(letters), _) => pipeline.reads() == Some(letters),
            (LettersUri::Lines(letters), Source::File(file)) => same(&file.path, letters),
            _ => false,
        };
        if read {
            let what = format!(
                "{} is what this pipeline reads, so it would go round for ever; write them elsewhere",
                pipeline.dead_letters
            );
            return Some((Key::DeadLetters, what));
        }
    }
    None
}

/// Whether a pipeline reads what a sink writes.
fn is_read(pipeline: &Pipeline, sink: &Sink) -> bool {
    match (sink, &pipeline.source) {
        (Sink::Topic(sink), _) => pipeline.reads() == Some(sink),
        (Sink::Delta(sink), Source::Delta(source)) => match (&sink.table, &source.table) {
            (Location::Directory(one), Location::Directory(other)) => same(one, other),
            (one, other) => one == other,
        },
        _ => false,
    }
}

/// Whether two paths are written for one file; links are not looked through.
fn same(one: &Path, other: &Path) -> bool {
    let whole = |path: &Path| absolute(path).unwrap_or_else(|_| path.to_owned());
    whole(one) == whole(other)
}

/// Who reads in parts.
fn sharing(asked: &Asked, line: &[&Pipeline]) -> Broken {
    if asked.workers.is_some_and(|workers| workers > 1) && !line.iter().any(|pipeline| is_shared(pipeline)) {
        let what = "the embedded log is read by one worker, and so is a file; to share the work, read a topic in Kafka: as \
                    the source, with `via` or with `through`";
        return Some((Key::Workers, what.to_owned()));
    }
    if asked.batch.is_some() && line.iter().all(|pipeline| pipeline.reads().is_none()) {
        return Some((Key::Batch, "is for topics, and nothing here reads one; leave it out".to_owned()));
    }
    None
}

/// Whether what the last stage promises can be kept.
fn commits(last: &Pipeline) -> Broken {
    if last.delivery == Delivery::ExactlyOnce
        && let Some(obstacle) = last.obstacle()
    {
        return Some((Key::Delivery, format!("not exactly once: {obstacle}; or ask for \"at-least-once\"")));
    }
    let longest = last.longest_open().filter(|longest| last.interval > *longest)?;
    let what = format!(
        "a transaction that is open for more than {:?} is ended by the broker; write {longest:?} or less",
        longest * 2
    );
    Some((Key::Interval, what))
}

/// Whether there are tables for those who ask for them.
fn tables(last: &Pipeline) -> Broken {
    let queries = last.queries.as_ref().filter(|queries| queries.file(&last.sink).is_none())?;
    let query = queries.queries.iter().find(|query| matches!(query.ask, Ask::Tables(_)))?;
    let what = format!(
        "{} asks tables, and {} has none; write to sqlite:, or name the file of the tables with `database`",
        query.path, last.sink
    );
    Some((Key::Queries, what))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_interval_follows_the_timeout_that_the_client_was_given() {
        let source = Source::new(&"kafka://localhost:9092/in".parse().unwrap()).unwrap();
        let mut asked = Asked::new("p", source, Vec::new(), Sink::Topic("kafka://localhost:9092/out".parse().unwrap()));
        let refused = |asked: &Asked| asked.resolve().err().map(|contradiction| contradiction.key);
        asked.interval = Some(Duration::from_secs(6));
        assert_eq!(refused(&asked), Some(Key::Interval));
        asked.client.insert("transaction.timeout.ms".to_owned(), "12000".to_owned());
        assert_eq!(refused(&asked), None);
        asked.client.clear();
        asked.delivery = Some(Delivery::AtLeastOnce);
        assert_eq!(refused(&asked), None);
    }
}
