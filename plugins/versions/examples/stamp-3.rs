//! `stamp` 2.0.0: a new one, which takes back no state of those before it.

// Only ever a component.
#![cfg(target_family = "wasm")]

struct Third;

impl versions::Release for Third {
    const VERSION: &'static str = "2.0.0";
}

apogee_sdk::export_stateful!(versions::Stamp<Third>);
