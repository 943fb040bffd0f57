//! The conservation test: whatever is killed, paused or cut off, each message changes the outcome exactly once.
//!
//! Each scenario is a module here and one command: `cargo xtask chaos kills-kafka --seed 1`. It feeds messages that
//! are functions of their number and a seed, lets something terrible happen to the host, the broker or the network
//! between them, lets a last run go to the end, and then judges the outcome by a program that knows only the input
//! (`reference.rs`): nothing missing, nothing twice, nothing altered. A scenario prints its seed; what the seed does not
//! fix is the machine's timing.

mod chance;
mod feeder;
mod input;
mod outcome;
mod pipeline;
mod process;
mod proxy;
mod reference;
mod stamped;
mod stream;

mod brokers;
mod determinism;
mod kills_csv;
mod kills_flatten;
mod kills_kafka;
mod members;
mod network;
mod s3_kills;
mod shutdown;
mod swap_kills;
mod swaps;
mod trap;
mod zombie;

pub use chance::pass;
