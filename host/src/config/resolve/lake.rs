//! Schemas, buckets and queries, from what is written to what is asked for.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use toml::Spanned;

use super::{choice, json, set};
use crate::config::error::{Fault, fault};
use crate::config::text::excerpt;
use crate::config::written::{self, Given, List};
use crate::objects;
use crate::query::options::{self as query, Ask, Kind, Parameter, Query};
use crate::schema::options::{self as schema, Language, Registry, Wire};

/// A schema, whose file is named relative to the pipeline file at `path`.
pub(super) fn schema(
    written: Option<&Spanned<written::Schema>>,
    path: &Path,
) -> Result<Option<schema::Options>, Fault> {
    let Some(written) = written else { return Ok(None) };
    let keys = written.get_ref();
    let (language, file) = match (&keys.avro, &keys.json) {
        (Some(file), None) => (Language::Avro, file),
        (None, Some(file)) => (Language::Json, file),
        _ => {
            let what = "one of `avro` and `json` names the file of the schema, such as \"schemas/route.avsc\"";
            return Err(fault(Some(written.span()), what));
        }
    };
    let mut wire = if language == Language::Avro { Wire::Avro } else { Wire::Json };
    if let Some(asked) = &keys.wire {
        wire = choice(asked, &[("avro", Wire::Avro), ("json", Wire::Json)])?;
        if (language, wire) == (Language::Json, Wire::Avro) {
            return Err(fault(Some(asked.span()), "a JSON Schema says nothing about Avro; write \"json\""));
        }
    }
    if let (None, Some(subject)) = (&keys.registry, &keys.subject) {
        return Err(fault(Some(subject.span()), "`subject` is a name in a `registry`, and there is none; add one"));
    }
    if let Some(url) = &keys.registry {
        let address = &url.get_ref().0;
        if !address.username().is_empty() || address.password().is_some() {
            // Without its line, which would show the password.
            let what = "`registry` has a name or a password, which are not supported; leave them out";
            return Err(fault(None, what));
        }
        registry(address).map_err(|what| fault(Some(url.span()), what))?;
    }
    let subject = keys.subject.as_ref().map(|subject| subject.get_ref().clone());
    let registry = keys.registry.as_ref().map(|url| Registry { url: url.get_ref().0.clone(), subject });
    let beside = path.parent().unwrap_or(Path::new(""));
    Ok(Some(schema::Options { language, path: beside.join(file.get_ref()), wire, registry }))
}

/// Whether a registry can be asked by this URL.
fn registry(url: &url::Url) -> Result<(), &'static str> {
    if !matches!(url.scheme(), "http" | "https") {
        Err("a registry is asked over http or https, such as \"http://localhost:8080/apis/ccompat/v7\"")
    } else if url.query().is_some() || url.fragment().is_some() {
        Err("the URL of a registry ends with its path, such as \"http://localhost:8080/apis/ccompat/v7\"")
    } else {
        Ok(())
    }
}

pub(super) fn s3(written: written::S3) -> Result<objects::Options, Fault> {
    if let Some(url) = &written.endpoint {
        let address = &url.get_ref().0;
        if !address.username().is_empty() || address.password().is_some() {
            // Without its line, which would show the key.
            let what =
                "`endpoint` in [s3] has a name or a password; keys come from files, the environment or a profile";
            return Err(fault(None, what));
        }
        objects::check_endpoint(address).map_err(|what| fault(Some(url.span()), what))?;
    }
    Ok(objects::Options {
        endpoint: written.endpoint.map(|url| url.into_inner().0),
        region: written.region.map(Spanned::into_inner),
        profile: written.profile.map(Spanned::into_inner),
        credentials: written.credentials.map(Spanned::into_inner),
        access_key_file: written.access_key_file.map(Spanned::into_inner),
        secret_key_file: written.secret_key_file.map(Spanned::into_inner),
    })
}

pub(super) fn queries(
    written: Given<written::Queries>,
    list: Option<List<Spanned<written::Query>>>,
) -> Result<Option<query::Options>, Fault> {
    let list = list.map(|list| list.0).unwrap_or_default();
    let Some(written) = written else {
        return match list.first() {
            Some(query) => {
                let what = "queries are answered where [queries] says; add it, with `listen = \"127.0.0.1:8080\"`";
                Err(fault(Some(query.span()), what))
            }
            None => Ok(None),
        };
    };
    let place = written.span();
    let keys = written.into_inner();
    let tls = match (keys.certificate, keys.key) {
        (Some(certificate), Some(key)) => Some((certificate.into_inner(), key.into_inner())),
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => {
            return Err(fault(Some(one.span()), "`certificate` and `key` are a pair; add the other one"));
        }
    };
    let listen = keys
        .listen
        .ok_or_else(|| fault(Some(place), "[queries] does not say where; add `listen = \"127.0.0.1:8080\"`"))?;
    let begin = keys.begin.as_ref().map(self::path).transpose()?;
    let mut paths = BTreeSet::from(["/openapi.json".to_owned()]);
    paths.extend(begin.clone());
    for path in list.iter().filter_map(|query| query.get_ref().path.as_ref()) {
        if !paths.insert(path.get_ref().clone()) {
            let what = format!("something else answers at {}; choose another path", excerpt(path.get_ref(), 60));
            return Err(fault(Some(path.span()), what));
        }
    }
    if !listen.get_ref().0.ip().is_loopback() && (keys.token.is_none() || tls.is_none()) {
        let what = "others can reach this address: add `token` (a file), and `certificate` and `key`, or listen on \
                    127.0.0.1";
        return Err(fault(Some(listen.span()), what));
    }
    Ok(Some(query::Options {
        listen: listen.into_inner().0,
        token: keys.token.map(Spanned::into_inner),
        tls,
        hosts: keys.hosts.map(Spanned::into_inner).unwrap_or_default(),
        database: keys.database.map(Spanned::into_inner),
        results: keys.results.map_or_else(|| "results".into(), Spanned::into_inner),
        begin,
        stay: keys.stay.is_none_or(|stay| *stay.get_ref()),
        queries: list.into_iter().map(self::query).collect::<Result<_, _>>()?,
    }))
}

fn path(written: &Spanned<String>) -> Result<String, Fault> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let name = written.get_ref().strip_prefix('/').filter(|name| !name.is_empty() && name.chars().all(legal));
    match name.filter(|name| !name.starts_with('.')) {
        Some(_) => Ok(written.get_ref().clone()),
        None => {
            let what = "a path is a slash and a name of letters, digits, '_', '-' and '.', such as \"/top10\"";
            Err(fault(Some(written.span()), what))
        }
    }
}

fn query(written: Spanned<written::Query>) -> Result<Query, Fault> {
    let place = written.span();
    let keys = written.into_inner();
    let path = keys.path.as_ref().map(self::path).transpose()?;
    let path = path.ok_or_else(|| fault(Some(place.clone()), "[[query]] has no `path`; add one such as \"/top10\""))?;
    if let (None, Some(question)) = (&keys.plugin, &keys.question) {
        return Err(fault(Some(question.span()), "a `question` is for a `plugin`; name it, or leave this out"));
    }
    if let (Some(_), Some((name, _))) = (&keys.plugin, keys.parameters.first_key_value()) {
        let what = "parameters are bound in `sql`, and a plugin has none; leave them out";
        return Err(fault(Some(name.span()), what));
    }
    let ask = match (keys.sql, keys.plugin) {
        (Some(sql), None) => Ask::Tables(sql.into_inner()),
        (None, Some(name)) => Ask::Plugin {
            name: name.into_inner(),
            question: keys.question.map(Spanned::into_inner).unwrap_or_default(),
        },
        _ => {
            let what = "[[query]] asks either the tables, in `sql`, or a `plugin` by its name; write one of them";
            return Err(fault(Some(place), what));
        }
    };
    let mut query = Query {
        path,
        summary: keys.summary.map(Spanned::into_inner),
        ask,
        parameters: Vec::new(),
        rows: 10_000,
        time: Duration::from_secs(5),
        save: false,
    };
    set(&mut query.rows, &keys.rows, |rows| *rows as usize);
    set(&mut query.time, &keys.time, |time| time.0.0);
    set(&mut query.save, &keys.save, |save| *save);
    for (name, written) in keys.parameters {
        query.parameters.push(parameter(name, written)?);
    }
    Ok(query)
}

fn parameter(name: Spanned<String>, written: Spanned<written::Parameter>) -> Result<Parameter, Fault> {
    let legal = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if name.get_ref().is_empty() || !legal(name.get_ref()) {
        return Err(fault(Some(name.span()), "a parameter's name has letters, digits and '_'"));
    }
    let keys = written.into_inner();
    let kind = match &keys.kind {
        None => Kind::Text,
        Some(asked) => choice(
            asked,
            &[("text", Kind::Text), ("integer", Kind::Integer), ("float", Kind::Float), ("boolean", Kind::Boolean)],
        )?,
    };
    let default = match keys.default {
        None => None,
        Some(given) => {
            let place = given.span();
            let value = json(given.into_inner()).filter(|value| match kind {
                Kind::Text => value.is_string(),
                Kind::Integer => value.is_i64(),
                Kind::Float => value.is_number(),
                Kind::Boolean => value.is_boolean(),
            });
            let wrong = || fault(Some(place), "the default is not of the parameter's `kind`, which is text by default");
            Some(value.ok_or_else(wrong)?)
        }
    };
    Ok(Parameter { name: name.into_inner(), kind, default })
}
