//! Sources, from what is written to what is asked for.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;

use super::{choice, set, span};
use crate::config::error::{Fault, fault};
use crate::config::text::excerpt;
use crate::config::{Source, format_of, written};
use crate::log::Start;
use crate::source::file::Format;
use crate::source::{self, delta, http};
use crate::uri::SourceUri;

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

pub(super) fn source(written: &Spanned<written::Source>) -> Result<Source, Fault> {
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
