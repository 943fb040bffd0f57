//! Changes of a state that is not there.

use crate::apogee::plugin::messages::Column;
use crate::exports::apogee::plugin::state::Entries;

/// Entries with these lengths of keys and values, and so many bytes of keys.
pub fn entries(keys: &[i32], values: &[i32], bytes: usize) -> Entries {
    Entries {
        keys: Column { bytes: vec![b'k'; bytes], lengths: keys.to_vec() },
        values: Column { bytes: Vec::new(), lengths: values.to_vec() },
    }
}
