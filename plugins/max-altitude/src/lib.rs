//! Passes on each message that has a new highest value of a field, by key: the last one that came out of a key is the
//! message with its maximum. A value that only equals the highest is no new one.
//!
//! Rejected, with the reason: a value that is not one JSON object, a message without the field, a field that is neither
//! a number nor a string that says one.

use apogee_json::{Kind, Number, Reader, Seen, Token, excerpt, quote};
use apogee_sdk::{Answers, Keyed, Message, Output, Rejection, State, Stateful, Transform};
use schemars::JsonSchema;
use serde::Deserialize;

/// Most keys of an answer.
const ANSWERED: usize = 10_000;

/// The settings of a pipeline file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The field whose highest value counts, by its flattened name.
    pub field: String,
    /// The fields that say what belongs together, by their flattened names. Without any it is the message's key.
    pub by: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { field: "altitude".to_owned(), by: Vec::new() }
    }
}

/// The plugin: opened with its [`Settings`].
pub struct MaxAltitude {
    settings: Settings,
    reader: Reader,
    /// Where the field and the group are among the leaves of the present shape.
    field: Option<usize>,
    by: Vec<Option<usize>>,
    /// The digits of the highest value, by group.
    highest: Keyed<Vec<u8>>,
    group: Vec<u8>,
}

impl Transform for MaxAltitude {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Passes on each message that has a new highest value of a field.";
    type Settings = Settings;

    fn open(settings: Settings) -> Result<Self, String> {
        let (reader, by) = (Reader::deep("_"), vec![None; settings.by.len()]);
        Ok(Self { settings, reader, field: None, by, highest: Keyed::new(), group: Vec::new() })
    }

    fn groups(&self) -> Vec<String> {
        self.settings.by.clone()
    }

    fn process(&mut self, message: Message<'_>, out: &mut Output) -> Result<(), Rejection> {
        let text = message.value.ok_or("not a JSON object: the value is null")?;
        match self.reader.read(text) {
            Ok(Seen::Same) => {}
            Ok(Seen::New) => self.resolve(),
            Err(error) => return Err(format!("not a JSON object: {error}").into()),
        }
        self.set_group(message.key, text)?;
        let number = self.number(text)?;
        let digits = number.raw(text);
        if let Some(highest) = self.highest.get(&self.group)
            && Number::read(digits) <= Number::read(highest)
        {
            return Ok(());
        }
        self.highest.set(&self.group, digits.to_vec());
        out.value().extend_from_slice(text);
        for header in message.headers {
            out.header(&header.name, &header.value);
        }
        out.emit(message.key, message.timestamp);
        Ok(())
    }
}

impl Stateful for MaxAltitude {
    fn state(&mut self) -> &mut dyn State {
        &mut self.highest
    }
}

impl MaxAltitude {
    fn resolve(&mut self) {
        self.field = self.reader.find(&self.settings.field);
        for (leaf, name) in self.by.iter_mut().zip(&self.settings.by) {
            *leaf = self.reader.find(name);
        }
    }

    fn token(&self, leaf: Option<usize>, name: &str) -> Result<Token, Rejection> {
        let token = leaf.and_then(|leaf| self.reader.tokens().get(leaf)).filter(|token| token.kind != Kind::Null);
        token.copied().ok_or_else(|| format!("field `{name}`: missing or null").into())
    }

    /// The number of the field; one that a float can hold.
    fn number(&self, text: &[u8]) -> Result<Token, Rejection> {
        let name = &self.settings.field;
        let token = self.token(self.field, name)?;
        let number = token.numeric(text).filter(|number| Number::read(number.raw(text)).is_some());
        number.ok_or_else(|| format!("field `{name}`: {} is not a number", excerpt(token.raw(text))).into())
    }

    /// Makes the group of a message: its fields, or its key, which may be null.
    fn set_group(&mut self, key: Option<&[u8]>, text: &[u8]) -> Result<(), Rejection> {
        self.group.clear();
        if self.by.is_empty() {
            self.group.push(u8::from(key.is_some()));
            self.group.extend_from_slice(key.unwrap_or_default());
            return Ok(());
        }
        let names = self.by.iter().zip(&self.settings.by);
        let tokens = names.map(|(leaf, name)| self.token(*leaf, name)).collect::<Result<Vec<_>, _>>()?;
        apogee_json::key(tokens.iter().map(|token| token.raw(text)), &mut self.group);
        Ok(())
    }
}

impl Answers for MaxAltitude {
    /// The highest value of each key, or of the one that is the question.
    fn ask(&mut self, question: &str) -> Result<String, String> {
        let highest = match question {
            "" if self.highest.len() > ANSWERED => {
                return Err(format!("there are {} keys, and {ANSWERED} are the most; ask for one", self.highest.len()));
            }
            "" => self.highest.sorted(),
            key => {
                let group = if self.settings.by.is_empty() { format!("\x01{key}") } else { key.to_owned() };
                let digits = self.highest.get(group.as_bytes());
                return Ok(digits.map_or_else(|| "[]".to_owned(), |digits| self.list(&[(group.as_bytes(), digits)])));
            }
        };
        Ok(self.list(&highest))
    }
}

impl MaxAltitude {
    /// Objects of a key, which may be null, and the highest value of the field.
    fn list(&self, highest: &[(&[u8], &Vec<u8>)]) -> String {
        let mut json = vec![b'['];
        for (place, (group, digits)) in highest.iter().enumerate() {
            json.extend_from_slice(if place == 0 { b"{\"key\":" } else { b",{\"key\":" });
            let key = match group.split_first() {
                _ if !self.settings.by.is_empty() => Some(*group),
                Some((1, key)) => Some(key),
                _ => None,
            };
            match key {
                Some(key) => quote(String::from_utf8_lossy(key).as_bytes(), &mut json),
                None => json.extend_from_slice(b"null"),
            }
            json.push(b',');
            quote(self.settings.field.as_bytes(), &mut json);
            json.push(b':');
            json.extend_from_slice(digits);
            json.push(b'}');
        }
        json.push(b']');
        String::from_utf8_lossy(&json).into_owned()
    }
}

apogee_sdk::export_aggregator!(MaxAltitude);
