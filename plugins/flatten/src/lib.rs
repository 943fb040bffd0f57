//! Flattens nested JSON objects: `{"a":{"b":1}}` becomes `{"a_b":1}`.
//!
//! With `fields` exactly those are put out, in that order, renamed and converted as asked, and null where
//! they are missing; without, everything is. Numbers and strings are copied as they stand in the text unless a
//! type is asked for; arrays and empty objects always stay whole. Headers of the message are kept, and so is its key unless
//! `key` says of which outgoing fields it is to be made.
//!
//! Rejected, with the reason: a value that is not one JSON object, a name that comes twice after
//! flattening, a value that cannot become the type asked for.

mod append;
mod convert;
mod flatten;
mod settings;
mod time;

pub use flatten::Flatten;
pub use settings::Settings;

apogee_sdk::export!(Flatten);
