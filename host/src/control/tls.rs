//! A certificate and its key, to be served with.

use std::path::Path;

use native_tls::{Identity, Protocol, TlsAcceptor};

use crate::config::Error;
use crate::config::error::unreadable;

/// Reads both from PEM; `named` is where they were named.
pub fn acceptor(certificate: &Path, key: &Path, named: &str) -> Result<TlsAcceptor, Error> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| unreadable(path, &error));
    let identity = Identity::from_pkcs8(&read(certificate)?, &read(key)?);
    let build = |identity| TlsAcceptor::builder(identity).min_protocol_version(Some(Protocol::Tlsv12)).build();
    identity.and_then(build).map_err(|error| {
        Error::Arguments(format!(
            "{named}: no certificate with its key in PEM ({error}); a key is converted with: openssl pkcs8 -topk8 -nodes"
        ))
    })
}
