//! `stamp` 1.0.2: goes on from the state of 1.0, and fails at every third message of a key.

// Only ever a component.
#![cfg(target_family = "wasm")]

struct Trap;

impl versions::Release for Trap {
    const VERSION: &'static str = "1.0.2";
    const FAILS_AT: Option<i64> = Some(3);
}

apogee_sdk::export_stateful!(versions::Stamp<Trap>);
