//! `stamp`, in whatever version: puts into each message which version made it, and how many there were of its key.
//!
//! `{"id":7}` becomes `{"id":7,"version":"1.0.0","count":3}`; `id` is copied as it stands, the key is kept. So what comes
//! out shows who made it, and whether state was lost or counted twice. Rejected: a value that is not one JSON object, or
//! that has no such field.

use std::marker::PhantomData;

use apogee_json::{Kind, Reader, Seen, excerpt};
use apogee_sdk::{Field, Keyed, Message, Output, Rejection, State, Stateful, Transform};
use schemars::JsonSchema;
use serde::Deserialize;

/// Which version of `stamp` it is.
pub trait Release: 'static {
    const VERSION: &'static str;
    /// Fails at each message whose count this divides; a sound one at none.
    const FAILS_AT: Option<i64> = None;
}

/// The settings of a pipeline file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The field, an integer, that names a message.
    pub id: String,
    /// What each message counts for.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub step: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { id: "id".to_owned(), step: 1 }
    }
}

/// The plugin: opened with its [`Settings`].
pub struct Stamp<R> {
    settings: Settings,
    reader: Reader,
    /// Where the field is among the leaves of the present shape.
    id: Option<usize>,
    counts: Keyed<i64>,
    group: Vec<u8>,
    release: PhantomData<R>,
}

impl<R: Release> Transform for Stamp<R> {
    const NAME: &'static str = "stamp";
    const VERSION: &'static str = R::VERSION;
    const SUMMARY: &'static str = "Puts into each message which version made it, and how many there were of its key.";
    type Settings = Settings;

    fn open(settings: Settings) -> Result<Self, String> {
        let (reader, counts) = (Reader::flat(), Keyed::new());
        Ok(Self { settings, reader, id: None, counts, group: Vec::new(), release: PhantomData })
    }

    fn fields(&self) -> Vec<Field> {
        use apogee_sdk::Kind::{Integer, Text};
        let fields = [("id", Integer), ("version", Text), ("count", Integer)];
        fields.map(|(name, kind)| Field { name: name.to_owned(), kind, nullable: false }).into()
    }

    fn process(&mut self, message: Message<'_>, out: &mut Output) -> Result<(), Rejection> {
        let text = message.value.ok_or("not a JSON object: the value is null")?;
        match self.reader.read(text) {
            Ok(Seen::Same) => {}
            Ok(Seen::New) => self.id = self.reader.find(&self.settings.id),
            Err(error) => return Err(format!("not a JSON object: {error}").into()),
        }
        let id = self.id.and_then(|leaf| self.reader.tokens().get(leaf));
        let id = id.ok_or_else(|| format!("field `{}`: missing", self.settings.id))?;
        if id.kind != Kind::Integer {
            return Err(format!("field `{}`: {} is no integer", self.settings.id, excerpt(id.raw(text))).into());
        }
        self.group.clear();
        self.group.push(u8::from(message.key.is_some()));
        self.group.extend_from_slice(message.key.unwrap_or_default());
        let count = self.counts.get(&self.group).copied().unwrap_or(0) + self.settings.step;
        assert!(R::FAILS_AT.is_none_or(|at| count % at != 0), "it cannot bear the number {count}");
        self.counts.set(&self.group, count);
        let json = out.value();
        json.extend_from_slice(b"{\"id\":");
        json.extend_from_slice(id.raw(text));
        json.extend_from_slice(format!(",\"version\":\"{}\",\"count\":{count}}}", R::VERSION).as_bytes());
        out.emit(message.key, message.timestamp);
        Ok(())
    }
}

impl<R: Release> Stateful for Stamp<R> {
    fn state(&mut self) -> &mut dyn State {
        &mut self.counts
    }
}
