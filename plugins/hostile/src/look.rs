//! Looking for what a plugin must not see.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::time::{Duration, Instant, SystemTime};

/// A JSON object of what the host lets through. Two instances must see the same.
pub fn around() -> String {
    let start = Instant::now();
    let files = match std::fs::read_dir("/") {
        Ok(entries) => format!("{} entries", entries.count()),
        Err(error) => format!("{:?}", error.kind()),
    };
    let write = match std::fs::write("/hostile", b"was here") {
        Ok(()) => "written".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    };
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    serde_json::json!({
        "clock_ns": clock.as_nanos().to_string(),
        "elapsed_ns": start.elapsed().as_nanos().to_string(),
        // The keys of a map's hasher are random where there is randomness.
        "random": HashMap::<u8, u8>::new().hasher().hash_one(1_u8).to_string(),
        "environment": std::env::vars().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
        "arguments": std::env::args().collect::<Vec<_>>(),
        "directory": std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default(),
        "files": files,
        "write": write,
    })
    .to_string()
}
