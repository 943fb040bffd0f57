//! What callers say in a URL's query: only what is declared, each once, each of its kind.

use axum::http::StatusCode;
use rusqlite::types::Value;

use crate::config::text::excerpt;
use crate::control::routes::Failure;
use crate::query::{Kind, Parameter};

/// Values by the names of the parameters.
pub(super) type Bound = Vec<(String, Value)>;

/// Reads what was said; what was not is as by default.
pub(super) fn read(declared: &[Parameter], query: Option<&str>) -> Result<Bound, Failure> {
    let bad = |what: String| Err(Failure(StatusCode::BAD_REQUEST, what));
    let mut said: Vec<(String, Value)> = Vec::new();
    for (name, text) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let shown = excerpt(&name, 40);
        let Some(parameter) = declared.iter().find(|parameter| parameter.name == name) else {
            let names: Vec<&str> = declared.iter().map(|parameter| parameter.name.as_str()).collect();
            let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return bad(format!("unknown parameter \"{shown}\"; there is {there}"));
        };
        if said.iter().any(|(other, _)| *other == name) {
            return bad(format!("parameter {shown} is there twice; say it once"));
        }
        let Some(value) = value(parameter.kind, &text) else {
            let kind = parameter.kind;
            return bad(format!("parameter {shown} is {kind}, and \"{}\" is not", excerpt(&text, 80)));
        };
        said.push((parameter.name.clone(), value));
    }
    for Parameter { name, kind, default } in declared {
        if said.iter().any(|(other, _)| other == name) {
            continue;
        }
        match default.as_ref().and_then(given) {
            Some(value) => said.push((name.clone(), value)),
            None => return bad(format!("parameter {name} ({kind}) is missing; say it as ?{name}=…")),
        }
    }
    Ok(said)
}

fn value(kind: Kind, text: &str) -> Option<Value> {
    Some(match kind {
        Kind::Text => Value::Text(text.to_owned()),
        Kind::Integer => Value::Integer(text.parse().ok()?),
        Kind::Float => Value::Real(text.parse().ok().filter(|number: &f64| number.is_finite())?),
        Kind::Boolean => Value::Integer(text.parse::<bool>().ok()?.into()),
    })
}

/// A default, whose kind was checked when it was read.
fn given(value: &serde_json::Value) -> Option<Value> {
    match value {
        serde_json::Value::String(text) => Some(Value::Text(text.clone())),
        serde_json::Value::Bool(truth) => Some(Value::Integer((*truth).into())),
        serde_json::Value::Number(number) => {
            number.as_i64().map(Value::Integer).or_else(|| number.as_f64().map(Value::Real))
        }
        _ => None,
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text => "a text",
            Self::Integer => "an integer",
            Self::Float => "a number",
            Self::Boolean => "true or false",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_declared_once_and_of_its_kind() {
        let declared = [("n", Kind::Integer, Some(7)), ("t", Kind::Text, None)].map(|(name, kind, default)| {
            Parameter { name: name.to_owned(), kind, default: default.map(serde_json::Value::from) }
        });
        let text = |text: &str| Value::Text(text.to_owned());
        let good = read(&declared, Some("t=a%20%27--%20%3B&n=-1")).unwrap();
        assert_eq!(good, [("t".to_owned(), text("a '-- ;")), ("n".to_owned(), Value::Integer(-1))]);
        assert_eq!(read(&declared, Some("t=")).unwrap()[1], ("n".to_owned(), Value::Integer(7)));
        for (query, what) in [
            ("t=1&x=2", "unknown parameter \"x\"; there is n, t"),
            ("t=1&t=2", "parameter t is there twice"),
            ("t=1&n=1e3", "parameter n is an integer, and \"1e3\" is not"),
            ("n=1", "parameter t (a text) is missing"),
        ] {
            let Failure(status, text) = read(&declared, Some(query)).unwrap_err();
            assert!(status == StatusCode::BAD_REQUEST && text.starts_with(what), "{text}");
        }
    }
}
