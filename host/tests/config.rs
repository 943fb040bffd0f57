//! Pipeline files beside what they get: `invalid/NAME.toml` the exact error in `NAME.txt`,
//! `valid/NAME.toml` the resolved pipeline. `UPDATE=1` rewrites the texts.

use std::path::{Path, PathBuf};

use host::config::{Delivery, Overrides, Pipeline, Sink, Source, Until};

/// Checks each `folder/NAME.toml` against `folder/NAME.txt`; returns how many there are.
fn check(folder: &str, outcome: impl Fn(&Path) -> String) -> usize {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut differing = Vec::new();
    for file in &files {
        let (actual, text) = (outcome(file) + "\n", file.with_extension("txt"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&text, &actual).unwrap();
        }
        let expected = std::fs::read_to_string(&text).unwrap_or_default();
        if actual != expected {
            differing.push(format!("{}\n--- expected\n{expected}--- actual\n{actual}", text.display()));
        }
    }
    assert!(differing.is_empty(), "UPDATE=1 rewrites these:\n\n{}", differing.join("\n"));
    files.len()
}

#[test]
fn mistakes_get_their_exact_error() {
    let cases = check("tests/config/invalid", |file| match Pipeline::read(file, &Overrides::default()) {
        Ok(pipeline) => panic!("{} was accepted: {pipeline:#?}", file.display()),
        Err(error) => error.to_string(),
    });
    assert!(cases >= 25, "only {cases} cases");
}

#[test]
fn good_files_mean_what_they_say() {
    let cases = check("tests/config/valid", |file| match Pipeline::read(file, &Overrides::default()) {
        Ok(pipeline) => format!("{pipeline:#?}"),
        Err(error) => panic!("{error}"),
    });
    assert!(cases >= 3, "only {cases} cases");
}

#[test]
fn the_pipelines_that_come_along_are_good() {
    for entry in std::fs::read_dir("../pipelines").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let pipeline = Pipeline::read(&path, &Overrides::default()).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(pipeline.name, path.file_stem().unwrap().to_str().unwrap());
        }
    }
}

#[test]
fn files_that_are_no_pipeline_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("flights.csv");
    std::fs::File::create(&large).unwrap().set_len(2 << 20).unwrap();
    let error = Pipeline::read(&large, &Overrides::default()).unwrap_err().to_string();
    assert_eq!(error, format!("{}: more than 1 MiB; this is no pipeline file", large.display()));
    std::fs::write(folder.path().join("iss-csv.toml"), "").unwrap();
    let error = Pipeline::read(&folder.path().join("iss-cvs.toml"), &Overrides::default()).unwrap_err().to_string();
    let folder = folder.path().display();
    assert_eq!(error, format!("{folder}/iss-cvs.toml: no such file; did you mean \"{folder}/iss-csv.toml\"?"));
}

#[test]
fn each_polled_feed_has_a_topic_of_its_own() {
    let feeds = [
        ("sim:iss", "iss"),
        ("sim:iss?step=1s", "iss"),
        ("sim:iss?shape=wheretheiss", "iss-wheretheiss"),
        ("https://API.example.org/now?key=secret", "api.example.org"),
        ("https://example.org:443/", "example.org"),
        ("http://user:secret@127.0.0.1:8080/", "127.0.0.1-8080"),
        ("http://[::1]:8080/", "--1-8080"),
    ];
    let read = |file: &str, overrides: &Overrides| {
        Pipeline::read(&Path::new("tests/config/valid").join(file), overrides).unwrap().via.unwrap().to_string()
    };
    for (uri, feed) in feeds {
        let from = Overrides { from: Some(uri.parse().unwrap()), ..Overrides::default() };
        assert_eq!(read("smallest.toml", &from), format!("kafka:///smallest.{feed}"), "{uri}");
        assert_eq!(read("every-key.toml", &from), "kafka://a:9092,b:9092/iss-location", "a topic that is named stays");
    }
}

#[test]
fn what_the_command_line_says_reaches_its_stage() {
    let overrides = Overrides {
        from: Some("sim:iss".parse().unwrap()),
        via: Some("kafka://localhost:9092/iss".parse().unwrap()),
        to: Some("kafka://localhost:9092/counts".parse().unwrap()),
        every: Some("1s".parse().unwrap()),
        until: Some("5m".parse().unwrap()),
        workers: Some(3),
        delivery: Some(Delivery::ExactlyOnce),
        log: Some("other.db".into()),
    };
    let pipeline = Pipeline::read(Path::new("tests/config/valid/through-twice.toml"), &overrides).unwrap();
    let line = pipeline.line();
    let [first, second, last] = line[..] else { panic!("{} stages", line.len()) };
    let Source::Simulate(_, options) = &first.source else { panic!("{}", first.source) };
    assert_eq!(options.every, std::time::Duration::from_secs(1));
    assert_eq!(first.via.as_ref().unwrap().to_string(), "kafka://localhost:9092/iss");
    assert_eq!(last.sink, Sink::new(&"kafka://localhost:9092/counts".parse().unwrap(), "p"));
    assert_eq!(
        [&first.until, &second.until, &last.until],
        [&Until::Elapsed(std::time::Duration::from_secs(300)), &Until::Stopped, &Until::Stopped]
    );
    // The last one reads the embedded log, which has one reader; the file's own end, which closed windows, is gone.
    assert_eq!([first.workers, second.workers, last.workers], [3, 3, 1]);
    assert_eq!([first.close, second.close, last.close], [false; 3]);
    assert_eq!(line.iter().map(|stage| stage.delivery).collect::<Vec<_>>(), [Delivery::ExactlyOnce; 3]);
    assert!(line.iter().all(|stage| stage.log == Path::new("other.db")));
}
