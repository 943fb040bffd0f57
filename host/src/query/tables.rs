//! SQL over the tables: reads only, in so much time, of whole commits.
//!
//! Nothing that a query says reaches beyond reading: the file is opened for reading, `query_only` holds, and an authorizer
//! lets through nothing but SELECT, so that PRAGMA, ATTACH and whatever writes are refused before they run. What callers
//! say is bound, never pasted. Each query is one statement, and so sees what one moment had committed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use data_encoding::BASE64;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, Statement, ffi};

use crate::control::routes::Failure;
use crate::query::answer::{Answer, Cell, Room};
use crate::query::parameters::Bound;
use crate::query::{Parameter, Query};

/// Connections that are kept open.
const KEPT: usize = 4;
/// How long to wait for a writer that, for a moment, lets nobody in.
const BUSY: Duration = Duration::from_secs(1);
/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 1_000;
/// Most bytes of one value, made or stored; and of a pattern, which may take the square of it.
const VALUE: i32 = 64 << 20;
const PATTERN: i32 = 1_000;

/// The file of the tables.
pub(super) struct Tables {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Tables {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Mutex::default() }
    }

    /// Refuses SQL that is none, is not one question, or does more than read; as far as it can be told before the tables
    /// are there.
    pub fn check(&self, query: &Query, sql: &str) -> Result<(), String> {
        let connection = self.open().or_else(|_| {
            let mut connection = Connection::open_in_memory()?;
            confine(&mut connection).map(|()| connection)
        });
        let connection = connection.map_err(|error| error.to_string())?;
        match prepare(&connection, sql) {
            Ok(statement) => check_parameters(&statement, &query.parameters),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(explain(&error)),
        }
    }

    /// Asks, with what was said for the parameters.
    pub fn ask(&self, query: &Query, sql: &str, said: &Bound) -> Result<Answer, Failure> {
        let connection = match self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            Some(connection) => Ok(connection),
            None => self.open(),
        };
        let mut connection = connection.map_err(|error| {
            let what = format!("{}: {error}; is the pipeline there that writes it?", self.path.display());
            Failure(StatusCode::SERVICE_UNAVAILABLE, what)
        })?;
        let answer = ask(&mut connection, query, sql, said);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(connection);
        }
        answer
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&self.path, flags)?;
        confine(&mut connection)?;
        Ok(connection)
    }
}

fn ask(connection: &mut Connection, query: &Query, sql: &str, said: &Bound) -> Result<Answer, Failure> {
    let end = Instant::now() + query.time;
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => {
            let what =
                format!("it takes longer than {:?}; ask for less, or raise `time` of this [[query]]", query.time);
            Failure(StatusCode::GATEWAY_TIMEOUT, what)
        }
        Some(ErrorCode::DatabaseBusy) => {
            Failure(StatusCode::SERVICE_UNAVAILABLE, "the tables are locked; ask again".to_owned())
        }
        _ if is_missing(&error) => {
            let what = format!("{}; has the pipeline that makes it begun?", explain(&error));
            Failure(StatusCode::SERVICE_UNAVAILABLE, what)
        }
        _ => Failure(StatusCode::INTERNAL_SERVER_ERROR, explain(&error)),
    };
    connection.progress_handler(STEPS, Some(move || Instant::now() >= end)).map_err(failed)?;
    let mut statement = prepare(connection, sql).map_err(failed)?;
    check_parameters(&statement, &query.parameters).map_err(|what| Failure(StatusCode::INTERNAL_SERVER_ERROR, what))?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    for (name, value) in said {
        statement.raw_bind_parameter(format!(":{name}").as_str(), value).map_err(failed)?;
    }
    let (mut found, mut room, mut rows) = (Vec::new(), Room::new(query.rows), statement.raw_query());
    while let Some(row) = rows.next().map_err(failed)? {
        room.row()?;
        let mut cells = Vec::with_capacity(columns.len());
        for place in 0..columns.len() {
            let cell = match row.get_ref(place).map_err(failed)? {
                ValueRef::Null => Cell::Null,
                ValueRef::Integer(number) => Cell::Integer(number),
                ValueRef::Real(number) => Cell::Real(number),
                ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
                ValueRef::Blob(bytes) => Cell::Text(BASE64.encode(bytes)),
            };
            room.bytes(cell.bytes())?;
            cells.push(cell);
        }
        found.push(cells);
    }
    Ok(Answer::Table { columns, rows: found })
}

/// Leaves a connection nothing but to read.
fn confine(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")?;
    for (limit, most) in [(ffi::SQLITE_LIMIT_LENGTH, VALUE), (ffi::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, PATTERN)] {
        // SAFETY: the handle is that of an open connection, which nobody else uses meanwhile, and is not kept.
        unsafe { ffi::sqlite3_limit(connection.handle(), limit, most) };
    }
    connection.authorizer(Some(|context: AuthContext<'_>| match context.action {
        AuthAction::Select | AuthAction::Recursive => Authorization::Allow,
        // These are PRAGMA by another name, however it is written.
        AuthAction::Read { table_name, .. } if !is_pragma(table_name) => Authorization::Allow,
        AuthAction::Function { function_name } if !function_name.eq_ignore_ascii_case("load_extension") => {
            Authorization::Allow
        }
        _ => Authorization::Deny,
    }))
}

fn is_pragma(table: &str) -> bool {
    table.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("pragma_"))
}

/// One statement that reads, and gives columns with a name each.
fn prepare<'a>(connection: &'a Connection, sql: &str) -> rusqlite::Result<rusqlite::CachedStatement<'a>> {
    let statement = connection.prepare_cached(sql)?;
    let is_question = statement.readonly() && statement.is_explain() == 0 && statement.column_count() > 0;
    let mut names = BTreeSet::new();
    if let Some(twin) = statement.column_names().into_iter().find(|name| !names.insert(*name)) {
        let what = format!("there are two columns {twin:?}; give one another name with AS");
        return Err(rusqlite::Error::ToSqlConversionFailure(what.into()));
    }
    if is_question { Ok(statement) } else { Err(rusqlite::Error::InvalidQuery) }
}

/// Each parameter of the SQL is declared, and each that is declared is in it.
fn check_parameters(statement: &Statement<'_>, declared: &[Parameter]) -> Result<(), String> {
    let mut there = BTreeSet::new();
    for place in 1..=statement.parameter_count() {
        let name = statement.parameter_name(place).unwrap_or("?");
        let known = name.strip_prefix(':').filter(|name| declared.iter().any(|parameter| parameter.name == *name));
        let Some(known) = known else {
            return Err(format!(
                "the SQL has {name}, which is no parameter; declare it in [query.parameters], as :NAME"
            ));
        };
        there.insert(known.to_owned());
    }
    match declared.iter().find(|parameter| !there.contains(&parameter.name)) {
        Some(Parameter { name, .. }) => Err(format!("parameter {name} is not in the SQL; write it there as :{name}")),
        None => Ok(()),
    }
}

/// Whether a table is not there, or not yet.
fn is_missing(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::Unknown) && error.to_string().starts_with("no such table")
}

fn explain(error: &rusqlite::Error) -> String {
    const READS: &str = "a query reads, and does nothing else: write one SELECT, WITH or VALUES";
    match error {
        rusqlite::Error::MultipleStatement => format!("there are several statements; {READS}"),
        rusqlite::Error::InvalidQuery => READS.to_owned(),
        rusqlite::Error::ToSqlConversionFailure(what) => what.to_string(),
        error if error.sqlite_error_code() == Some(ErrorCode::AuthorizationForStatementDenied) => READS.to_owned(),
        error if error.to_string().starts_with("not authorized") => READS.to_owned(),
        error => format!("the SQL cannot be answered: {error}"),
    }
}
