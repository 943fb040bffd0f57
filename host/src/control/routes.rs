//! What can be asked, and which part of the host answers. All of it is JSON; an error says what to do about it.
//!
//! GET  `/status`, `/plugins`, `/pipelines/NAME/canary`
//! POST `/pipelines/NAME/swap`, `…/canary` (the body is the component), `…/promote`, `…/drop`, `…/pause`, `…/resume`

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::text::excerpt;
use crate::control::api::{Answer, Kept, PluginStatus, Plugins, Problem, Running, Status};
use crate::control::guard::Manner;
use crate::control::handle::{Handle, Refused, Registry, Wanted};
use crate::control::upload;
use crate::swap::{Canary, Trial};

/// How many components are taken in at a time: that many may be in memory.
const UPLOADS: usize = 8;
/// The longest trial; output is held back until it ends.
const LONGEST_TRIAL: Duration = Duration::from_secs(60);

/// What every answer is.
const JSON: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static("application/json"));

/// How the control interface speaks of itself.
pub(super) const MANNER: Manner = Manner {
    name: "control",
    names: "--control-host NAME",
    token: "--control-token",
    refuse: IntoResponse::into_response,
};

/// What is not done, and why.
#[derive(Debug)]
pub struct Failure(pub StatusCode, pub String);

#[derive(Clone)]
struct Desk {
    registry: Arc<Registry>,
    uploads: Arc<Semaphore>,
    since: Instant,
}

type Name = Result<Path<String>, PathRejection>;

pub(super) fn router(registry: Arc<Registry>) -> Router {
    let desk = Desk { registry, uploads: Arc::new(Semaphore::new(UPLOADS)), since: Instant::now() };
    Router::new()
        .route("/status", get(status))
        .route("/plugins", get(plugins))
        .route("/pipelines/{name}/swap", post(swap))
        .route("/pipelines/{name}/canary", get(report).post(canary))
        .route("/pipelines/{name}/promote", post(promote))
        .route("/pipelines/{name}/drop", post(drop_canary))
        .route("/pipelines/{name}/pause", post(async |desk, name| pause(desk, name, true).await))
        .route("/pipelines/{name}/resume", post(async |desk, name| pause(desk, name, false).await))
        .fallback(async || Failure(StatusCode::NOT_FOUND, "there is nothing at this path".to_owned()))
        .method_not_allowed_fallback(async || {
            Failure(StatusCode::METHOD_NOT_ALLOWED, "this path is not asked in this way".to_owned())
        })
        .with_state(desk)
}

async fn status(State(desk): State<Desk>) -> Result<Response, Failure> {
    let pipelines = desk.registry.all().iter().map(|handle| handle.status()).collect();
    let (version, process) = (env!("CARGO_PKG_VERSION").to_owned(), std::process::id());
    json(&Status { version, process, seconds: desk.since.elapsed().as_secs(), pipelines })
}

async fn plugins(State(desk): State<Desk>) -> Result<Response, Failure> {
    blocking(move || {
        let mut plugins = Plugins { running: Vec::new(), kept: Vec::new() };
        for handle in desk.registry.all() {
            let pipeline = handle.pipeline.name.clone();
            let running = |plugin: PluginStatus| Running { pipeline: pipeline.clone(), plugin };
            plugins.running.extend(handle.status().plugins.into_iter().map(running));
            let kept = handle.versions.store().list().map_err(Refused::Log)?;
            plugins.kept.extend(kept.into_iter().map(|(hash, bytes)| Kept { pipeline: pipeline.clone(), hash, bytes }));
        }
        Ok(plugins)
    })
    .await
}

async fn swap(State(desk): State<Desk>, name: Name, query: RawQuery, request: Request) -> Result<Response, Failure> {
    let (asked, name, turn) = desk.component(name, query, request).await?;
    blocking(move || {
        let _turn = turn;
        let (plan, change) = desk.registry.plan(&name, &asked.wanted)?;
        if asked.plan {
            return Ok(Answer { plan, outcome: None });
        }
        let outcome = change.swap(&asked.wanted.component, asked.trial)?;
        Ok(Answer { plan, outcome: Some(outcome) })
    })
    .await
}

async fn canary(State(desk): State<Desk>, name: Name, query: RawQuery, request: Request) -> Result<Response, Failure> {
    let (asked, name, turn) = desk.component(name, query, request).await?;
    blocking(move || {
        let _turn = turn;
        let (plan, change) = desk.registry.plan(&name, &asked.wanted)?;
        if !asked.plan {
            change.canary(&asked.wanted.component, asked.canary)?;
        }
        Ok(Answer { plan, outcome: None })
    })
    .await
}

async fn report(State(desk): State<Desk>, name: Name) -> Result<Response, Failure> {
    let handle = desk.of_canary(name)?;
    // It waits for a batch that is being compared.
    blocking(move || Ok(handle.comparison().ok_or_else(|| handle.no_canary())?.1)).await
}

async fn promote(State(desk): State<Desk>, name: Name, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let (handle, asked) = (desk.of_canary(name)?, Asked::read(query.as_deref())?);
    blocking(move || Ok(handle.promote(asked.trial)?)).await
}

async fn drop_canary(State(desk): State<Desk>, name: Name) -> Result<Response, Failure> {
    let handle = desk.of_canary(name)?;
    blocking(move || {
        handle.drop_canary()?;
        Ok(handle.status())
    })
    .await
}

async fn pause(State(desk): State<Desk>, name: Name, paused: bool) -> Result<Response, Failure> {
    let line = desk.registry.line(&decoded(name)?)?;
    // Where any of a line runs, there is something to hold.
    if line.iter().all(|handle| handle.runs().is_err()) {
        line[0].runs()?;
    }
    line.iter().for_each(|handle| handle.pause(paused));
    json(&line.iter().map(|handle| handle.status()).collect::<Vec<_>>())
}

impl Desk {
    /// What is asked with a component, of which pipeline, and the turn that it has.
    async fn component(
        &self,
        name: Name,
        RawQuery(query): RawQuery,
        request: Request,
    ) -> Result<(Asked, String, OwnedSemaphorePermit), Failure> {
        let name = decoded(name)?;
        self.registry.line(&name)?;
        let mut asked = Asked::read(query.as_deref())?;
        let turn = self.uploads.clone().try_acquire_owned().map_err(|_| {
            let what = format!("{UPLOADS} components are being taken in already; try again");
            Failure(StatusCode::SERVICE_UNAVAILABLE, what)
        })?;
        asked.wanted.component = upload::component(request).await?;
        Ok((asked, name, turn))
    }

    /// Whichever of a line has a canary; it is the first one's to say that there is none.
    fn of_canary(&self, name: Name) -> Result<Arc<Handle>, Failure> {
        let line = self.registry.line(&decoded(name)?)?;
        Ok(line.iter().find(|handle| handle.comparison().is_some()).unwrap_or(&line[0]).clone())
    }
}

/// What a query says; what it does not is as by default.
struct Asked {
    wanted: Wanted,
    trial: Trial,
    canary: Canary,
    plan: bool,
}

impl Asked {
    fn read(query: Option<&str>) -> Result<Self, Failure> {
        let wanted = Wanted { plugin: None, component: Vec::new(), set: Vec::new() };
        let mut asked = Self { wanted, trial: Trial::default(), canary: Canary::Messages(10_000), plan: false };
        for (key, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*key {
                "plugin" => asked.wanted.plugin = Some(value.into_owned()),
                "set" => asked.wanted.set.push(value.into_owned()),
                "plan" => asked.plan = number(&key, &value)?,
                "trial" => asked.trial.messages = number(&key, &value)?,
                "trial_ms" => asked.trial.time = Duration::from_millis(number(&key, &value)?),
                "rejects" => asked.trial.rejects = number(&key, &value)?,
                "messages" => asked.canary = Canary::Messages(number(&key, &value)?),
                "ms" => asked.canary = Canary::Time(Duration::from_millis(number(&key, &value)?)),
                _ => return Err(bad(format!("unknown key \"{}\" in the query", excerpt(&key, 40)))),
            }
        }
        if !(0.0..=1.0).contains(&asked.trial.rejects) {
            return Err(bad("rejects is a share, from 0 to 1".to_owned()));
        }
        if asked.trial.time > LONGEST_TRIAL {
            return Err(bad(format!(
                "a trial takes {LONGEST_TRIAL:?} at most, because output is held back until it ends"
            )));
        }
        Ok(asked)
    }
}

fn number<T: FromStr>(key: &str, value: &str) -> Result<T, Failure> {
    value.parse().map_err(|_| bad(format!("{key}={} is not what {key} can be", excerpt(value, 40))))
}

fn bad(what: String) -> Failure {
    Failure(StatusCode::BAD_REQUEST, what)
}

fn decoded(name: Name) -> Result<String, Failure> {
    name.map(|Path(name)| name).map_err(|error| bad(error.body_text()))
}

/// Does what takes long where it holds nobody else up.
async fn blocking<T: Serialize + Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<Response, Failure> {
    let panicked = |_| {
        let what = "the host itself failed (a panic, told in its log); please report it".to_owned();
        Failure(StatusCode::INTERNAL_SERVER_ERROR, what)
    };
    json(&tokio::task::spawn_blocking(work).await.map_err(panicked)??)
}

fn json(answer: &impl Serialize) -> Result<Response, Failure> {
    let text = serde_json::to_vec(answer);
    text.map(|text| ([JSON], text).into_response())
        .map_err(|error| Failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let status = match &refused {
            Refused::Unknown(_) => StatusCode::NOT_FOUND,
            Refused::Busy(_) | Refused::Ended(_) => StatusCode::CONFLICT,
            Refused::Unfit(_) | Refused::Plugin(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refused::Log(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, excerpt(&refused.to_string(), 4000))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(status, error) = self;
        let mut response = (status, [JSON], serde_json::json!(Problem { error }).to_string()).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
