//! The key of a message that is made of fields: the same wherever it is made, so that what agrees in the fields comes
//! together.

use crate::string::{quote, unescape};

/// Appends the key that is made of `values`, JSON texts of one value each: what the one says, or a JSON array of several.
/// Says whether there is a key: a null alone is none.
///
/// ```
/// # use apogee_json::key;
/// let made = |values: &[&str]| {
///     let mut bytes = Vec::new();
///     let some = key(values.iter().map(|value| value.as_bytes()), &mut bytes);
///     some.then(|| String::from_utf8_lossy(&bytes).into_owned())
/// };
/// assert_eq!(made(&[r#""day\u006cight""#]).as_deref(), Some("daylight"));
/// assert_eq!(made(&["25544"]).as_deref(), Some("25544"));
/// assert_eq!(made(&["null"]), None);
/// assert_eq!(made(&[r#""day\u006cight""#, "null", "1.50"]).as_deref(), Some(r#"["daylight",null,1.50]"#));
/// ```
pub fn key<'a>(values: impl ExactSizeIterator<Item = &'a [u8]>, bytes: &mut Vec<u8>) -> bool {
    let several = values.len() > 1;
    let mut some = several;
    for (index, value) in values.enumerate() {
        if several {
            bytes.push(if index == 0 { b'[' } else { b',' });
        }
        match value {
            [b'"', inside @ .., b'"'] if inside.contains(&b'\\') => {
                let said = unescape(inside);
                if several {
                    quote(&said, bytes)
                } else {
                    bytes.extend_from_slice(&said)
                }
                some = true;
            }
            [b'"', inside @ .., b'"'] if !several => {
                bytes.extend_from_slice(inside);
                some = true;
            }
            b"null" if !several => {}
            value => {
                bytes.extend_from_slice(value);
                some = true;
            }
        }
    }
    if several {
        bytes.push(b']');
    }
    some
}
