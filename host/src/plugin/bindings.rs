//! Types and calls generated from `wit/`.

wasmtime::component::bindgen!({
    path: "../wit",
    // Every interface that a plugin may have.
    inline: "package apogee:host; world every { \
        include apogee:plugin/aggregator@0.1.0; include apogee:plugin/positioned@0.1.0; \
    }",
    world: "apogee:host/every",
});

pub use apogee::plugin::messages;
pub use exports::apogee::plugin::{position, query, state, timer, transform};
