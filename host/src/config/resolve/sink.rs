//! Sinks, from what is written to what is asked for.

use toml::Spanned;

use super::{choice, set, span};
use crate::config::error::{Fault, fault};
use crate::config::{Sink, written};
use crate::sink::{csv, files, parquet};
use crate::uri::Location;

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

pub(super) fn sink(written: &Spanned<written::Sink>, name: &str) -> Result<Sink, Fault> {
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
    if options.size > files::LARGEST_OBJECT && matches!(options.location, Location::Bucket { .. }) {
        let what = "a file in a bucket is 1GiB at most, because the service makes it visible by a copy; say less";
        return Err(fault(span(&keys.size), what));
    }
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
