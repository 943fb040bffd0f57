//! The key of a polled message, which is a field of the reply; it says what a reply has to be.

use serde_json::Value;

/// Where the key of a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A JSON pointer such as `/id`; a reply is one JSON value.
    Pointer(String),
    /// A field by its number, counted from 0; a reply is one row of CSV.
    Field(usize),
}

impl Key {
    /// The text of the field, or its JSON where it is no text; `None` where it is null or not there.
    pub fn of(&self, body: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Pointer(pointer) => match serde_json::from_slice::<Value>(body).ok()?.pointer(pointer)? {
                Value::Null => None,
                Value::String(text) => Some(text.clone().into_bytes()),
                value => Some(value.to_string().into_bytes()),
            },
            Self::Field(number) => row(body).ok()?.get(*number).map(|field| field.as_bytes().to_vec()),
        }
    }
}

/// The one row of a text of CSV; the error says why it is not one. Where a quote is not closed, the rest of the text is in
/// its field.
pub fn row(text: &[u8]) -> Result<csv::StringRecord, String> {
    let reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
    let mut rows = reader.into_records();
    match (rows.next(), rows.next()) {
        (Some(Ok(row)), None) => Ok(row),
        (None, _) => Err("it is empty".to_owned()),
        (Some(Ok(_)), Some(_)) => Err("it has more than one row".to_owned()),
        (Some(Err(error)), _) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_text_or_json_or_null() {
        let body = br#"{"id":"x\u0079","n":[1, 2],"none":null}"#;
        let key = |pointer: &str| Key::Pointer(pointer.to_owned()).of(body);
        assert_eq!(key("/id").as_deref(), Some(&b"xy"[..]));
        assert_eq!(key("/n").as_deref(), Some(&b"[1,2]"[..]));
        assert_eq!(key("/n/1").as_deref(), Some(&b"2"[..]));
        assert_eq!((key("/none"), key("/other")), (None, None));
    }

    #[test]
    fn a_field_of_a_row_is_a_key() {
        let field = |number, body: &[u8]| Key::Field(number).of(body);
        assert_eq!(field(1, b"a,\"b, \"\"c\"\"\",d\r\n").as_deref(), Some(&b"b, \"c\""[..]));
        assert_eq!(field(0, b",b").as_deref(), Some(&b""[..]));
        assert_eq!((field(2, b"a,b\n"), field(0, b"a\nb\n"), field(0, b"")), (None, None, None));
    }

    #[test]
    fn only_one_row_in_utf_8_is_a_row() {
        assert!(row(b"a,b").is_ok() && row(b"\"a\nb\"\n").is_ok());
        assert_eq!(row(b""), Err("it is empty".to_owned()));
        assert_eq!(row(b"a\nb"), Err("it has more than one row".to_owned()));
        assert!(row(b"a,\xff").is_err());
    }
}
