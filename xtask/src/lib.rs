//! What the host's tests share with the chores: running programs, a Kafka broker, a schema registry and an S3 service to
//! test on, and a Python to read with.

pub mod command;
pub mod kafka;
pub mod minio;
mod process;
pub mod python;
pub mod registry;
pub mod service;

use std::path::{Path, PathBuf};

/// The top folder of the project.
pub fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

/// Where cargo builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
