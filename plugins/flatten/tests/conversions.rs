//! What values become when a type is asked for.

use crate::{open, value};

fn convert(kind: &str, text: &str) -> Result<String, String> {
    let settings = format!(r#"{{"fields":[{{"from":"a","type":"{kind}"}}]}}"#);
    let converted = value(&mut open(&settings), &format!("{{\"a\":{text}}}"))?;
    let inner = converted.strip_prefix("{\"a\":").and_then(|rest| rest.strip_suffix('}'));
    Ok(inner.expect("one field").to_owned())
}

#[test]
fn values_become_what_is_asked() {
    for (kind, text, expected) in [
        ("float", "\"-85.6433\"", "-85.6433"),
        ("float", "1", "1"),
        ("float", "1.797e308", "1.797e308"),
        ("integer", "25544", "25544"),
        ("integer", "\"-12\"", "-12"),
        ("integer", "9223372036854775807", "9223372036854775807"),
        ("boolean", "true", "true"),
        ("boolean", "\"false\"", "false"),
        ("text", "\"as \\u00e9 is\"", "\"as \\u00e9 is\""),
        ("text", "-1.50", "\"-1.50\""),
        ("text", "true", "\"true\""),
        ("text", "[1,\"x\"]", "\"[1,\\\"x\\\"]\""),
        ("text", "{}", "\"{}\""),
        ("timestamp", "1690000000", "\"2023-07-22T04:26:40Z\""),
        ("float", "null", "null"),
        ("text", "null", "null"),
        ("timestamp", "null", "null"),
    ] {
        assert_eq!(convert(kind, text).as_deref(), Ok(expected), "{text} as {kind}");
    }
}

#[test]
fn values_that_cannot_are_rejected_with_an_excerpt() {
    for (kind, text, problem) in [
        ("float", "\"abc\"", "\"abc\" is not a float"),
        ("float", "\" 1\"", "\" 1\" is not a float"),
        ("float", "\"1 \"", "\"1 \" is not a float"),
        ("float", "\"\"", "\"\" is not a float"),
        ("float", "\"NaN\"", "\"NaN\" is not a float"),
        ("float", "1e999", "1e999 is not a float"),
        ("float", "true", "true is not a float"),
        ("integer", "1.0", "1.0 is not a 64-bit integer"),
        ("integer", "9223372036854775808", "9223372036854775808 is not a 64-bit integer"),
        ("integer", "[1]", "[1] is not a 64-bit integer"),
        ("boolean", "1", "1 is not a boolean"),
        ("timestamp", "\"soon\"", "\"soon\" is not a timestamp within the years 0000 to 9999"),
    ] {
        assert_eq!(convert(kind, text), Err(format!("field `a`: {problem}")), "{text} as {kind}");
    }
    let long = format!("\"{}\"", "x".repeat(1000));
    let reason = convert("float", &long).expect_err("no float");
    assert_eq!(reason, format!("field `a`: \"{}… is not a float", "x".repeat(59)));
    // DEL is no control character to JSON, but one to a terminal.
    assert_eq!(convert("float", "\"\u{7f}\""), Err("field `a`: \"\\u{7f}\" is not a float".to_owned()));
}
