//! A dead letter for a person: on one line, or all of it. Whatever others wrote is escaped.

use std::io::{self, Write};

use jiff::Timestamp;

use crate::cli::printable;
use crate::config::text::excerpt;
use crate::dead_letter::{Letter, Text};

/// Which plugin, or the source, gave the reason.
pub(super) fn by(letter: &Letter<'_>) -> String {
    printable(&match &letter.version {
        Some(version) => format!("{} {version}", letter.by),
        None => letter.by.to_string(),
    })
}

pub(super) fn short(letter: &Letter<'_>) -> String {
    let Letter { pipeline, partition, offset, cause, reason, .. } = letter;
    let (pipeline, cause) = (printable(pipeline), printable(cause));
    format!("{pipeline}  {partition}-{offset}  {}  {cause}: {}", by(letter), excerpt(reason, 120))
}

pub(super) fn all(letter: &Letter<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut row = |what: &str, text: &str| {
        let mut what = what;
        text.lines().try_for_each(|line| {
            let shown = excerpt(line, usize::MAX);
            writeln!(out, "{:11} {shown}", std::mem::take(&mut what)).map(|()| ())
        })
    };
    row("pipeline", &letter.pipeline)?;
    row("source", &letter.source)?;
    row("origin", &format!("partition {} offset {}", letter.partition, letter.offset))?;
    if let Some(timestamp) = letter.timestamp {
        let time = Timestamp::from_millisecond(timestamp).map(|time| format!(" ({time})")).unwrap_or_default();
        row("timestamp", &format!("{timestamp}{time}"))?;
    }
    for ran in &letter.before {
        row("after", &format!("{} {} ({})", ran.name, ran.version, ran.hash))?;
    }
    row("by", &by(letter))?;
    row("hash", letter.hash.as_deref().unwrap_or_default())?;
    if let Some(settings) = &letter.settings {
        row("settings", &settings.to_string())?;
    }
    row("cause", &letter.cause)?;
    row("reason", &letter.reason)?;
    row("said", &letter.said.join("\n"))?;
    row("backtrace", &letter.backtrace.join("\n"))?;
    for (name, value) in &letter.headers {
        row("header", &format!("{}: {}", text(name), text(value)))?;
    }
    row("key", &letter.key.as_ref().map_or("null".into(), text))?;
    row("value", &letter.value.as_ref().map_or("null".into(), text))
}

/// What is text as such, else in hexadecimal; with a note where it is only the start.
fn text(text: &Text<'_>) -> String {
    let shown = match str::from_utf8(text.bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => text.bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>() + " (hex)",
    };
    if text.is_whole() { shown } else { format!("{shown} … (the start of {} bytes)", text.length()) }
}
