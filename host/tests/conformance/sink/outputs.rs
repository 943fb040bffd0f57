//! What the checks write to, and how a reader sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use arrow::array::{AsArray, RecordBatch};
use host::log::embedded::Embedded;
use host::log::kafka::Kafka;
use host::log::{Log, Reading, Start};
use host::objects;
use host::plugin::{Field, Kind};
use host::schema::{Language, Schema, SchemaSink, Wire};
use host::sink::Sink;
use host::sink::csv::{Compression, Csv};
use host::sink::delta::{self, DeltaSink};
use host::sink::embedded::EmbeddedSink;
use host::sink::files::{self, FileSink};
use host::sink::kafka::{KafkaSink, Options};
use host::sink::parquet::{self, Parquet};
use host::sink::sqlite;
use host::sink::stdout::StdoutSink;
use host::source::Source;
use host::uri::Location;
use tempfile::TempDir;

use crate::conformance::{PATIENCE, started};
use crate::s3;

/// How many messages make a commit due, whatever the sink.
pub const FULL: usize = 20_001;

/// Partitions of what is read.
const INPUTS: u32 = 3;

const INTERVAL: Duration = Duration::from_secs(3600);

/// Where a sink's messages go. A message is a JSON object with one field, `text`.
pub trait Output {
    /// A sink of the one group, for a worker of this name; one of the same name may still be there.
    fn open(&self, member: &str) -> Box<dyn Sink>;

    /// The texts that a reader finds, in their order.
    fn visible(&self) -> Vec<String>;

    /// Those of one partition, by what they begin with.
    fn visible_of(&self, partition: i32) -> Vec<String> {
        let start = format!("{partition}: ");
        self.visible().into_iter().filter(|text| text.starts_with(&start)).collect()
    }

    /// That a reader finds these, soon: Kafka shows what is committed a moment later.
    fn shows(&self, partition: i32, texts: &[String]) {
        soon(texts, || self.visible_of(partition));
    }

    /// The same for the dead letters.
    fn shows_letters(&self, texts: &[String]) {
        soon(texts, || self.letters());
    }

    /// The texts of the dead letters.
    fn letters(&self) -> Vec<String>;

    /// What the group reads.
    fn source(&self) -> &dyn Source;
}

fn soon(texts: &[String], seen: impl Fn() -> Vec<String>) {
    let start = Instant::now();
    let mut found = seen();
    while found.len() < texts.len() && start.elapsed() < PATIENCE {
        found = seen();
    }
    assert_eq!(found, texts);
}

/// Opens the sink of a member into topics of these names.
type Open = Box<dyn Fn(&Names, &str) -> Box<dyn Sink>>;

/// Topics of one log: those of the group read `in`, and write to `out`.
pub struct Topics {
    log: Arc<dyn Log>,
    names: Names,
    sink: Open,
    source: Box<dyn Source>,
    folder: Option<TempDir>,
    /// By which the output is read where it is Avro.
    schema: Option<apache_avro::Schema>,
}

/// The group's name begins those of all its topics, because brokers may hold topics of other tests and runs.
struct Names {
    group: String,
    output: String,
    letters: String,
}

impl Topics {
    /// `sink` opens one, by the names and that of its worker.
    fn new(log: Arc<dyn Log>, folder: Option<TempDir>, sink: impl Fn(&Names, &str) -> Box<dyn Sink> + 'static) -> Self {
        let group = format!("sink-{:016x}", fastrand::u64(..));
        let [input, output, letters] = ["in", "out", "dead"].map(|name| format!("{group}.{name}"));
        assert!(log.create_topic(&input, INPUTS).unwrap());
        assert!(log.create_topic(&output, 1).unwrap());
        let source = started(log.reader(&input, &Reading::new(&group, Start::Earliest)).unwrap());
        Self { log, names: Names { group, output, letters }, sink: Box::new(sink), source, folder, schema: None }
    }

    /// The same, written as Avro by a schema.
    fn in_avro(mut self) -> Self {
        const SCHEMA: &str = r#"{"type":"record","name":"R","fields":[{"name":"text","type":"string"}]}"#;
        let folder = self.folder.take().unwrap_or_else(|| tempfile::tempdir().unwrap());
        let path = folder.path().join("r.avsc");
        std::fs::write(&path, SCHEMA).unwrap();
        let options = host::schema::Options { language: Language::Avro, path, wire: Wire::Avro, registry: None };
        let (schema, inner) = (Schema::load(&options).unwrap(), self.sink);
        self.sink = Box::new(move |names, member| Box::new(SchemaSink::new(inner(names, member), &schema, None)));
        Self { folder: Some(folder), schema: Some(apache_avro::Schema::parse_str(SCHEMA).unwrap()), ..self }
    }

    fn texts(&self, topic: &str) -> Vec<String> {
        let (mut texts, mut next) = (Vec::new(), 0);
        loop {
            let found = self.log.read(topic, 0, next, usize::MAX).unwrap();
            if found.batch.is_empty() {
                return texts;
            }
            for value in &found.batch.values {
                let value = match self.schema.as_ref().filter(|_| topic == self.names.output) {
                    Some(schema) => {
                        let reader = apache_avro::reader::datum::GenericDatumReader::builder(schema).build().unwrap();
                        reader.read_value(&mut value.unwrap()).unwrap().try_into().unwrap()
                    }
                    None => serde_json::from_slice::<serde_json::Value>(value.unwrap()).unwrap(),
                };
                texts.push(value["text"].as_str().unwrap().to_owned());
            }
            next = found.next;
        }
    }
}

impl Output for Topics {
    fn open(&self, member: &str) -> Box<dyn Sink> {
        (self.sink)(&self.names, member)
    }

    fn visible(&self) -> Vec<String> {
        self.texts(&self.names.output)
    }

    fn letters(&self) -> Vec<String> {
        let letters = &self.names.letters;
        let there = self.log.topics().unwrap().iter().any(|topic| topic.name == *letters);
        if there { self.texts(letters) } else { Vec::new() }
    }

    fn source(&self) -> &dyn Source {
        &*self.source
    }
}

pub fn embedded() -> Topics {
    let folder = tempfile::tempdir().unwrap();
    let log = Embedded::open(&folder.path().join("log.sqlite")).unwrap();
    Topics::new(Arc::new(log.clone()), Some(folder), move |names, _| {
        let (output, letters) = (Some(&*names.output), Some(&*names.letters));
        Box::new(EmbeddedSink::new(log.clone(), &names.group, output, letters, INTERVAL).unwrap())
    })
}

/// Standard output, which nobody reads here, over a store in the embedded log.
pub fn stdout() -> Topics {
    let folder = tempfile::tempdir().unwrap();
    let log = Embedded::open(&folder.path().join("log.sqlite")).unwrap();
    Topics::new(Arc::new(log.clone()), Some(folder), move |names, _| {
        let store = EmbeddedSink::new(log.clone(), &names.group, None, None, INTERVAL).unwrap();
        Box::new(StdoutSink::new(Some(Box::new(store))))
    })
}

pub fn kafka() -> Topics {
    let kafka = Arc::new(Kafka::connect(&crate::kafka::brokers(), &BTreeMap::new()).unwrap());
    Topics::new(kafka.clone(), None, move |names, member| {
        let options = Options {
            group: names.group.clone(),
            topic: Some(names.output.clone()),
            letters: Some(names.letters.clone()),
            inputs: INPUTS,
            member: Some(format!("{}-{member}", names.group)),
            interval: INTERVAL,
        };
        Box::new(KafkaSink::new(kafka.clone(), options).unwrap())
    })
}

pub fn embedded_in_avro() -> Topics {
    embedded().in_avro()
}

pub fn kafka_in_avro() -> Topics {
    kafka().in_avro()
}

/// Files of a format in a directory or a bucket, of what is read from a topic of the embedded log.
pub struct Files {
    pub place: s3::Reader,
    input: Topics,
    sink: Make,
    /// The texts in a file of this name and content.
    read: Texts,
}

type Make = fn(&files::Options, &objects::Options) -> Box<dyn Sink>;
type Texts = fn(&str, Vec<u8>) -> Vec<String>;

pub fn csv() -> Files {
    Files::in_directory(csv_sink, csv_texts)
}

pub fn csv_gz() -> Files {
    Files::in_directory(csv_gz_sink, csv_texts)
}

pub fn csv_s3() -> Files {
    in_bucket(s3::options())
}

/// In a bucket that is reached in this way.
pub fn in_bucket(s3: objects::Options) -> Files {
    Files { place: s3::Reader::with(s3::location(), s3), ..Files::in_bucket(csv_sink, csv_texts) }
}

pub fn parquet() -> Files {
    Files::in_directory(parquet_sink, parquet_texts)
}

pub fn parquet_s3() -> Files {
    Files { place: s3::Reader::of(s3::location()), ..parquet() }
}

fn csv_sink(options: &files::Options, s3: &objects::Options) -> Box<dyn Sink> {
    compressed_sink(options, s3, Compression::None)
}

fn csv_gz_sink(options: &files::Options, s3: &objects::Options) -> Box<dyn Sink> {
    compressed_sink(options, s3, Compression::Gzip)
}

fn compressed_sink(options: &files::Options, s3: &objects::Options, compression: Compression) -> Box<dyn Sink> {
    let csv = Csv::new(vec!["text".to_owned()], false).compressed(compression);
    Box::new(FileSink::from_options(options, s3, "group", csv, INTERVAL).unwrap())
}

fn csv_texts(name: &str, bytes: Vec<u8>) -> Vec<String> {
    let mut reader = ::csv::Reader::from_reader(s3::unpacked(name, &bytes));
    assert_eq!(reader.headers().unwrap(), ["text"].as_slice());
    reader.records().map(|row| row.unwrap()[0].to_owned()).collect()
}

fn parquet_sink(options: &files::Options, s3: &objects::Options) -> Box<dyn Sink> {
    let field = Field { name: "text".to_owned(), kind: Kind::Text, nullable: false };
    let parquet = Parquet::new(vec![field], parquet::Compression::Zstd);
    Box::new(FileSink::from_options(options, s3, "group", parquet, INTERVAL).unwrap())
}

fn parquet_texts(_name: &str, bytes: Vec<u8>) -> Vec<String> {
    let batches = ParquetRecordBatchReader::try_new(bytes::Bytes::from(bytes), 1_000).unwrap();
    let texts = |batch: RecordBatch| -> Vec<String> {
        batch.column(0).as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect()
    };
    batches.flat_map(|batch| texts(batch.unwrap())).collect()
}

impl Files {
    fn in_directory(sink: Make, read: Texts) -> Self {
        let input = embedded();
        let directory = input.folder.as_ref().unwrap().path().join("out");
        Self { place: s3::Reader::of(Location::Directory(directory)), input, sink, read }
    }

    fn in_bucket(sink: Make, read: Texts) -> Self {
        Self { place: s3::Reader::of(s3::location()), input: embedded(), sink, read }
    }
}

impl Output for Files {
    fn open(&self, _member: &str) -> Box<dyn Sink> {
        let mut options = files::Options::new(self.place.location.clone());
        // Each row has more than ten bytes.
        (options.every, options.size) = (INTERVAL, 10 * FULL as u64);
        (self.sink)(&options, &self.place.options)
    }

    /// By the first offsets in the names of the files.
    fn visible(&self) -> Vec<String> {
        let mut files = self.place.files();
        files.sort_by_key(|(name, _)| name.rsplit('-').nth(1).unwrap().parse::<i64>().unwrap());
        let read = |(name, bytes): (String, Vec<u8>)| {
            let texts = (self.read)(&name, bytes);
            assert!(!texts.is_empty(), "a file without rows");
            texts
        };
        files.into_iter().flat_map(read).collect()
    }

    fn letters(&self) -> Vec<String> {
        unreachable!("letters are kept apart from files")
    }

    fn source(&self) -> &dyn Source {
        self.input.source()
    }
}

/// A Delta table, whose log is read here line by line.
pub struct Delta {
    table: s3::Reader,
    input: Topics,
}

pub fn delta() -> Delta {
    let input = embedded();
    let directory = input.folder.as_ref().unwrap().path().join("a table");
    Delta { table: s3::Reader::of(Location::Directory(directory)), input }
}

pub fn delta_s3() -> Delta {
    table_in_bucket(s3::options())
}

/// In a bucket that is reached in this way.
pub fn table_in_bucket(options: objects::Options) -> Delta {
    Delta { table: s3::Reader::with(s3::location(), options), input: embedded() }
}

impl Output for Delta {
    fn open(&self, _member: &str) -> Box<dyn Sink> {
        let options = delta::Options {
            table: self.table.location.clone(),
            every: INTERVAL,
            // Each row has more than ten bytes, before they are encoded.
            size: FULL as u64,
            partition_by: Vec::new(),
        };
        let fields = [Field { name: "text".to_owned(), kind: Kind::Text, nullable: false }];
        Box::new(DeltaSink::new(options, &self.table.options, &fields, "group", INTERVAL).unwrap())
    }

    fn visible(&self) -> Vec<String> {
        let files: BTreeMap<String, Vec<u8>> = self.table.all().into_iter().collect();
        let entries = (0..).map_while(|version| files.get(&format!("_delta_log/{version:020}.json")));
        let mut texts = Vec::new();
        for entry in entries {
            for action in serde_json::Deserializer::from_slice(entry).into_iter::<serde_json::Value>() {
                let action = action.unwrap();
                let Some(path) = action["add"]["path"].as_str() else { continue };
                let file = bytes::Bytes::from(files[path].clone());
                let rows = ParquetRecordBatchReader::try_new(file, 1_000).unwrap();
                for rows in rows.map(Result::unwrap) {
                    assert!(rows.num_rows() > 0, "a file without rows");
                    let column = rows.column(0).as_any().downcast_ref::<arrow::array::StringArray>().unwrap();
                    texts.extend(column.iter().map(|text| text.unwrap().to_owned()));
                }
            }
        }
        texts
    }

    fn letters(&self) -> Vec<String> {
        unreachable!("letters are kept apart from a table")
    }

    fn source(&self) -> &dyn Source {
        self.input.source()
    }
}

/// A table in a file of its own, of what is read from a topic of the embedded log.
pub struct Rows {
    options: sqlite::Options,
    log: Embedded,
    input: Topics,
}

pub fn sqlite() -> Rows {
    let input = embedded();
    let path = input.folder.as_ref().unwrap().path().join("out.sqlite");
    let log = Embedded::open(&path).unwrap();
    Rows { options: sqlite::Options { path, table: "out".to_owned(), key: Vec::new() }, log, input }
}

impl Output for Rows {
    fn open(&self, _member: &str) -> Box<dyn Sink> {
        let fields = [Field { name: "text".to_owned(), kind: Kind::Text, nullable: false }];
        Box::new(sqlite::open(self.log.clone(), "group", &self.options, &fields, INTERVAL).unwrap())
    }

    fn visible(&self) -> Vec<String> {
        let connection = rusqlite::Connection::open(&self.options.path).unwrap();
        let mut rows = match connection.prepare("SELECT text FROM out ORDER BY rowid") {
            Ok(rows) => rows,
            // Before the first sink there is no table.
            Err(_) => return Vec::new(),
        };
        rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    fn letters(&self) -> Vec<String> {
        unreachable!("letters are kept apart from tables")
    }

    fn source(&self) -> &dyn Source {
        self.input.source()
    }
}
