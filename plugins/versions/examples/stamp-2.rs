//! `stamp` 1.0.1: the next one, which goes on from its state.

// Only ever a component.
#![cfg(target_family = "wasm")]

struct Second;

impl versions::Release for Second {
    const VERSION: &'static str = "1.0.1";
}

apogee_sdk::export_stateful!(versions::Stamp<Second>);
