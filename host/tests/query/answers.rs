//! What a question gets: the envelope, CSV, parameters, saved results, the list, the OpenAPI document.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{Asked, NUMBERS};
use crate::program::wait_for;

const QUERIES: &str = r#"
[[query]]
path = "/by_group"
summary = "How many of each group."
sql = "SELECT g, count(*) AS count, 1.5 AS half, NULL AS empty, x'00ff' AS bytes FROM numbers GROUP BY g ORDER BY g LIMIT 2"
save = true

[[query]]
path = "/above"
sql = "SELECT n, :label AS label FROM numbers WHERE n > :n ORDER BY n LIMIT :most"
save = true
[query.parameters]
n = { kind = "integer" }
most = { kind = "integer", default = 2 }
label = { default = "none" }
"#;

#[test]
fn an_answer_is_in_the_envelope_or_csv_and_is_saved() {
    let asked = Asked::all_numbers(QUERIES);
    let reply = asked.get("/by_group", &[]);
    let group =
        |g: &str, count: usize| format!(r#"{{"g":"{g}","count":{count},"half":1.5,"empty":null,"bytes":"AP8="}}"#);
    let data = format!("[{},{}]", group("0", 2858), group("1", 2857));
    assert_eq!(reply.body, format!(r#"{{"data":{data},"error":false,"message":"by_group","statusCode":200}}"#));
    reply.json();
    let csv = "g,count,half,empty,bytes\n0,2858,1.5,,AP8=\n1,2857,1.5,,AP8=\n";
    let reply = asked.get("/by_group", &["Accept: application/json;q=0.5, text/csv"]);
    assert_eq!((reply.status, reply.body.as_str()), (200, csv));
    assert!(reply.head.contains("content-type: text/csv; charset=utf-8"), "{}", reply.head);
    asked.get("/by_group", &["Accept: image/png"]).problem(406);
    assert_eq!(std::fs::read_to_string(asked.path().join("results/by_group.csv")).unwrap(), csv);
    let files: Vec<_> = std::fs::read_dir(asked.path().join("results")).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");

    // What a caller has chosen is nobody else's result.
    asked.data("/above?n=5");
    assert!(!asked.path().join("results/above.csv").exists());
    // A folder that cannot be written to is told.
    std::fs::remove_dir_all(asked.path().join("results")).unwrap();
    std::fs::write(asked.path().join("results"), "in the way").unwrap();
    assert!(asked.get("/by_group", &[]).problem(500).contains("cannot be saved in results"));
    asked.end_well();
}

#[test]
fn parameters_are_bound_whatever_they_say() {
    let asked = Asked::all_numbers(QUERIES);
    assert_eq!(asked.data("/above?n=5"), [json!({"n": 6, "label": "none"}), json!({"n": 7, "label": "none"})]);
    assert_eq!(asked.data("/above?most=1&n=19998")[0]["n"], 19_999);
    for evil in
        ["'; DROP TABLE numbers; --", "' OR 1=1", "\" UNION SELECT key FROM state", ":n", "?1", "\0", "%", "😀\\'"]
    {
        let said: String = url_encoded(evil);
        let row = asked.data(&format!("/above?n=5&most=1&label={said}"));
        assert_eq!(row, [json!({"n": 6, "label": evil})]);
        let refused = asked.get(&format!("/above?n={said}"), &[]).problem(400);
        assert!(refused.starts_with("parameter n is an integer, and"), "{refused}");
    }
    for (path, what) in [
        ("/above", "parameter n (an integer) is missing; say it as ?n=…"),
        ("/above?n=1&x=1", "unknown parameter \"x\"; there is label, most, n"),
        ("/above?n=1&n=2", "parameter n is there twice; say it once"),
        ("/above?n=9223372036854775808", "parameter n is an integer, and \"9223372036854775808\" is not"),
        ("/by_group?n=1", "unknown parameter \"n\"; there is none"),
        ("/?n=1", "unknown parameter \"n\"; there is none"),
    ] {
        assert_eq!(asked.get(path, &[]).problem(400), what);
    }
    assert_eq!(asked.data("/count")[0]["n"], NUMBERS);
    asked.end_well();
}

fn url_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[test]
fn what_there_is_is_listed_and_described() {
    let asked = Asked::all_numbers(QUERIES);
    let list = asked.data("/");
    let paths: Vec<&str> = list.iter().map(|query| query["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/by_group", "/above", "/count"]);
    assert_eq!(list[0]["summary"], "How many of each group.");
    let most = json!({"name": "most", "kind": "an integer", "default": 2});
    assert!(list[1]["parameters"].as_array().unwrap().contains(&most), "{list:?}");

    let reply = asked.get("/openapi.json", &[]);
    let document: Value = serde_json::from_str(&reply.body).unwrap();
    assert!(
        document["openapi"] == "3.1.0"
            && document["info"]["title"] == "numbers"
            && document["info"]["version"].is_string()
    );
    assert_eq!(document["paths"].as_object().unwrap().len(), 3);
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let get = &item["get"];
        assert!(path.starts_with('/') && ids.insert(get["operationId"].as_str().unwrap()));
        for (status, response) in get["responses"].as_object().unwrap() {
            assert!((100..600).contains(&status.parse::<u16>().unwrap()) && response["description"].is_string());
            // Each schema that is referred to is there, and holds for what comes.
            let schema = response["content"]["application/json"]["schema"]["$ref"].as_str().unwrap();
            assert!(document.pointer(schema.strip_prefix('#').unwrap()).is_some(), "{schema}");
        }
        for parameter in get["parameters"].as_array().unwrap() {
            assert!(parameter["in"] == "query" && parameter["required"].is_boolean() && parameter["name"].is_string());
            jsonschema::meta::validate(&parameter["schema"]).unwrap();
        }
    }
    let envelope = &document["components"]["schemas"]["Envelope"];
    let envelope = jsonschema::validator_for(envelope).unwrap();
    for path in ["/", "/count", "/above", "/nothing"] {
        let answer = asked.get(path, &[]).json();
        assert!(envelope.is_valid(&answer), "{answer}");
    }
    asked.get("/nothing", &[]).problem(404);
    asked.end_well();
}

/// While rows come in, each answer is of one moment: a count is that of whole commits, and never goes back.
#[test]
fn an_answer_sees_whole_commits() {
    let directory = tempfile::tempdir().unwrap();
    let pipeline = format!(
        r#"
[source]
uri = "sim:iss?shape=wheretheiss&step=1s"
every = "1ms"
[[plugin]]
file = {:?}
[plugin.settings]
fields = [{{ from = "timestamp", name = "timestamp", type = "integer" }}, {{ from = "altitude", name = "altitude", type = "float" }}]
[sink]
uri = "sqlite:out.db"
key = ["timestamp"]
interval = "20ms"
[queries]
listen = "127.0.0.1:0"
[[query]]
path = "/count"
sql = "SELECT count(*) AS n, max(timestamp) - min(timestamp) + 1 AS span, (SELECT checkpoint ->> 'next' FROM checkpoints) AS next FROM numbers"
"#,
        crate::program::plugin("flatten")
    );
    let asked = Asked::start(directory, &pipeline);
    let (mut counts, mut last) = (std::collections::BTreeSet::new(), 0);
    wait_for("twenty different answers", || {
        let reply = asked.get("/count", &[]);
        if reply.status == 503 {
            return None;
        }
        let row = reply.json()["data"][0].clone();
        let count = row["n"].as_i64().unwrap();
        if count > 0 {
            assert!(count >= last, "{last} {row}");
            assert!(row["span"] == count && row["next"] == count, "{row}");
        }
        last = count;
        counts.insert(count);
        (counts.len() > 20).then_some(())
    });
    // Who reads beside it is not in the way of who writes.
    let connection = Connection::open(asked.path().join("out.db")).unwrap();
    assert!(connection.query_row("SELECT count(*) FROM numbers", [], |row| row.get::<_, i64>(0)).unwrap() >= last);
    asked.end_well();
}

/// The questions that `flights` answers, over events whose answers are known.
#[test]
fn the_questions_of_flights_count_airports_and_windows() {
    let directory = tempfile::tempdir().unwrap();
    let mut lines = String::new();
    let mut fly = |airport: &str, equipment: &str, second: usize| {
        let datetime = format!("2024-05-01T12:{:02}:{:02}.250Z", second / 60, second % 60);
        lines += &json!({"source_airport": airport, "equipment": equipment, "datetime": datetime}).to_string();
        lines.push('\n');
    };
    // Twelve airports, of which the n-th has n flights; the last second of a window, and the first one of the next.
    for airport in 1..=12 {
        (0..airport).for_each(|_| fly(&format!("A{airport:02}"), "320", 29));
    }
    fly("A12", "320", 30);
    fly("A12", "738", 59);
    std::fs::write(directory.path().join("in.jsonl"), lines).unwrap();
    let head = format!(
        "name = \"flights\"\n[source]\nuri = \"file:in.jsonl\"\nuntil = \"end\"\n[[plugin]]\nfile = {:?}\n[plugin.settings]\n\
         fields = [{}]\n[sink]\nuri = \"sqlite:out.db\"\n",
        crate::program::plugin("flatten"),
        ["source_airport", "equipment", "datetime"]
            .map(|name| format!("{{ from = {name:?}, name = {name:?} }}"))
            .join(", ")
    );
    let queries = include_str!("flights.toml").replace("127.0.0.1:8080", "127.0.0.1:0");
    let asked = Asked::start(directory, &(head + &queries));
    assert_eq!(asked.data("/produce")[0]["success"], 80);
    let airports = asked.data("/top10_source_airport");
    let expected: Vec<Value> = [14, 11, 10, 9, 8, 7, 6, 5, 4, 3]
        .map(|count: i64| json!({"source_airport": format!("A{:02}", count.min(12)), "count": count}))
        .to_vec();
    assert_eq!(airports, expected);
    let window = |equipment: &str, start: &str, end: &str, count: usize| {
        let time = |time: &str| format!("2024-05-01T12:{time}Z");
        json!({"equipment": equipment, "start": time(start), "end": time(end), "count": count})
    };
    let windows =
        [window("320", "00:00", "00:30", 78), window("320", "00:30", "01:00", 1), window("738", "00:30", "01:00", 1)];
    assert_eq!(asked.data("/top10_equipment_30min_window"), windows);
    assert_eq!(asked.data("/dump_table").len(), 80);
    for name in ["top10_source_airport", "top10_equipment_30min_window", "dump_table"] {
        assert!(asked.path().join(format!("results/{name}.csv")).exists(), "{name}");
    }
    asked.end_well();
}
