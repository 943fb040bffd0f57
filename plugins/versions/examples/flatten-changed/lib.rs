//! `flatten` with exactly one field changed: of an `altitude` only the whole number is put out.

// Only ever a component.
#![cfg(target_family = "wasm")]

#[path = "../../../flatten/src/append.rs"]
mod append;
#[path = "../../../flatten/src/convert.rs"]
mod convert;
#[path = "../../../flatten/src/flatten.rs"]
mod flatten;
#[path = "../../../flatten/src/settings.rs"]
mod settings;
#[path = "../../../flatten/src/time.rs"]
mod time;

use apogee_sdk::{Field, Message, Output, Rejection, Transform};
use flatten::Flatten;
use settings::Settings;

struct Changed(Flatten);

impl Transform for Changed {
    const NAME: &'static str = Flatten::NAME;
    const VERSION: &'static str = "0.1.1";
    const SUMMARY: &'static str = Flatten::SUMMARY;
    type Settings = Settings;

    fn open(settings: Settings) -> Result<Self, String> {
        Flatten::open(settings).map(Self)
    }

    fn fields(&self) -> Vec<Field> {
        self.0.fields()
    }

    fn key(&self) -> Vec<String> {
        self.0.key()
    }

    fn process(&mut self, message: Message<'_>, out: &mut Output) -> Result<(), Rejection> {
        let value = message.value.map(cut);
        self.0.process(Message { value: value.as_deref(), ..message }, out)
    }
}

/// Leaves the fraction of the altitude out.
fn cut(text: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"\"altitude\":";
    let mut text = text.to_vec();
    let digit = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
    let Some(at) = text.windows(NAME.len()).position(|bytes| bytes == NAME) else { return text };
    let number = at + NAME.len() + text[at + NAME.len()..].iter().take_while(|byte| **byte == b' ').count();
    let point = number + text[number..].iter().take_while(|byte| digit(byte)).count();
    if text.get(point) == Some(&b'.') {
        let end = point + 1 + text[point + 1..].iter().take_while(|byte| digit(byte)).count();
        text.drain(point..end);
    }
    text
}

apogee_sdk::export!(Changed);
