//! Readers that are not ours: pyarrow, deltalake and DuckDB (`readers/read.py`, run in the environment that
//! `xtask/src/python.rs` makes).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// What reads, and as whom where it is a bucket that it reads.
#[derive(Default)]
pub struct Readers {
    environment: Vec<(&'static str, String)>,
}

impl Readers {
    /// Of files on this machine.
    pub fn local() -> Self {
        Self::default()
    }

    /// Of the buckets of the service at `endpoint`, such as `http://127.0.0.1:9000`.
    pub fn s3(endpoint: &str, key: &str, secret: &str) -> Self {
        let names = ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"];
        let values = [endpoint, key, secret, "us-east-1"].map(str::to_owned);
        Self { environment: names.into_iter().zip(values).collect() }
    }

    /// The rows of a Parquet file, or of all below a folder in the order of their names, as pyarrow reads them. A folder
    /// without any has none.
    pub fn parquet(&self, uri: &str) -> Vec<Value> {
        self.read(&["parquet", uri])
    }

    /// The columns of Parquet files, each with its `name`, `type` and `nullable`, as pyarrow reads them.
    pub fn schema(&self, uri: &str) -> Vec<Value> {
        self.read(&["schema", uri])
    }

    /// The rows of a Delta table, at its last version or an earlier one, as deltalake reads them: in no
    /// order.
    pub fn delta(&self, uri: &str, version: Option<u64>) -> Vec<Value> {
        match version {
            None => self.read(&["delta", uri]),
            Some(version) => self.read(&["delta", uri, &version.to_string()]),
        }
    }

    /// The versions of a Delta table that its log tells of, the earliest first.
    pub fn versions(&self, uri: &str) -> Vec<u64> {
        self.read(&["versions", uri]).iter().map(|version| version.as_u64().expect("a version")).collect()
    }

    /// The rows of a CSV file, which may be compressed, or of all below a folder, as pyarrow reads them: all cells text.
    pub fn csv(&self, uri: &str) -> Vec<Value> {
        self.read(&["csv", uri])
    }

    /// What DuckDB answers; its tables may be files: `read_csv('FOLDER/**/*.csv.gz')`, `read_parquet('FOLDER/*.parquet')`.
    pub fn sql(&self, text: &str) -> Vec<Value> {
        self.read(&["sql", text])
    }

    /// Copies what is below a URI of a bucket to a folder.
    pub fn copy(&self, uri: &str, folder: &Path) {
        self.read(&["copy", uri, folder.to_str().expect("UTF-8")]);
    }

    fn read(&self, arguments: &[&str]) -> Vec<Value> {
        let mut python = python("read.py");
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        let said = xtask::command::output(python.args(arguments).envs(environment)).expect("a reader reads");
        let lines = serde_json::Deserializer::from_slice(&said).into_iter();
        lines.map(|value| value.expect("lines of JSON")).collect()
    }
}

/// A script of `readers/`, to be run.
pub fn python(script: &str) -> Command {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    let python = PYTHON.get_or_init(|| xtask::python::interpreter().expect("a Python with readers"));
    let mut command = Command::new(python);
    // What is set on this machine for other buckets is not for the tests.
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers").join(script)).env_remove("AWS_PROFILE");
    command
}

#[test]
fn each_reader_reads_what_pyarrow_and_deltalake_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let [files, table] = ["files", "table"].map(path);
    let written = python("write.py").args([&files, &table]).status().expect("Python runs");
    assert!(written.success());
    let readers = Readers::local();
    let rows = [
        serde_json::json!({"id": 1, "at": "2024-04-25T08:11:48.000001+00:00", "text": "é\n\"\u{0}"}),
        serde_json::json!({"id": 2, "at": null, "text": null}),
    ];
    assert_eq!(readers.parquet(&files), rows);
    assert_eq!(readers.parquet(&format!("{files}/a.parquet")), rows[..1]);
    assert_eq!(readers.schema(&files)[1]["type"], "timestamp[us, tz=UTC]");
    let mut found = readers.delta(&table, None);
    found.sort_by_key(|row| row["id"].as_i64());
    assert_eq!(found, rows);
    assert_eq!(readers.delta(&table, Some(0)), rows[..1]);
    assert_eq!(readers.versions(&table), [0, 1]);
    let query = format!("SELECT sum(id)::BIGINT AS sum FROM read_csv('{files}/*.csv.gz')");
    assert_eq!(readers.sql(&query), [serde_json::json!({"sum": 3})]);
    assert_eq!(readers.parquet(&path("nothing")), <[Value; 0]>::default());
}
