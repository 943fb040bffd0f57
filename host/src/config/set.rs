//! `--set KEY=VALUE`: settings of a plugin as they are given on the command line and to a running host.

use serde_json::{Map, Value};

use crate::config::Error;
use crate::config::text::excerpt;

/// One setting. The value is JSON where it reads as JSON, else a text.
pub struct Set<'a> {
    text: &'a str,
    pub key: &'a str,
    pub value: Value,
}

impl<'a> Set<'a> {
    pub fn read(text: &'a str) -> Result<Self, Error> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let set = Self { text, key, value: serde_json::from_str(value).unwrap_or_else(|_| value.into()) };
        if text.contains('=') { Ok(set) } else { Err(set.wrong("no value; write KEY=VALUE")) }
    }

    pub fn wrong(&self, what: &str) -> Error {
        Error::Arguments(format!("--set {}: {what}", excerpt(self.text, 400)))
    }

    /// Puts it among those that were given before.
    pub fn put(self, settings: &mut Map<String, Value>) -> Result<(), Error> {
        if self.key.is_empty() {
            return Err(self.wrong("no key; write KEY=VALUE"));
        }
        if settings.contains_key(self.key) {
            return Err(self.wrong("this key is set twice; remove one"));
        }
        settings.insert(self.key.to_owned(), self.value);
        Ok(())
    }
}

/// The settings of one plugin.
pub fn settings(set: &[String]) -> Result<Map<String, Value>, Error> {
    let mut settings = Map::new();
    set.iter().try_for_each(|set| Set::read(set)?.put(&mut settings))?;
    Ok(settings)
}
