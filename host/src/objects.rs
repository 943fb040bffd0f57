//! Objects in a bucket: S3, or any service that speaks like it.
//!
//! Keys come from files, from the environment or from a profile; they are on no command line and in no pipeline file.

use std::path::PathBuf;

/// Which service, and by which right. What is not said is taken from the environment and the profile, under the names
/// that AWS's own tools use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// `None` is AWS itself.
    pub endpoint: Option<url::Url>,
    pub region: Option<String>,
    /// A section of the credentials file.
    pub profile: Option<String>,
    /// A file of profiles, as AWS's tools keep it.
    pub credentials: Option<PathBuf>,
    /// Files that hold one key each, and nothing else.
    pub access_key_file: Option<PathBuf>,
    pub secret_key_file: Option<PathBuf>,
}
