//! `stamp` 2.0.0: a new one, which takes back no state of those before it.

struct Third;

impl versions::Release for Third {
    const VERSION: &'static str = "2.0.0";
}

apogee_sdk::export_stateful!(versions::Stamp<Third>);
