//! `stamp` 1.0.2: goes on from the state of 1.0, and fails at every 500th message of a key, so after others have gone through.

// Only ever a component.
#![cfg(target_family = "wasm")]

struct Trap;

impl versions::Release for Trap {
    const VERSION: &'static str = "1.0.2";
    const FAILS_AT: Option<i64> = Some(500);
}

apogee_sdk::export_stateful!(versions::Stamp<Trap>);
