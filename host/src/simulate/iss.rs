//! The International Space Station: a real orbit, served as Open Notify and as wheretheiss.at serve it.

use std::net::SocketAddr;

use crate::uri::Simulate;

/// A running simulator; it stops when dropped.
pub struct Server {
    pub address: SocketAddr,
}

impl Server {
    /// Serves on `address` (port 0 chooses one). Paths: `/iss-now.json` (Open Notify) and
    /// `/v1/satellites/25544` (wheretheiss.at).
    pub fn start(_simulate: &Simulate, _address: SocketAddr) -> anyhow::Result<Self> {
        todo!()
    }
}
