//! Questions to plugins that run.

use super::Asked;
use crate::program::{plugin, run, top, wait_for};

fn pipeline(asked: &str, queries: &str) -> String {
    format!(
        r#"
[source]
uri = "sim:iss?shape=wheretheiss&step=1s"
every = "5ms"
[[plugin]]
file = {:?}
[plugin.settings]
event_time = {{ field = "timestamp", unit = "s" }}
[[plugin]]
file = {:?}
{asked}
[sink]
uri = "sqlite:out.db"
interval = "50ms"
[queries]
listen = "127.0.0.1:0"
{queries}
"#,
        plugin("flatten"),
        plugin(if asked.contains("window") { "window-counts" } else { "max-altitude" }),
    )
}

const COUNTS: &str = "[plugin.settings]\nwindow = \"1h\"\nby = [\"name\"]\naggregates = [\"count\", \"max(altitude)\"]";

#[test]
fn the_live_state_of_a_plugin_is_asked_while_messages_come() {
    let queries = "[[query]]\npath = \"/open\"\nplugin = \"window-counts\"\n";
    let asked = Asked::start(tempfile::tempdir().unwrap(), &pipeline(COUNTS, queries));
    let count = || {
        let reply = asked.get("/open", &[]);
        // Before the first worker is there.
        if reply.status == 503 {
            return None;
        }
        let windows = reply.json()["data"].as_array().unwrap().clone();
        windows.first()?;
        assert!(windows.iter().all(|window| window["name"] == "iss" && window["end"].is_string()), "{windows:?}");
        Some(windows.iter().map(|window| window["count"].as_i64().unwrap()).sum::<i64>())
    };
    let first = wait_for("an open window", count);
    wait_for("more in it, though nothing of it is put out", || count().filter(|count| *count > first + 20));
    let csv = asked.get("/open", &["Accept: text/csv"]).body;
    assert!(csv.starts_with("count,end,") && csv.contains(",iss"), "{csv}");
    asked.end_well();
}

#[test]
fn a_plugin_without_the_interface_or_that_is_not_there_is_told_before() {
    let directory = tempfile::tempdir().unwrap();
    for (name, what) in [
        ("flatten", "plugin flatten 0.1.0 has no `query` interface, so it cannot be asked"),
        ("flaten", "there is no plugin \"flaten\"; there is flatten, window-counts"),
    ] {
        let queries = format!("[[query]]\npath = \"/open\"\nplugin = \"{name}\"\n");
        std::fs::write(directory.path().join("p.toml"), pipeline(COUNTS, &queries)).unwrap();
        for command in ["check", "run"] {
            let output = run(directory.path(), &[command, "p.toml"]);
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{stderr}");
            assert!(stderr.contains(&format!("[[query]] /open: {what}")), "{stderr}");
        }
    }
}

#[test]
fn the_highest_value_of_each_key_is_asked() {
    let queries = "[[query]]\npath = \"/highest\"\nplugin = \"max-altitude\"\n[[query]]\npath = \"/of_mir\"\nplugin = \
                   \"max-altitude\"\nquestion = \"mir\"\n[[query]]\npath = \"/all\"\nsql = \"SELECT count(*) AS n FROM p\"";
    let settings = "[plugin.settings]\nby = [\"name\"]";
    let pipeline = pipeline(settings, queries)
        .replace("sqlite:out.db", "kafka:///out")
        .replace("[queries]", "[queries]\ndatabase = \"other.db\"");
    let asked = Asked::start(tempfile::tempdir().unwrap(), &pipeline);
    let highest = wait_for("a highest value", || {
        let reply = asked.get("/highest", &[]);
        (reply.status == 200).then(|| reply.json()["data"].clone()).filter(|data| data[0]["altitude"].is_number())
    });
    assert!(highest.as_array().unwrap().len() == 1 && highest[0]["key"] == "iss", "{highest}");
    assert!(asked.data("/of_mir").is_empty());
    let missing = asked.get("/all", &[]).problem(503);
    assert!(
        missing.starts_with("other.db: ") && missing.contains("is the pipeline there that writes it?"),
        "{missing}"
    );
    asked.end_well();
}

/// Whatever a plugin does when it is asked, the stream goes on, and each message has its effect once.
#[test]
fn a_plugin_that_fails_when_it_is_asked_costs_nothing_but_the_answer() {
    let directory = tempfile::tempdir().unwrap();
    let questions = [("loop", 422), ("trap", 422), ("giant", 422), ("no json", 502), ("other", 422)];
    let queries: String = questions
        .map(|(question, _)| {
            let path = question.replace(' ', "_");
            format!("[[query]]\npath = \"/{path}\"\nplugin = \"hostile\"\nquestion = \"{question}\"\n")
        })
        .concat();
    let pipeline = format!(
        "[source]\nuri = \"sim:iss?shape=wheretheiss&step=1s\"\nevery = \"5ms\"\n[[plugin]]\nfile = {:?}\n\
         settings = {{ how = \"echo\", keep = true }}\nlimits = {{ call = \"300ms\" }}\n[sink]\nuri = \"kafka:///out\"\n\
         interval = \"20ms\"\n[queries]\nlisten = \"127.0.0.1:0\"\n{queries}",
        plugin("hostile")
    );
    let asked = Asked::start(directory, &pipeline);
    for round in 0..3 {
        for (question, status) in questions {
            let path = format!("/{}", question.replace(' ', "_"));
            // For a moment after a failure it is not asked, and before the first worker there is nobody.
            let said = wait_for("an answer", || {
                let reply = asked.get(&path, &[]);
                let text = reply.json()["message"].as_str().unwrap().to_owned();
                (reply.status != 503 && !text.contains("failed on the last question")).then_some((reply.status, text))
            });
            assert_eq!(said.0, status, "{round} {question}: {}", said.1);
            assert!(said.1.contains("plugin") && !said.1.contains('\u{1b}'), "{}", said.1);
        }
    }
    let log = asked.log();
    assert!(log.contains("was stopped in ask") && log.contains("failed in ask"), "{log}");
    let Asked { directory, process, .. } = asked;
    assert!(process.stop("TERM").success());
    let text =
        crate::program::run_ok(directory.path(), &["topics", "read", "kafka:///out", "--raw", "--limit", "1000000"]);
    let out: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count: Vec<i64> = out.iter().map(|message| message["count"].as_i64().unwrap()).collect();
    assert!(
        count.len() > 20 && count.iter().copied().eq(1..=count.len() as i64),
        "{} messages: {count:?}",
        count.len()
    );
}

/// `pipelines/iss-delta.toml`: gold is asked for its highest altitude while it grows.
#[test]
fn the_highest_altitude_is_asked_while_the_station_rises() {
    let pipeline = std::fs::read_to_string(top().join("pipelines/iss-delta.toml")).unwrap();
    let changes = [
        ("../plugins", top().join("plugins").to_str().unwrap().to_owned()),
        ("https://api.wheretheiss.at/v1/satellites/25544", "sim:iss?shape=wheretheiss&step=10s".to_owned()),
        ("kafka://localhost:9092/iss", "kafka:///iss".to_owned()),
        ("every = \"500ms\"", "every = \"10ms\"".to_owned()),
        ("every = \"2s\"", "every = \"50ms\"".to_owned()),
        ("127.0.0.1:8091", "127.0.0.1:0".to_owned()),
    ];
    let pipeline = changes.iter().fold(pipeline, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    let asked = Asked::start(tempfile::tempdir().unwrap(), &pipeline);
    let highest = || {
        let reply = asked.get("/highest", &[]);
        // Before the first worker is there.
        let rows = (reply.status == 200).then(|| reply.json())?;
        let row = rows["data"].as_array().unwrap().first()?;
        assert_eq!(row["key"], "25544");
        row["altitude"].as_f64()
    };
    let first = wait_for("the highest altitude", highest);
    wait_for("a higher one", || highest().filter(|highest| *highest > first));
    asked.end_well();
}
