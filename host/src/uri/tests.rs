//! What each address means, and the exact text that a wrong one gets.

use super::*;

fn topic_uri(brokers: Option<&str>, topic: &str) -> TopicUri {
    TopicUri { brokers: brokers.map(str::to_owned), topic: topic.to_owned() }
}

#[test]
fn sources_are_read() {
    let read = |uri: &str| uri.parse::<SourceUri>().unwrap();
    assert!(matches!(read("http://api.open-notify.org/iss-now.json"), SourceUri::Http(_)));
    assert_eq!(read("kafka:///iss"), SourceUri::Topic(topic_uri(None, "iss")));
    assert_eq!(read("kafka://a:9092,[::1]:9093/iss"), SourceUri::Topic(topic_uri(Some("a:9092,[::1]:9093"), "iss")));
    assert_eq!(read("file:data/x.csv"), SourceUri::File("data/x.csv".into()));
    assert_eq!(read("file:///data/x.csv"), SourceUri::File("/data/x.csv".into()));
    assert_eq!(read("sim:iss"), SourceUri::Simulate(Simulate::Iss(Iss { shape: Shape::OpenNotify, step: None })));
    let stepped = Simulate::Iss(Iss { shape: Shape::WhereTheIssAt, step: Some(1_000) });
    assert_eq!(stepped.to_string(), "sim:iss?shape=wheretheiss&step=1000ms");
    assert_eq!(read("sim:iss?shape=wheretheiss&step=1s"), SourceUri::Simulate(stepped));
}

#[test]
fn sinks_are_read() {
    let read = |uri: &str| uri.parse::<SinkUri>().unwrap();
    assert_eq!(read("kafka://b/out"), SinkUri::Topic(topic_uri(Some("b"), "out")));
    assert_eq!(read("csv:out/iss"), SinkUri::Csv(Location::Directory("out/iss".into())));
    assert_eq!(read("stdout:"), SinkUri::Stdout);
    assert_eq!(read("sqlite:/a/b.db"), SinkUri::Sqlite("/a/b.db".into()));
    let bucket = |bucket: &str, prefix: &str| Location::Bucket { bucket: bucket.into(), prefix: prefix.into() };
    assert_eq!(read("csv:s3://lake"), SinkUri::Csv(bucket("lake", "")));
    assert_eq!(read("parquet:s3://lake/a/b/"), SinkUri::Parquet(bucket("lake", "a/b")));
    assert_eq!(read("delta:s3://lake/a"), SinkUri::Delta(bucket("lake", "a")));
    assert_eq!("delta:bronze".parse(), Ok(Through::Delta(Location::Directory("bronze".into()))));
}

#[test]
fn dead_letters_go_to_a_topic_or_a_file() {
    let read = |uri: &str| uri.parse::<LettersUri>().map_err(|error| error.to_string());
    for uri in ["kafka:///p.dead", "kafka://a:1/p.dead", "jsonl:dead/p.jsonl", "jsonl:/dead"] {
        assert_eq!(read(uri).unwrap().to_string(), uri);
    }
    let wrong = [
        ("jsonl:", r#"jsonl:: no path; write "jsonl:PATH""#),
        ("json:dead", r#"json:dead: unknown scheme "json"; did you mean "jsonl"?"#),
        ("csv:dead", r#"csv:dead: unknown scheme "csv"; use one of kafka:, jsonl:"#),
        ("dead", r#"dead: no scheme; for a topic of the embedded log write "kafka:///dead""#),
    ];
    for (uri, error) in wrong {
        assert_eq!(read(uri).unwrap_err(), error);
    }
}

#[test]
fn logs_may_leave_the_topic_out() {
    let read = |uri: &str| uri.parse::<LogUri>().unwrap();
    for uri in ["kafka://a:1,b:2", "kafka://a:1,b:2/"] {
        assert_eq!(read(uri), LogUri { brokers: Some("a:1,b:2".into()), topic: None });
    }
    assert_eq!(read("kafka:///"), LogUri { brokers: None, topic: None });
    assert_eq!(read("kafka:///iss"), LogUri { brokers: None, topic: Some("iss".into()) });
    assert!("iss".parse::<LogUri>().unwrap_err().to_string().contains("\"kafka:///iss\""));
}

#[test]
fn a_wrong_source_says_what_to_write() {
    let cases = [
        ("htpp://x/y", r#"htpp://x/y: unknown scheme "htpp"; did you mean "http"?"#),
        ("mqtt://x", r#"mqtt://x: unknown scheme "mqtt"; use one of http:, https:, kafka:, file:, delta:, sim:"#),
        (
            "localhost:9092/iss",
            r#"localhost:9092/iss: unknown scheme "localhost"; did you mean "kafka://localhost:9092/iss"?"#,
        ),
        ("data.csv", r#"data.csv: no scheme; for a file write "file:data.csv""#),
        ("csv:data.csv", r#"csv:data.csv: csv: writes; to read a CSV file write "file:data.csv""#),
        ("kafka:iss", r#"kafka:iss: for the embedded log write "kafka:///iss", for a broker "kafka://HOST:PORT/iss""#),
        ("kafka://b:9092", r#"kafka://b:9092: no topic is named; write "kafka://b:9092/TOPIC""#),
        ("kafka://b:x/t", r#"kafka://b:x/t: "b:x" is no broker; write HOST:PORT, several with commas between"#),
        ("kafka://a,,b/t", r#"kafka://a,,b/t: "" is no broker; write HOST:PORT, several with commas between"#),
        ("kafka:///a/b", r#"kafka:///a/b: "a/b" is not a topic name: use 1 to 249 letters, digits, '.', '_' and '-'"#),
        ("file:", r#"file:: no path; write "file:PATH""#),
        ("file://x", r#"file://x: a path follows the colon, without slashes of its own: "file:x" or "file:/x""#),
        ("sim:mir", r#"sim:mir: unknown simulator "mir"; there are "sim:iss", "sim:turnstiles", "sim:flights""#),
        ("sim:iss?shap=x", r#"sim:iss?shap=x: unknown parameter "shap"; did you mean "shape"?"#),
        ("sim:iss?step=0s", r#"sim:iss?step=0s: step: "0s" is too short; durations are at least 1ms"#),
        ("sim:iss?shape=x", r#"sim:iss?shape=x: unknown shape "x"; there are "open-notify" and "wheretheiss""#),
        ("http:/x", r#"http:/x: two slashes follow the colon: "http://x/""#),
        ("http://", r#"http://: empty host; write a URL such as "http://localhost:8080/iss-now.json""#),
    ];
    for (uri, text) in cases {
        assert_eq!(uri.parse::<SourceUri>().unwrap_err().to_string(), text);
    }
}

#[test]
fn a_wrong_sink_says_what_to_write() {
    let cases = [
        ("out", r#"out: no scheme; for CSV files in a directory write "csv:out""#),
        ("file:x", r#"file:x: file: only reads; to write CSV files into a directory use "csv:DIRECTORY""#),
        ("http://x/", r#"http://x/: http: only reads; a sink is kafka:, csv:, parquet:, delta:, sqlite: or stdout:"#),
        ("stdout:x", r#"stdout:x: nothing may follow "stdout:""#),
        ("s3://lake/a", r#"s3://lake/a: unknown scheme "s3"; did you mean "parquet:s3://lake/a"?"#),
        ("csv:s3://No", r#"csv:s3://No: "No" cannot name a bucket; write "csv:s3://BUCKET/PATH""#),
        ("csv:s3://lake/a/../b", r#"csv:s3://lake/a/../b: a path in a bucket has no empty parts, and no "." or "..""#),
        ("stdot:", r#"stdot:: unknown scheme "stdot"; did you mean "stdout"?"#),
    ];
    for (uri, text) in cases {
        assert_eq!(uri.parse::<SinkUri>().unwrap_err().to_string(), text);
    }
}

#[test]
fn a_simulated_feed_is_shown_as_it_is_written() {
    for uri in [
        "sim:iss",
        "sim:iss?shape=wheretheiss&step=1500ms",
        "sim:turnstiles",
        "sim:turnstiles?step=10000ms&seed=7&duplicates=0.05&late=0.02",
        "sim:flights?seed=9",
    ] {
        let SourceUri::Simulate(simulate) = uri.parse().unwrap() else { panic!("{uri}") };
        assert_eq!(simulate.to_string(), uri);
    }
}
