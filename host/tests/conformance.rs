//! What a trait promises, checked for every implementation of it.

mod log;
