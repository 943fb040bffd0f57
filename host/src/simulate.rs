//! Feeds for machines without internet: the same bytes as the real ones, over real HTTP on loopback.

pub mod iss;
pub mod orbit;
