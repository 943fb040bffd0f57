//! `stamp` 1.0.0: the first version.

// Only ever a component.
#![cfg(target_family = "wasm")]

struct First;

impl versions::Release for First {
    const VERSION: &'static str = "1.0.0";
}

apogee_sdk::export_stateful!(versions::Stamp<First>);
