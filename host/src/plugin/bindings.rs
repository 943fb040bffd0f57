//! Types and calls generated from `wit/`.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "aggregator",
});

pub use apogee::plugin::messages;
pub use exports::apogee::plugin::{query, state, timer, transform};
