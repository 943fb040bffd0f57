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
//! keeps [`Keyed`] state or [`Windows`] and says so with [`Stateful`].

#[doc(hidden)]
pub mod bindings;
mod export;
mod keyed;
mod message;
mod output;
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
pub use state::{Part, State, Unreadable, Value};
pub use stateful::{Stateful, advance, changes, restore};
pub use transform::{Rejection, Transform, describe, open, opened, process};
pub use windows::{Aggregate, Closed, Frame, Open, Windows};
pub use wire::Header;
