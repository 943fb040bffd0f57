//! What the checks read from: messages can be put there, and read by readers of one group.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use host::log::embedded::Embedded;
use host::log::{Reading, Start, Writer};
use host::message::Batch;
use host::metrics::Counters;
use host::source::Source;
use host::source::delta::{self, DeltaSource};
use host::source::file::{FileSource, Format, Options};
use host::source::http::{self, HttpSource};
use host::uri::Location;
use tempfile::TempDir;

use crate::conformance::{PATIENCE, Topic};

/// A source that is still to be opened.
pub trait Given {
    /// Adds the messages of these texts at the end.
    fn put(&mut self, texts: &[String]);

    /// A reader of the one group; the one before must be gone.
    fn open(&self) -> Box<dyn Source>;
}

/// Texts that are no two alike, with what a format may have to quote.
pub fn texts(numbers: Range<usize>) -> Vec<String> {
    numbers.map(|i| format!("{i}, \"\u{e9}\"\n")).collect()
}

/// The value as which a text comes from every source.
pub fn message(text: &str) -> String {
    serde_json::json!({ "text": text }).to_string()
}

/// A topic and a writer to it: one for all messages, as a new one of Kafka's takes half a second.
pub struct Written {
    writer: Box<dyn Writer>,
    topic: Topic,
}

pub fn embedded_log() -> Written {
    Written::new(Topic::embedded())
}

pub fn kafka() -> Written {
    Written::new(Topic::kafka())
}

impl Written {
    fn new(topic: Topic) -> Self {
        Self { writer: topic.log.writer(&topic.name).unwrap(), topic }
    }
}

impl Given for Written {
    fn put(&mut self, texts: &[String]) {
        let mut batch = Batch::new();
        for (i, text) in (1..).zip(texts) {
            batch.push(Some(b"key"), Some(message(text).as_bytes()), i);
        }
        self.writer.append(&batch).unwrap();
        self.writer.flush().unwrap();
    }

    fn open(&self) -> Box<dyn Source> {
        let Topic { log, name, .. } = &self.topic;
        let group = name;
        log.reader(name, &Reading::new(group, Start::Earliest)).unwrap()
    }
}

/// A file, and the log that keeps its positions, in a folder of their own.
pub struct File {
    folder: TempDir,
    options: Options,
}

pub fn followed_json_lines() -> File {
    File::new(Format::JsonLines, true)
}

pub fn followed_csv() -> File {
    File::new(Format::Csv { header: true, delimiter: b',' }, true)
}

pub fn json_lines_once() -> File {
    File::new(Format::JsonLines, false)
}

pub fn csv_once() -> File {
    File::new(Format::Csv { header: true, delimiter: b',' }, false)
}

impl File {
    fn new(format: Format, follow: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        let header = if format == Format::JsonLines { "" } else { "text\n" };
        std::fs::write(&path, header).unwrap();
        Self { folder, options: Options { path, format, follow } }
    }
}

impl Given for File {
    fn put(&mut self, texts: &[String]) {
        let mut content = Vec::new();
        if self.options.format == Format::JsonLines {
            for text in texts {
                writeln!(content, "{}", message(text)).unwrap();
            }
        } else {
            let mut rows = csv::Writer::from_writer(&mut content);
            texts.iter().for_each(|text| rows.write_record([text]).unwrap());
            rows.flush().unwrap();
        }
        OpenOptions::new().append(true).open(&self.options.path).unwrap().write_all(&content).unwrap();
    }

    fn open(&self) -> Box<dyn Source> {
        let positions = Embedded::open(&self.folder.path().join("log.sqlite")).unwrap();
        Box::new(FileSource::open(self.options.clone(), positions, "group").unwrap())
    }
}

/// A server that gives each message to one request, and lets a request wait where there is none. It runs until the
/// test binary ends.
pub struct Endpoint {
    url: url::Url,
    replies: Arc<Replies>,
}

#[derive(Default)]
struct Replies {
    waiting: Mutex<VecDeque<String>>,
    came: Condvar,
}

pub fn http() -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let replies = Arc::<Replies>::default();
    let served = Arc::clone(&replies);
    std::thread::spawn(move || listener.incoming().for_each(|stream| served.serve(stream.unwrap())));
    Endpoint { url, replies }
}

impl Replies {
    fn serve(&self, mut stream: TcpStream) {
        let head = BufReader::new(&stream).lines().map_while(Result::ok).find(String::is_empty);
        if head.is_none() {
            return;
        }
        let waiting = self.came.wait_while(self.waiting.lock().unwrap(), |waiting| waiting.is_empty());
        let body = waiting.unwrap().pop_front().unwrap();
        let length = body.len();
        let reply = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        // A poller that was ended has gone away.
        let _ = stream.write_all(reply.as_bytes());
    }
}

impl Given for Endpoint {
    fn put(&mut self, texts: &[String]) {
        self.replies.waiting.lock().unwrap().extend(texts.iter().map(|text| message(text)));
        self.replies.came.notify_one();
    }

    fn open(&self) -> Box<dyn Source> {
        let options = http::Options {
            url: self.url.clone(),
            every: Duration::from_millis(1),
            deadline: PATIENCE,
            max_body: 1 << 20,
            max_decoded: 1 << 20,
            distinct: None,
        };
        Box::new(HttpSource::new(options, Counters::default()).unwrap())
    }
}

/// A Delta table, written by hand, and the log that keeps its positions, in a folder of their own.
pub struct Delta {
    folder: TempDir,
    versions: usize,
}

pub fn delta() -> Delta {
    let schema = r#"{"type":"struct","fields":[{"name":"text","type":"string","nullable":true,"metadata":{}}]}"#;
    let metadata = serde_json::json!({
        "id": "a-table", "format": { "provider": "parquet", "options": {} }, "schemaString": schema,
        "partitionColumns": [], "configuration": {}, "createdTime": 0,
    });
    let protocol = serde_json::json!({ "minReaderVersion": 1, "minWriterVersion": 2 });
    let mut delta = Delta { folder: tempfile::tempdir().unwrap(), versions: 0 };
    std::fs::create_dir_all(delta.folder.path().join("table/_delta_log")).unwrap();
    delta.commit(&[serde_json::json!({ "protocol": protocol }), serde_json::json!({ "metaData": metadata })]);
    delta
}

impl Delta {
    fn commit(&mut self, actions: &[serde_json::Value]) {
        let log = self.folder.path().join("table/_delta_log");
        let lines: Vec<_> = actions.iter().map(ToString::to_string).collect();
        let entry = log.join("new");
        std::fs::write(&entry, lines.join("\n")).unwrap();
        std::fs::rename(entry, log.join(format!("{:020}.json", self.versions))).unwrap();
        self.versions += 1;
    }

    /// A file of these rows, as a version adds it.
    fn file(&self, texts: &[String], number: usize) -> serde_json::Value {
        let name = format!("{}-{number}.parquet", self.versions);
        let path = self.folder.path().join("table").join(&name);
        let column = arrow::array::StringArray::from_iter_values(texts);
        let rows = arrow::array::RecordBatch::try_from_iter([("text", Arc::new(column) as _)]).unwrap();
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        let size = path.metadata().unwrap().len();
        serde_json::json!({
            "add": { "path": name, "partitionValues": {}, "size": size, "modificationTime": 0, "dataChange": true },
        })
    }
}

impl Given for Delta {
    /// In a version with two files, and one with one; between them one without rows.
    fn put(&mut self, texts: &[String]) {
        let (first, rest) = texts.split_at(texts.len() / 3);
        let (second, third) = rest.split_at(rest.len() / 2);
        let info = serde_json::json!({ "commitInfo": { "timestamp": self.versions } });
        self.commit(&[self.file(first, 0), info.clone(), self.file(second, 1)]);
        self.commit(std::slice::from_ref(&info));
        self.commit(&[info, self.file(third, 0)]);
    }

    fn open(&self) -> Box<dyn Source> {
        let positions = Embedded::open(&self.folder.path().join("log.sqlite")).unwrap();
        let table = Location::Directory(self.folder.path().join("table"));
        let options = delta::Options { table, start: delta::Start::Earliest };
        Box::new(DeltaSource::open(&options, &Default::default(), positions, "group").unwrap())
    }
}
