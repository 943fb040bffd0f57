//! Write an Apogee plugin in Rust: a struct, a trait and one macro line.
//!
//! A plugin computes only. It has no clock, no randomness, no files and no network: what it puts out follows
//! from the messages and its settings alone, so a replay gives the same again. A message that it cannot use
//! is rejected with a reason, which is an `Err`; a panic ends the instance and should stay a bug.
//!
//! A complete plugin, which keeps what is at least so long and puts its length before it:
//!
//! ```
//! use apogee_sdk::{Message, Output, Rejection, Transform};
//! use schemars::JsonSchema;
//! use serde::Deserialize;
//!
//! /// The settings, as they stand in a pipeline file.
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {
//!     /// Shorter values are left out.
//!     minimum: usize,
//! }
//!
//! struct Measure {
//!     minimum: usize,
//! }
//!
//! impl Transform for Measure {
//!     const NAME: &'static str = env!("CARGO_PKG_NAME");
//!     const VERSION: &'static str = env!("CARGO_PKG_VERSION");
//!     const SUMMARY: &'static str = "Puts the length before each value.";
//!     type Settings = Settings;
//!
//!     fn open(settings: Settings) -> Result<Self, String> {
//!         Ok(Self { minimum: settings.minimum })
//!     }
//!
//!     fn process(&mut self, message: Message<'_>, out: &mut Output) -> Result<(), Rejection> {
//!         let value = message.value.ok_or("the value is null")?;
//!         if value.len() >= self.minimum {
//!             out.value().extend_from_slice(format!("{} ", value.len()).as_bytes());
//!             out.value().extend_from_slice(value);
//!             out.emit(message.key, message.timestamp);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! apogee_sdk::export!(Measure);
//! ```
//!
//! It is a library crate with `crate-type = ["cdylib", "rlib"]`; `cargo build --target wasm32-wasip2
//! --release` makes the component, and its tests run natively, with [`open`] and [`process`] for the host.
//!
//! There is one macro for each set of capabilities: [`export!`] makes a stateless plugin, [`export_stateful!`] one that
//! keeps [`Keyed`] state or [`Windows`] and says so with [`Stateful`], [`export_aggregator!`] one that also [`Answers`]
//! questions about it, [`export_positioned!`] one that is [`Positioned`]: it knows where its messages come from. One that
//! counts messages by key and minute:
//!
//! ```
//! use apogee_sdk::{Aggregate, Frame, Message, Output, Rejection, State, Stateful, Transform, Value, Windows};
//!
//! #[derive(Default)]
//! struct Count(i64);
//!
//! impl Value for Count {
//!     fn encode(&self, bytes: &mut Vec<u8>) {
//!         self.0.encode(bytes);
//!     }
//!
//!     fn decode(bytes: &[u8]) -> Option<Self> {
//!         i64::decode(bytes).map(Self)
//!     }
//! }
//!
//! impl Aggregate for Count {
//!     fn merge(&mut self, later: Self) {
//!         self.0 += later.0;
//!     }
//! }
//!
//! struct CountByMinute(Windows<Count>);
//!
//! impl CountByMinute {
//!     fn close(&mut self, out: &mut Output) {
//!         self.0.close(|window| {
//!             out.value().extend_from_slice(window.aggregate.0.to_string().as_bytes());
//!             out.emit(Some(window.key), window.end - 1);
//!         });
//!     }
//! }
//!
//! impl Transform for CountByMinute {
//!     const NAME: &'static str = env!("CARGO_PKG_NAME");
//!     const VERSION: &'static str = env!("CARGO_PKG_VERSION");
//!     const SUMMARY: &'static str = "Counts messages by key and minute.";
//!     type Settings = serde_json::Value;
//!
//!     fn open(_: Self::Settings) -> Result<Self, String> {
//!         Ok(Self(Windows::new(Frame::Tumbling { size: 60_000 }, 0, None)?))
//!     }
//!
//!     fn process(&mut self, message: Message<'_>, out: &mut Output) -> Result<(), Rejection> {
//!         let key = message.key.ok_or("a message without a key")?;
//!         self.0.add(key, message.timestamp, |window| window.aggregate.0 += 1)?;
//!         self.close(out);
//!         Ok(())
//!     }
//! }
//!
//! impl Stateful for CountByMinute {
//!     fn state(&mut self) -> &mut dyn State {
//!         &mut self.0
//!     }
//!
//!     fn advance(&mut self, watermark: i64, out: &mut Output) {
//!         self.0.advance(watermark);
//!         self.close(out);
//!     }
//! }
//!
//! apogee_sdk::export_stateful!(CountByMinute);
//! ```

#[doc(hidden)]
pub mod bindings;
mod export;
mod keyed;
mod message;
mod output;
mod positioned;
mod state;
mod stateful;
mod transform;
mod windows;

/// The types that cross the sandbox wall, as `wit/` has them.
pub mod wire {
    pub use apogee_sdk_stateful::apogee::plugin::messages::{Batch, Column, Header, Output, Rejection};
    pub use apogee_sdk_stateful::exports::apogee::plugin::state::Entries;

    pub use crate::bindings::exports::apogee::plugin::transform::{Description, Opened};
}

pub use bindings::exports::apogee::plugin::transform::{Field, Kind};
pub use keyed::Keyed;
pub use message::Message;
pub use output::Output;
pub use positioned::{Position, Positioned, process_at};
pub use state::{Part, State, Unreadable, Value};
pub use stateful::{Answers, Stateful, advance, ask, changes, restore};
pub use transform::{Rejection, Transform, describe, open, opened, process};
pub use windows::{Aggregate, Closed, Frame, Open, Windows};
pub use wire::Header;
