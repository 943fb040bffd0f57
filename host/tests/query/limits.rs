//! What a query may not do, or not for so long: each is a clear error, and the next question is answered.

use std::time::{Duration, Instant};

use super::{Asked, pipeline};
use crate::program::run;

/// What `host run` says of a pipeline file with this SQL, which it must refuse.
fn refused(sql: &str, rest: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("in.jsonl"), "{\"n\":1,\"g\":\"a\"}\n").unwrap();
    let toml = pipeline("stay = false");
    std::fs::write(directory.path().join("numbers.toml"), &toml).unwrap();
    // A first run makes the table.
    crate::program::run_ok(directory.path(), &["run", "numbers.toml"]);
    let toml = format!("{toml}\n[[query]]\npath = \"/evil\"\nsql = '''{sql}'''\n{rest}\n");
    std::fs::write(directory.path().join("numbers.toml"), toml).unwrap();
    let outputs = ["run", "check"].map(|command| run(directory.path(), &[command, "numbers.toml"]));
    let [run, check] = outputs.map(|output| {
        assert_eq!(output.status.code(), Some(2), "{sql}");
        String::from_utf8(output.stderr).unwrap()
    });
    assert_eq!(run, check);
    assert!(run.contains("pipeline numbers: [[query]] /evil: "), "{run}");
    run
}

#[test]
fn what_does_more_than_read_does_not_start() {
    for sql in [
        "DELETE FROM numbers",
        "INSERT INTO numbers VALUES (1, 'a')",
        "UPDATE numbers SET n = 2 RETURNING n",
        "WITH x AS (SELECT 1) DELETE FROM numbers RETURNING n",
        "REPLACE INTO numbers VALUES (1, 'a') RETURNING n",
        "CREATE TABLE evil (n)",
        "CREATE TEMP TABLE evil AS SELECT 1",
        "DROP TABLE numbers",
        "PRAGMA query_only = OFF",
        "PRAGMA journal_mode",
        "SELECT * FROM pragma_table_info('numbers')",
        "SELECT * FROM PRAGMA_table_info('numbers')",
        "SELECT count(*) AS n FROM main.Pragma_database_list",
        "ATTACH DATABASE 'evil.db' AS evil",
        "DETACH DATABASE main",
        "VACUUM INTO 'evil.db'",
        "BEGIN",
        "COMMIT",
        "REINDEX",
        "ANALYZE",
        "EXPLAIN SELECT 1 AS one",
        "SELECT load_extension('evil.so') AS e",
        "SELECT 1 AS one; DROP TABLE numbers",
        "",
        "-- nothing",
    ] {
        let error = refused(sql, "");
        assert!(error.contains("a query reads, and does nothing else"), "{sql}: {error}");
    }
    assert!(refused("SELECT 1 AS one; SELECT 2 AS two", "").contains("there are several statements; a query reads"));
    assert!(refused("SELEC n FROM numbers", "").contains("near \"SELEC\": syntax error"));
    assert!(refused("SELECT m FROM numbers", "").contains("no such column: m"));
    assert!(refused("SELECT 1 AS a, 2 AS a", "").contains("two columns \"a\"; give one another name with AS"));
    assert!(refused("SELECT :x AS x", "").contains("the SQL has :x, which is no parameter"));
    assert!(refused("SELECT ? AS x", "").contains("the SQL has ?, which is no parameter"));
    let unused = refused("SELECT 1 AS x", "[query.parameters.y]\nkind = \"integer\"");
    assert!(unused.contains("parameter y is not in the SQL; write it there as :y"), "{unused}");
}

const ENDLESS: &str = "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x)";

#[test]
fn what_never_ends_or_is_too_large_is_an_error_and_the_next_question_is_answered() {
    let asked = Asked::all_numbers(&format!(
        r#"
[[query]]
path = "/endless"
sql = "{ENDLESS} SELECT count(*) AS n FROM x"
time = "300ms"
[[query]]
path = "/rows"
sql = "{ENDLESS} SELECT n FROM x LIMIT :n"
rows = 1000
parameters = {{ n = {{ kind = "integer" }} }}
[[query]]
path = "/bytes"
sql = "{ENDLESS} SELECT printf('%.*c', 1000000, 'x') AS wide FROM x"
rows = 1000000
[[query]]
path = "/wide"
sql = "SELECT length(randomblob(2000000000)) AS n"
[[query]]
path = "/columns"
sql = "SELECT zeroblob(30000000) AS a, zeroblob(30000000) AS b"
[[query]]
path = "/later"
sql = "SELECT n FROM not_there_yet"
"#
    ));
    let start = Instant::now();
    let late = asked.get("/endless", &[]).problem(504);
    assert!(late.starts_with("it takes longer than 300ms") && start.elapsed() < Duration::from_secs(10), "{late}");
    assert_eq!(asked.data("/rows?n=1000").len(), 1_000);
    assert!(asked.get("/rows?n=1001", &[]).problem(500).starts_with("there are more than 1000 rows"));
    assert!(asked.get("/bytes", &[]).problem(500).starts_with("the answer has more than 67108864 bytes"));
    assert!(asked.get("/columns", &[]).problem(500).starts_with("the answer has more than 67108864 bytes"));
    assert!(asked.get("/wide", &[]).problem(500).contains("string or blob too big"));
    let missing = asked.get("/later", &[]).problem(503);
    assert!(missing.contains("no such table: not_there_yet") && missing.contains("begun?"), "{missing}");
    asked.get("/count", &[]).json();
    asked.end_well();
}

#[test]
fn so_many_are_answered_at_once_and_the_others_wait_so_long() {
    let asked = Asked::all_numbers(&format!(
        "[[query]]\npath = \"/endless\"\ntime = \"20s\"\nsql = \"{ENDLESS} SELECT count(*) AS n FROM x\""
    ));
    std::thread::scope(|scope| {
        let busy: Vec<_> = (0..4).map(|_| scope.spawn(|| asked.get("/endless", &[]).status)).collect();
        let refused = crate::program::wait_for("no room", || {
            let reply = asked.get("/count", &[]);
            (reply.status != 200).then(|| reply.problem(503))
        });
        assert!(refused.starts_with("4 questions are being answered"), "{refused}");
        // What is there without asking the tables is there.
        assert_eq!(asked.get("/", &[]).status, 200);
        assert!(busy.into_iter().all(|thread| thread.join().unwrap() == 504));
    });
    asked.get("/count", &[]).json();
    asked.end_well();
}
