//! Which question a request asks, who answers it, and in which form. GET only; nothing here changes anything, but that
//! the pipeline begins to read where it waits for that.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::header::{ACCEPT, ALLOW, HeaderMap, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::control::handle::Registry;
use crate::control::routes::Failure;
use crate::query::answer::{Answer, JSON, refusal};
use crate::query::form::Form;
use crate::query::parameters::{self, Bound};
use crate::query::tables::Tables;
use crate::query::{Ask, Options, Parameter, Query, openapi, report};

/// Questions that are answered at a time, and how long others wait for their turn.
const AT_ONCE: usize = 4;
const PATIENCE: Duration = Duration::from_secs(5);
/// How long whoever has begun a run waits for its end, and how often it is looked for.
const RUN: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// What it takes to answer.
pub(super) struct Desk {
    /// The name of the pipeline.
    pub name: String,
    pub options: Options,
    pub tables: Option<Tables>,
    pub registry: Arc<Registry>,
    turns: Arc<Semaphore>,
}

impl Desk {
    pub fn new(name: &str, options: &Options, tables: Option<Tables>, registry: &Arc<Registry>) -> Arc<Self> {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Arc::new(Self { name: name.to_owned(), options: options.clone(), tables, registry: registry.clone(), turns })
    }
}

pub(super) fn router(desk: Arc<Desk>) -> Router {
    Router::new().fallback(serve).with_state(desk)
}

async fn serve(
    State(desk): State<Arc<Desk>>,
    method: Method,
    uri: Uri,
    RawQuery(said): RawQuery,
    headers: HeaderMap,
) -> Response {
    if !matches!(method, Method::GET | Method::HEAD) {
        let what = Failure(StatusCode::METHOD_NOT_ALLOWED, "queries are asked with GET".to_owned());
        let mut response = refusal(&what);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let said = said.filter(|said| !said.is_empty());
    route(desk, uri.path(), said, &headers).await.unwrap_or_else(|failure| refusal(&failure))
}

async fn route(desk: Arc<Desk>, path: &str, said: Option<String>, headers: &HeaderMap) -> Result<Response, Failure> {
    let form = || {
        let accept: Vec<&str> = headers.get_all(ACCEPT).iter().flat_map(|accept| accept.to_str()).collect();
        Form::of(&accept.join(","))
            .ok_or_else(|| Failure(StatusCode::NOT_ACCEPTABLE, "there is application/json and text/csv".to_owned()))
    };
    if let Some(place) = desk.options.queries.iter().position(|query| query.path == path) {
        return answer(desk, place, said, form()?).await;
    }
    parameters::read(&[], said.as_deref())?;
    match path {
        "/" => Ok(index(&desk.options).respond("queries", form()?, StatusCode::OK)),
        "/openapi.json" => Ok(([JSON], openapi::document(&desk.name, &desk.options).to_string()).into_response()),
        path if desk.options.begin.as_deref() == Some(path) => run(&desk, path, form()?).await,
        _ => Err(Failure(StatusCode::NOT_FOUND, "there is nothing at this path; GET / lists what there is".to_owned())),
    }
}

/// What can be asked.
fn index(options: &Options) -> Answer {
    let parameter = |Parameter { name, kind, default }: &Parameter| json!({ "name": name, "kind": kind.to_string(), "default": default });
    let parameters = |query: &Query| query.parameters.iter().map(parameter).collect::<Vec<_>>();
    let begin = options.begin.iter().map(|path| {
        json!({ "path": path, "summary": "Begins the run, and reports what has become of the messages.", "parameters": [] })
    });
    let queries = options
        .queries
        .iter()
        .map(|query| json!({ "path": query.path, "summary": query.summary, "parameters": parameters(query) }));
    Answer::all(begin.chain(queries))
}

/// Answers in its turn, where it holds nobody else up.
async fn answer(desk: Arc<Desk>, place: usize, said: Option<String>, form: Form) -> Result<Response, Failure> {
    let bound = parameters::read(&desk.options.queries[place].parameters, said.as_deref())?;
    let turn =
        timeout(PATIENCE, desk.turns.clone().acquire_owned()).await.ok().and_then(Result::ok).ok_or_else(|| {
            let what =
                format!("{AT_ONCE} questions are being answered, and none has ended within {PATIENCE:?}; ask again");
            Failure(StatusCode::SERVICE_UNAVAILABLE, what)
        })?;
    let work = move || {
        let _turn = turn;
        let query = &desk.options.queries[place];
        let answer = ask(&desk, query, &bound)?;
        let name = &query.path[1..];
        if query.save && said.is_none() {
            save(&desk.options.results, name, &answer.csv()).map_err(|error| {
                let what = format!(
                    "the answer cannot be saved in {}: {error}; mend that, or leave out `save`",
                    desk.options.results.display()
                );
                Failure(StatusCode::INTERNAL_SERVER_ERROR, what)
            })?;
        }
        Ok(answer.respond(name, form, StatusCode::OK))
    };
    let panicked = |_| {
        let what = "the host itself failed (a panic, told in its log); please report it".to_owned();
        Failure(StatusCode::INTERNAL_SERVER_ERROR, what)
    };
    tokio::task::spawn_blocking(work).await.map_err(panicked)?
}

fn ask(desk: &Desk, query: &Query, said: &Bound) -> Result<Answer, Failure> {
    match (&query.ask, &desk.tables) {
        (Ask::Tables(sql), Some(tables)) => tables.ask(query, sql, said),
        (Ask::Tables(_), None) => {
            Err(Failure(StatusCode::INTERNAL_SERVER_ERROR, "there is no file of tables".to_owned()))
        }
        (Ask::Plugin { name, question }, _) => {
            let answers = desk.registry.ask(&desk.name, name, question, query.time)?;
            Answer::of_plugin(name, &answers, query.rows)
        }
    }
}

/// Writes `NAME.csv` whole, or leaves the one before.
fn save(folder: &Path, name: &str, csv: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".saving-").tempfile_in(folder)?;
    file.write_all(csv)?;
    // Others read it as they read other files of this user.
    #[cfg(unix)]
    std::fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(folder.join(format!("{name}.csv"))).map_err(|error| error.error)?;
    Ok(())
}

/// Lets the run begin, and reports when its input has come to its end; or what there is by then.
async fn run(desk: &Desk, path: &str, form: Form) -> Result<Response, Failure> {
    desk.registry.begin(&desk.name);
    let until = Instant::now() + RUN;
    loop {
        // There is no line before its plugins are loaded.
        let line = desk.registry.line(&desk.name).unwrap_or_default();
        if let Some(error) = line.iter().find_map(|handle| handle.failed()) {
            return Err(Failure(StatusCode::INTERNAL_SERVER_ERROR, format!("the pipeline failed: {error}")));
        }
        let is_done = !line.is_empty() && line.iter().all(|handle| handle.runs().is_err());
        if is_done || Instant::now() >= until {
            let status = if is_done { StatusCode::OK } else { StatusCode::ACCEPTED };
            return Ok(Answer::all(std::iter::once(report::report(&line))).respond(&path[1..], form, status));
        }
        sleep(LOOK).await;
    }
}
