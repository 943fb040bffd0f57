//! Questions to plugins that run.

use super::Asked;
use crate::program::{plugin, run, wait_for};

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
