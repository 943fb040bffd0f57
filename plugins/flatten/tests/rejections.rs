//! What is no JSON object is rejected with a reason, and the rest of the batch goes on.

use crate::{flatten, open};

#[test]
fn a_bad_message_says_what_and_where_and_harms_no_other() {
    let bad: [(&[u8], &str); 17] = [
        (b"", "the end of the text where an object should be at byte 0"),
        (b"null", "null instead of an object at byte 0"),
        (b" [1]", "an array instead of an object at byte 1"),
        (b"\"text\"", "a string instead of an object at byte 0"),
        (b"<html>", "something that is no value at byte 0"),
        (b"{\"a\":NaN}", "something that is no value at byte 5"),
        (b"{\"a\":01}", "no comma or closing bracket after a value at byte 6"),
        (b"{\"a\":+1}", "something that is no value at byte 5"),
        (b"{\"a\":.5}", "something that is no value at byte 5"),
        (b"{\"a\":1.}", "a number without a digit at byte 7"),
        (b"{\"a\":\"\\x\"}", "an unknown escape in a string at byte 6"),
        (b"{\"a\":\"\n\"}", "a control character in a string at byte 6"),
        (b"{\"a\":\"\xff\"}", "bytes that are not UTF-8 at byte 6"),
        (b"{\"a\":1} {}", "more text after the object at byte 8"),
        (b"{\"a\":1,}", "no key in quotes at byte 7"),
        (b"{\"a\":{\"b\":1}", "no comma or closing bracket after a value at byte 12"),
        (b"{\"a_b\":1,\"a\":{\"b\":2}}", "a second value of the same name at byte 18"),
    ];
    let good = br#"{"a":{"b":1}}"#;
    let batch: Vec<&[u8]> = bad.iter().flat_map(|(text, _)| [&good[..], text]).collect();
    for (index, outcome) in flatten(&mut open(""), &batch).into_iter().enumerate() {
        let expected = match index % 2 {
            0 => Ok((r#"{"a_b":1}"#.to_owned(), index as i64)),
            _ => Err(format!("not a JSON object to flatten: {}", bad[index / 2].1)),
        };
        assert_eq!(outcome, expected);
    }
}

#[test]
fn a_null_value_is_rejected() {
    use apogee_sdk::wire::{Batch, Column};
    let null = || Column { bytes: Vec::new(), lengths: vec![-1] };
    let batch = Batch { keys: null(), values: null(), timestamps: vec![0], headers: Vec::new() };
    let output = apogee_sdk::process(&mut open(""), batch);
    assert_eq!(output.rejected[0].reason, "not a JSON object: the value is null");
}
