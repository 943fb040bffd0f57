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
//! There is one macro for each set of capabilities: [`export!`] makes a stateless plugin.

#[doc(hidden)]
pub mod bindings;
mod message;
mod output;
mod transform;

/// The types that cross the sandbox wall, as `wit/` has them.
pub mod wire {
    pub use crate::bindings::apogee::plugin::messages::{Batch, Column, Header, Output, Rejection};
    pub use crate::bindings::exports::apogee::plugin::transform::{Description, Opened};
}

pub use bindings::exports::apogee::plugin::transform::{Field, Kind};
pub use message::Message;
pub use output::Output;
pub use transform::{Rejection, Transform, describe, open, opened, process};
pub use wire::Header;

/// Makes a component of a [`Transform`]. Does nothing in a native build.
// rustfmt moves the last line of it to the left, each time it is run.
#[rustfmt::skip]
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::bindings::exports::apogee::plugin::transform::Guest;
            use $crate::wire;

            ::std::thread_local! {
                static PLUGIN: ::std::cell::RefCell<Option<$plugin>> =
                    const { ::std::cell::RefCell::new(None) };
            }

            struct Component;

            impl Guest for Component {
                fn describe() -> wire::Description {
                    $crate::describe::<$plugin>()
                }

                fn open(settings: String) -> Result<wire::Opened, String> {
                    let plugin: $plugin = $crate::open(&settings)?;
                    let opened = $crate::opened(&plugin);
                    PLUGIN.set(Some(plugin));
                    Ok(opened)
                }

                fn process(batch: wire::Batch) -> wire::Output {
                    let opened = "the host calls `open` before `process`";
                    PLUGIN.with_borrow_mut(|it| $crate::process(it.as_mut().expect(opened), batch))
                }
            }

            $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
