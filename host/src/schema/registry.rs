//! A schema registry that speaks like Confluent's: what is written is registered, what is read is looked up.
//!
//! It talks to the URL that the pipeline names and to nobody else: no proxy of the environment, no redirect. What it says
//! is bounded, and each question has a deadline. It has no password to give.

use std::time::Duration;

use backon::{BlockingRetryable, ConstantBuilder};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use super::{LONGEST, Language, Schema, SchemaError};
use crate::config::text::excerpt;

/// How long one answer may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long to wait before asking again while messages wait for the answer, and how often.
const AGAIN: (Duration, usize) = (Duration::from_millis(200), 3);
/// The error codes of a registry that does not have what was asked for, which others' 404 pages do not have.
const MISSING: [u32; 3] = [40401, 40402, 40403];

/// Who asks a registry.
pub struct Client {
    /// As it is shown.
    name: String,
    url: Url,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

#[derive(Deserialize)]
struct Registered {
    id: u32,
}

#[derive(Deserialize)]
struct Found {
    schema: String,
    #[serde(default)]
    references: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    error_code: u32,
    #[serde(default)]
    message: String,
}

impl Client {
    pub fn new(url: &Url) -> Result<Self, SchemaError> {
        let name = format!("schema registry {url}");
        let client = reqwest::Client::builder()
            .user_agent(concat!("apogee/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(DEADLINE)
            .build();
        let client = client.map_err(|error| SchemaError::Unreachable(format!("{name}: {error}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| SchemaError::Unreachable(format!("{name}: {error}")))?;
        Ok(Self { name, url: url.clone(), client, runtime })
    }

    /// As a person writes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is there, and is a registry.
    pub fn answers(&self) -> Result<(), SchemaError> {
        let answer = self.ask(Method::GET, &["schemas", "types"], None)?;
        let _: Vec<String> = self.expect(answer)?;
        Ok(())
    }

    /// The number of a schema, which is registered under `subject` where it is not there yet.
    pub fn register(&self, subject: &str, schema: &Schema) -> Result<u32, SchemaError> {
        let language = match schema.language {
            Language::Avro => "AVRO",
            Language::Json => "JSON",
        };
        let body = serde_json::json!({ "schema": schema.text, "schemaType": language });
        let answer = self.ask(Method::POST, &["subjects", subject, "versions"], Some(body.to_string()))?;
        let (name, path, said) = (&self.name, schema.path.display(), answer.problem());
        let said = excerpt(&said.message, 600);
        match answer.status.as_u16() {
            409 => Err(SchemaError::Refused(format!(
                "{name} does not take {path} as the next version of {subject}: {said}; change the schema so that it is \
                 compatible, as by defaults of new fields, or name another `subject`"
            ))),
            422 => Err(SchemaError::Refused(format!(
                "{name} does not take {path} for a schema of {subject}: {said}; mend it, a JSON Schema with a \"$schema\""
            ))),
            _ => self.expect(answer).map(|Registered { id }| id),
        }
    }

    /// The text of the schema of this number; `None` where there is none, or none that stands by itself. Asks again a few
    /// times where there is no answer.
    pub fn schema(&self, number: u32) -> Result<Option<String>, SchemaError> {
        let ask = || {
            let answer = self.ask(Method::GET, &["schemas", "ids", &number.to_string()], None)?;
            if answer.status == StatusCode::NOT_FOUND && MISSING.contains(&answer.problem().error_code) {
                return Ok(None);
            }
            let Found { schema, references } = self.expect(answer)?;
            Ok(Some(schema).filter(|_| references.is_empty()))
        };
        let again = ConstantBuilder::default().with_delay(AGAIN.0).with_max_times(AGAIN.1);
        let silent = |error: &SchemaError| matches!(error, SchemaError::Unreachable(_));
        ask.retry(again).sleep(std::thread::sleep).when(silent).call()
    }

    fn ask(&self, method: Method, path: &[&str], body: Option<String>) -> Result<Answer, SchemaError> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request = self.client.request(method, url);
        if let Some(body) = body {
            request = request.header("content-type", "application/vnd.schemaregistry.v1+json").body(body);
        }
        let read = async {
            let mut response = request.send().await?;
            let mut text = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                text.extend_from_slice(&chunk);
                if text.len() as u64 > 2 * LONGEST {
                    break;
                }
            }
            Ok((response.status(), text))
        };
        let (status, text) = self.runtime.block_on(read).map_err(|error: reqwest::Error| {
            let error = excerpt(&format!("{:#}", anyhow::Error::from(error.without_url())), 300);
            SchemaError::Unreachable(format!(
                "{} does not answer ({error}); start it, or mend `registry` in the pipeline",
                self.name
            ))
        })?;
        Ok(Answer { status, text })
    }

    /// What a good answer says.
    fn expect<T: serde::de::DeserializeOwned>(&self, answer: Answer) -> Result<T, SchemaError> {
        let Answer { status, text } = &answer;
        if status.is_success()
            && let Ok(said) = serde_json::from_slice(text)
        {
            return Ok(said);
        }
        let name = &self.name;
        let said = match excerpt(&answer.problem().message, 300) {
            said if said.is_empty() => said,
            said => format!(" ({said})"),
        };
        Err(match status.as_u16() {
            401 | 403 => SchemaError::Refused(format!(
                "{name} wants to know who asks ({status}), which is not supported; let this machine in without a password"
            )),
            500.. => SchemaError::Unreachable(format!("{name} fails with {status}{said}; look into its log")),
            _ => SchemaError::Refused(format!(
                "{name} answers {status}{said}, as no registry does; give the URL that ends where its `/subjects` begins, \
                 such as http://HOST:8080/apis/ccompat/v7 of Apicurio"
            )),
        })
    }
}

struct Answer {
    status: StatusCode,
    text: Vec<u8>,
}

impl Answer {
    /// What it says is wrong; nothing where that is not said as registries do.
    fn problem(&self) -> Problem {
        serde_json::from_slice(&self.text).unwrap_or(Problem { error_code: 0, message: String::new() })
    }
}
