//! The secret by which a caller over the network is known. It is never shown, logged or compared in a way that tells how
//! much of it was right.

use std::fmt;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::config::Error;
use crate::config::error::unreadable;

/// Where the token is when no file is named.
pub const VARIABLE: &str = "APOGEE_CONTROL_TOKEN";
/// Fewer characters can be guessed; more are a file that was named by mistake.
const LENGTH: std::ops::RangeInclusive<usize> = 16..=4096;

#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// From the file, else from the environment; `None` where neither is given.
    pub fn find(file: Option<&Path>) -> Result<Option<Self>, Error> {
        match file {
            Some(file) => Self::read(file, "--control-token").map(Some),
            None => match std::env::var(VARIABLE) {
                Ok(text) => Self::new(&text, VARIABLE).map(Some),
                Err(_) => Ok(None),
            },
        }
    }

    /// From a file of its owner's alone; `named` is where it was named.
    pub fn read(path: &Path, named: &str) -> Result<Self, Error> {
        let shown = path.display();
        let unreadable = |error| match unreadable(path, &error) {
            Error::File(what) => Error::File(format!("{named} {what}")),
            other => other,
        };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Error::Arguments(format!(
                "{named} {shown}: others than its owner may use this file; do: chmod 600 {shown}"
            )));
        }
        let mut text = String::new();
        // One more than is allowed, so that too many are seen.
        let most = *LENGTH.end() as u64 + 1;
        file.take(most).read_to_string(&mut text).map_err(unreadable)?;
        Self::new(&text, &format!("{named} {shown}"))
    }

    fn new(text: &str, place: &str) -> Result<Self, Error> {
        let text = text.trim();
        if !LENGTH.contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Arguments(format!(
                "{place}: a token has {} to {} visible ASCII characters; make one with: openssl rand -hex 32",
                LENGTH.start(),
                LENGTH.end()
            )));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether this is what a caller has shown. Hashes are compared, so that the time it takes says nothing.
    pub(super) fn is(&self, shown: &[u8]) -> bool {
        Sha256::digest(&self.0) == Sha256::digest(shown)
    }

    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
