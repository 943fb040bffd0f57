//! What a plugin with state implements, and what the component does with it.

use crate::message::Strings;
use crate::state::{Part, State, Unreadable};
use crate::wire::{self, Entries};
use crate::{Output, Transform};

/// A plugin with state that outlives the instance, and maybe with output that waits for a time.
///
/// The host takes what changed at each checkpoint, and gives it back to a new instance with the same settings. From
/// there on, the new one must put out what the old one would have: so nothing may be remembered outside of
/// [`state`](Self::state) that output depends on.
pub trait Stateful: Transform {
    /// All that the plugin remembers.
    fn state(&mut self) -> &mut dyn State;

    /// Whether state that this version of the plugin kept can be taken back: by default the same major and minor version.
    /// One that also accepts others says with [`Value::decode_of`](crate::Value::decode_of) how to read them.
    fn accepts(version: &str) -> bool {
        is_of_line(version, Self::VERSION)
    }

    /// Puts out what waited for event time to reach `watermark`, in milliseconds since the Unix epoch; `i64::MAX` is
    /// the end, for which everything waits.
    fn advance(&mut self, _watermark: i64, _out: &mut Output) {}
}

/// A plugin with state that answers questions about it.
pub trait Answers: Stateful {
    /// Answers with a JSON text: a list, where answers of several partitions can be laid end to end. What is asked is the
    /// plugin's own language; the error says what it understands. Nothing that output depends on is changed, and the
    /// answer is bounded, because the stream waits for it.
    fn ask(&mut self, question: &str) -> Result<String, String>;
}

/// Asks as the component does.
pub fn ask<T: Answers>(plugin: &mut T, question: &str) -> Result<String, String> {
    plugin.ask(question)
}

/// Whether two versions have the same major and minor number.
fn is_of_line(version: &str, other: &str) -> bool {
    let line = |version: &str| version.rsplit_once('.').map(|(line, _)| line.to_owned());
    version == other || line(version).is_some_and(|own| Some(own) == line(other))
}

/// Moves event time on as the component does.
pub fn advance<T: Stateful>(plugin: &mut T, watermark: i64) -> wire::Output {
    let mut out = Output::new();
    plugin.advance(watermark, &mut out);
    out.without_origins()
}

/// A part of what changed, as the component gives it; no entries once everything was given.
pub fn changes<T: Stateful>(plugin: &mut T) -> Entries {
    let mut part = Part::new();
    plugin.state().changes(&mut part);
    part.into_entries()
}

/// Takes back what `version` of the plugin kept, as the component does; the error refuses it.
pub fn restore<T: Stateful>(plugin: &mut T, version: &str, entries: Entries) -> Result<(), String> {
    if !T::accepts(version) {
        return Err(format!("it was kept by version {version}, and {} does not read that", T::VERSION));
    }
    let other = (!is_of_line(version, T::VERSION)).then_some(version);
    let state = plugin.state();
    for (key, value) in Strings::of(&entries.keys).zip(Strings::of(&entries.values)) {
        let key = key.unwrap_or_default();
        state.restore(key, value, other).map_err(|error| match error {
            Unreadable::Refused(reason) => reason,
            Unreadable::Foreign => {
                format!("the entry with the key {} is not of this plugin", key[..key.len().min(60)].escape_ascii())
            }
        })?;
    }
    Ok(())
}
