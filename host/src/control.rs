//! What is asked of a running host, and by whom: over a Unix socket that is its owner's only and, when asked, over HTTP.

pub mod api;
pub mod client;
pub mod guard;
pub mod handle;
mod plan;
pub mod questions;
pub mod routes;
pub mod server;
mod socket;
pub mod tls;
pub mod token;
mod upload;
