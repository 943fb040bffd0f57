//! What a plugin implements, and what the component does with it.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::message::Strings;
use crate::wire::{self, Batch, Description, Opened};
use crate::{Field, Message, Output};

/// What every plugin is. One that remembers something is [`Stateful`](crate::Stateful), too.
pub trait Transform: Sized + 'static {
    /// Mostly `env!("CARGO_PKG_NAME")`.
    const NAME: &'static str;
    /// Mostly `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// One sentence for people who choose a plugin.
    const SUMMARY: &'static str;
    /// The settings of a pipeline file. Put `#[serde(deny_unknown_fields)]` on it, so that a typing error is
    /// found; the doc comments of its fields become their description.
    type Settings: DeserializeOwned + JsonSchema;

    /// Called once, first. An error refuses the settings, and says why.
    fn open(settings: Self::Settings) -> Result<Self, String>;

    /// The fields of what comes out, for sinks that need a schema; none where they are not known in advance.
    fn fields(&self) -> Vec<Field> {
        Vec::new()
    }

    /// The fields of what comes out that make up its key; none where the key is that of what came in.
    fn key(&self) -> Vec<String> {
        Vec::new()
    }

    /// The fields of what comes in by which the plugin keeps its state apart; none where it keeps no state, or keeps
    /// it apart by the key. Messages that agree in them must come in one partition.
    fn groups(&self) -> Vec<String> {
        Vec::new()
    }

    /// Puts out what becomes of one message. An error rejects it, and the batch goes on.
    fn process(&mut self, message: Message<'_>, out: &mut Output) -> Result<(), Rejection>;
}

/// Why a message cannot be used; made from a text by `?` or `.into()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection(pub String);

impl From<String> for Rejection {
    fn from(reason: String) -> Self {
        Self(reason)
    }
}

impl From<&str> for Rejection {
    fn from(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

/// What the component answers to `describe`.
pub fn describe<T: Transform>() -> Description {
    Description {
        name: T::NAME.to_owned(),
        version: T::VERSION.to_owned(),
        summary: T::SUMMARY.to_owned(),
        settings: schemars::schema_for!(T::Settings).to_value().to_string(),
    }
}

/// Opens a plugin as the component does: `settings` is a JSON object; an empty text is one without members.
pub fn open<T: Transform>(settings: &str) -> Result<T, String> {
    let settings = if settings.trim().is_empty() { "{}" } else { settings };
    T::open(serde_json::from_str(settings).map_err(|error| format!("settings: {error}"))?)
}

/// What the component answers to `open`.
pub fn opened<T: Transform>(plugin: &T) -> Opened {
    Opened { fields: plugin.fields(), key: plugin.key(), groups: plugin.groups() }
}

/// Puts a batch through a plugin as the component does.
pub fn process<T: Transform>(plugin: &mut T, batch: Batch) -> wire::Output {
    each(batch, |_, message, out| plugin.process(message, out))
}

/// Gives `process` each message of a batch, with its index.
#[inline(always)]
pub(crate) fn each(
    mut batch: Batch,
    mut process: impl FnMut(u32, Message<'_>, &mut Output) -> Result<(), Rejection>,
) -> wire::Output {
    if !batch.headers.is_sorted_by_key(|header| header.message) {
        batch.headers.sort_by_key(|header| header.message);
    }
    let mut out = Output::for_batch(&batch);
    let mut headers = batch.headers.as_slice();
    let strings = Strings::of(&batch.keys).zip(Strings::of(&batch.values));
    for (incoming, ((key, value), timestamp)) in (0..).zip(strings.zip(&batch.timestamps)) {
        let count = headers.iter().take_while(|header| header.message <= incoming).count();
        let (own, rest) = headers.split_at(count);
        headers = rest;
        out.begin(incoming);
        match process(incoming, Message { key, value, timestamp: *timestamp, headers: own }, &mut out) {
            Ok(()) => out.end(),
            Err(Rejection(reason)) => out.reject(reason),
        }
    }
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Column, Header};

    #[derive(serde::Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        /// How often each message is put out.
        #[serde(default = "twice")]
        times: u32,
    }

    fn twice() -> u32 {
        2
    }

    /// Repeats each message, then looks at it: `bad` is rejected, `half` leaves a value unfinished.
    struct Repeat(u32);

    impl Transform for Repeat {
        const NAME: &'static str = "repeat";
        const VERSION: &'static str = "1.2.3";
        const SUMMARY: &'static str = "Repeats.";
        type Settings = Settings;

        fn open(settings: Settings) -> Result<Self, String> {
            if settings.times > 9 { Err("too often".to_owned()) } else { Ok(Self(settings.times)) }
        }

        fn process(&mut self, message: Message<'_>, out: &mut Output) -> Result<(), Rejection> {
            let Some(value) = message.value else {
                out.emit_null(message.key, message.timestamp);
                return Ok(());
            };
            for _ in 0..self.0 {
                out.value().extend_from_slice(value);
                message.headers.iter().for_each(|header| out.header(&header.name, &header.value));
                out.emit(message.key, message.timestamp + 1);
            }
            out.value().extend_from_slice(b"unfinished");
            out.header("unfinished", b"");
            if value == b"bad" { Err(format!("bad at {}", message.timestamp).into()) } else { Ok(()) }
        }
    }

    fn column(strings: &[Option<&str>]) -> Column {
        Column {
            bytes: strings.iter().flatten().flat_map(|string| string.bytes()).collect(),
            lengths: strings.iter().map(|string| string.map_or(-1, |string| string.len() as i32)).collect(),
        }
    }

    fn header(message: u32, name: &str) -> Header {
        Header { message, name: name.to_owned(), value: name.into() }
    }

    #[test]
    fn a_batch_goes_through_and_a_bad_message_leaves_no_trace() {
        let batch = Batch {
            keys: column(&[Some("k"), None, Some(""), Some("n")]),
            values: column(&[Some("one"), Some("bad"), Some(""), None]),
            timestamps: vec![10, 20, 30, 40],
            headers: vec![header(2, "c"), header(0, "a"), header(1, "b"), header(0, "z")],
        };
        let mut plugin: Repeat = open("").expect("settings");
        let out = process(&mut plugin, batch);
        let expected = column(&[Some("one"), Some("one"), Some(""), Some(""), None]);
        assert_eq!((out.messages.values.bytes, out.messages.values.lengths), (expected.bytes, expected.lengths));
        let expected = column(&[Some("k"), Some("k"), Some(""), Some(""), Some("n")]);
        assert_eq!((out.messages.keys.bytes, out.messages.keys.lengths), (expected.bytes, expected.lengths));
        assert_eq!(out.messages.timestamps, [11, 11, 31, 31, 40]);
        assert_eq!(out.origins, [0, 0, 2, 2, 3]);
        let headers: Vec<_> =
            out.messages.headers.iter().map(|header| (header.message, header.name.as_str())).collect();
        assert_eq!(headers, [(0, "a"), (0, "z"), (1, "a"), (1, "z"), (2, "c"), (3, "c")]);
        let rejected: Vec<_> = out.rejected.iter().map(|r| (r.message, r.reason.as_str())).collect();
        assert_eq!(rejected, [(1, "bad at 20")]);
    }

    #[test]
    fn settings_are_read_and_refused() {
        assert_eq!(open::<Repeat>(r#"{"times":3}"#).map(|plugin| plugin.0), Ok(3));
        assert_eq!(open::<Repeat>(" ").map(|plugin| plugin.0), Ok(2));
        assert_eq!(open::<Repeat>(r#"{"times":10}"#).map(|plugin| plugin.0), Err("too often".to_owned()));
        let error = open::<Repeat>(r#"{"tims":3}"#).map(|plugin| plugin.0).expect_err("an unknown setting");
        assert_eq!(error, "settings: unknown field `tims`, expected `times` at line 1 column 7");
    }

    #[test]
    fn the_description_has_the_schema() {
        let description = describe::<Repeat>();
        assert_eq!((description.name.as_str(), description.version.as_str()), ("repeat", "1.2.3"));
        let schema: serde_json::Value = serde_json::from_str(&description.settings).expect("JSON");
        assert_eq!(schema["properties"]["times"]["description"], "How often each message is put out.");
        assert_eq!(schema["additionalProperties"], false);
    }
}
