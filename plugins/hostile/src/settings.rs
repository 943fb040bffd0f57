//! How to misbehave, as the settings say: `{"how": "trap"}`, for some with a `count`; and when.

use serde::Deserialize;

/// The settings of one instance.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub how: How,
    /// How many bytes, messages, lines or fields, where the way has a number; its default is with it.
    pub count: Option<u64>,
    /// Misbehaves in `process` only when a message comes whose value has [`MARK`] in it; all others go through.
    #[serde(default)]
    pub marked: bool,
    /// Where it behaves, it counts messages by key, and puts out `{"count":3,"message":…}` with the value as it came.
    #[serde(default)]
    pub keep: bool,
}

/// What marks a message.
pub const MARK: &[u8] = b"poison";

impl Settings {
    pub fn count_or(&self, default: u64) -> u64 {
        self.count.unwrap_or(default)
    }
}

/// A way to misbehave; all of them in `process` unless it says otherwise. Whatever is not said behaves: no state, and
/// nothing that waits for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Well behaved: what comes in goes out.
    Echo,
    /// Never returns from `open`.
    LoopInOpen,
    /// Panics in `open`.
    TrapInOpen,
    /// Never returns.
    LoopInProcess,
    /// Takes memory, and writes to it, until there is none.
    Allocate,
    /// Calls itself until the stack is gone.
    Recurse,
    /// Panics, with a text.
    Trap,
    /// Aborts, without one.
    Abort,
    /// Lengths of values that sum up to more than the bytes.
    LengthsTooLong,
    /// Lengths that are negative, and not the -1 that is a null.
    LengthsNegative,
    /// Lengths that sum up to less than the bytes.
    LengthsShort,
    /// No timestamps, but values.
    ColumnsUneven,
    /// A header of a message that is not there.
    HeadersOutOfRange,
    /// Origins that no incoming message has.
    OriginsOutOfRange,
    /// No origins at all.
    OriginsMissing,
    /// Rejects each message; with a `count` about one in so many, by their values.
    Reject,
    /// Rejects a message that did not come in.
    RejectedOutOfRange,
    /// Rejects the first message twice.
    RejectedTwice,
    /// Rejects the first message for a reason of `count` (a million) times ten bytes or so, with escapes in it.
    GiantReason,
    /// Puts out `count` (a million) empty messages.
    MillionMessages,
    /// Puts out one message of `count` bytes (1 GiB).
    GiantOutput,
    /// Writes a line of 8,000 bytes to stderr and `count` (ten million) with ANSI escapes, then behaves.
    LogFlood,
    /// Takes pollables from the host and keeps them, until it gets no more.
    HoardHandles,
    /// Opens output streams and keeps them, until it gets no more.
    HoardStreams,
    /// Asks for `count` (2^64 - 1) random bytes at once.
    HoardRandom,
    /// Puts out, as JSON, what clock, randomness, environment and files give.
    ClockRandomEnv,
    /// `open` answers with `count` (10,001) fields.
    BadFields,
    /// `open` answers with two fields of one name, which has an escape in it.
    DuplicateFields,
    /// Never returns from `restore`.
    LoopInRestore,
    /// Panics in `advance`.
    TrapInAdvance,
    /// Panics in `changes`.
    TrapInChanges,
    /// Panics in `restore`.
    TrapInRestore,
    /// Refuses any state, for a reason with an escape in it.
    RefuseState,
    /// Never returns from `advance`.
    LoopInAdvance,
    /// Puts out `count` (a million) empty messages in `advance`.
    MillionInAdvance,
    /// Names origins in `advance`, where no message came in.
    OriginsInAdvance,
    /// Never returns from `changes`.
    LoopInChanges,
    /// Lengths of changed keys that sum up to more than the bytes.
    ChangesTooLong,
    /// Two changed keys and one value.
    ChangesUneven,
    /// A change without a key.
    ChangesWithoutKey,
    /// A change of `count` bytes (1 MiB), and another one each time that it is asked.
    ChangesWithoutEnd,
    /// A change of no bytes at all, and another one each time that it is asked.
    NothingWithoutEnd,
}

/// JSON Schema of the settings. It leaves the names of the ways to `open`.
pub const SCHEMA: &str = r#"{
    "type": "object",
    "properties": {
        "how": {"type": "string"},
        "count": {"type": "integer", "minimum": 0},
        "marked": {"type": "boolean"},
        "keep": {"type": "boolean"}
    },
    "required": ["how"],
    "additionalProperties": false
}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_say_how() {
        let settings: Settings = serde_json::from_str(r#"{"how":"log-flood","count":3}"#).expect("settings");
        assert_eq!((settings.how, settings.count_or(9)), (How::LogFlood, 3));
        assert!(!settings.marked && !settings.keep);
        assert!(serde_json::from_str::<Settings>(r#"{"how":"nicely"}"#).is_err());
        assert!(serde_json::from_str::<serde_json::Value>(SCHEMA).is_ok_and(|schema| schema["required"][0] == "how"));
    }
}
