//! The pipelines that come along, from end to end, as their files say: each with the real services, and what comes out read
//! back by readers that are not ours.

mod flights;
pub mod iss_s3;
mod turnstiles;

use std::path::{Path, PathBuf};

use crate::program::top;

/// Writes the pipeline file of this name into `directory`, with other texts in the place of some that must be there: the
/// services that it names are not those of the tests.
fn write(directory: &Path, name: &str, changes: &[(&str, &str)]) -> PathBuf {
    let mut text = std::fs::read_to_string(top().join("pipelines").join(name)).unwrap();
    let plugins = format!("\"{}/", top().join("plugins").display());
    let schemas = format!("\"{}/", top().join("pipelines/schemas").display());
    for (from, to) in [("\"../plugins/", plugins.as_str()), ("\"schemas/", schemas.as_str())] {
        text = text.replace(from, to);
    }
    for (from, to) in changes {
        assert!(text.contains(from), "{name} says nothing of {from:?}");
        text = text.replace(from, to);
    }
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// `[s3]` of a service of ours, instead of what a pipeline file has.
fn s3(endpoint: &str) -> String {
    let (access, secret) = crate::s3::keys();
    format!("endpoint = {endpoint:?}\naccess_key_file = {access:?}\nsecret_key_file = {secret:?}")
}

/// A bucket and a folder in it that nobody else uses, as `BUCKET/FOLDER`.
fn place() -> (host::uri::Location, String) {
    let location = crate::s3::location();
    let host::uri::Location::Bucket { bucket, prefix } = &location else { panic!("a bucket") };
    let place = format!("{bucket}/{prefix}");
    (location, place)
}
