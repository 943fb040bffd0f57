//! What the checks write to, and how a reader sees it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use host::log::embedded::Embedded;
use host::log::kafka::Kafka;
use host::log::{Log, Reading, Start};
use host::plugin::{Field, Kind};
use host::sink::Sink;
use host::sink::csv::Csv;
use host::sink::delta::{self, DeltaSink};
use host::sink::embedded::EmbeddedSink;
use host::sink::files::{FileSink, Rolling};
use host::sink::kafka::{KafkaSink, Options};
use host::sink::parquet::{Compression, Parquet};
use host::sink::stdout::StdoutSink;
use host::source::Source;
use host::uri::Location;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

use crate::conformance::{PATIENCE, started};

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
        Self { log, names: Names { group, output, letters }, sink: Box::new(sink), source, folder }
    }

    fn texts(&self, topic: &str) -> Vec<String> {
        let (mut texts, mut next) = (Vec::new(), 0);
        loop {
            let found = self.log.read(topic, 0, next, usize::MAX).unwrap();
            if found.batch.is_empty() {
                return texts;
            }
            for value in &found.batch.values {
                let value: serde_json::Value = serde_json::from_slice(value.unwrap()).unwrap();
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

/// Files of a format in a directory, of what is read from a topic of the embedded log.
pub struct Files {
    directory: PathBuf,
    input: Topics,
    sink: fn(&Path) -> Box<dyn Sink>,
    extension: &'static str,
    /// The texts in a file.
    read: fn(&Path) -> Vec<String>,
}

/// Each row has more than ten bytes.
const ROLLING: Rolling = Rolling { every: INTERVAL, size: 10 * FULL as u64, interval: INTERVAL };

pub fn csv() -> Files {
    let sink = |directory: &Path| -> Box<dyn Sink> {
        let csv = Csv::new(vec!["text".to_owned()], false);
        Box::new(FileSink::new(directory, "group", csv, ROLLING).unwrap())
    };
    Files::new(sink, ".csv", |path| {
        let mut reader = ::csv::Reader::from_path(path).unwrap();
        assert_eq!(reader.headers().unwrap(), ["text"].as_slice());
        reader.records().map(|row| row.unwrap()[0].to_owned()).collect()
    })
}

pub fn parquet() -> Files {
    let sink = |directory: &Path| -> Box<dyn Sink> {
        let field = Field { name: "text".to_owned(), kind: Kind::Text, nullable: false };
        let parquet = Parquet::new(vec![field], Compression::Zstd);
        Box::new(FileSink::new(directory, "group", parquet, ROLLING).unwrap())
    };
    Files::new(sink, ".parquet", |path| {
        let file = std::fs::File::open(path).unwrap();
        let batches = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        let texts = |batch: RecordBatch| -> Vec<String> {
            batch.column(0).as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect()
        };
        batches.flat_map(|batch| texts(batch.unwrap())).collect()
    })
}

impl Files {
    fn new(sink: fn(&Path) -> Box<dyn Sink>, extension: &'static str, read: fn(&Path) -> Vec<String>) -> Self {
        let input = embedded();
        let directory = input.folder.as_ref().unwrap().path().join("out");
        Self { directory, input, sink, extension, read }
    }

    /// The files of output, by the first offsets in their names.
    fn paths(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return Vec::new() };
        let mut found: Vec<(i64, PathBuf)> = entries
            .map(|entry| entry.unwrap())
            .filter_map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                // Hidden files are no output.
                let first =
                    name.strip_suffix(self.extension).filter(|name| !name.starts_with('.'))?.rsplit('-').nth(1)?;
                Some((first.parse().unwrap(), entry.path()))
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, path)| path).collect()
    }
}

impl Output for Files {
    fn open(&self, _member: &str) -> Box<dyn Sink> {
        (self.sink)(&self.directory)
    }

    fn visible(&self) -> Vec<String> {
        let read = |path: PathBuf| {
            let texts = (self.read)(&path);
            assert!(!texts.is_empty(), "a file without rows");
            texts
        };
        self.paths().into_iter().flat_map(read).collect()
    }

    fn letters(&self) -> Vec<String> {
        unreachable!("letters are kept apart from files")
    }

    fn source(&self) -> &dyn Source {
        self.input.source()
    }
}

/// A Delta table in a directory, whose log is read here line by line.
pub struct Delta {
    table: PathBuf,
    input: Topics,
}

pub fn delta() -> Delta {
    let input = embedded();
    Delta { table: input.folder.as_ref().unwrap().path().join("a table"), input }
}

impl Output for Delta {
    fn open(&self, _member: &str) -> Box<dyn Sink> {
        let options = delta::Options {
            table: Location::Directory(self.table.clone()),
            every: INTERVAL,
            // Each row has more than ten bytes, before they are encoded.
            size: FULL as u64,
            partition_by: Vec::new(),
        };
        let fields = [Field { name: "text".to_owned(), kind: Kind::Text, nullable: false }];
        Box::new(DeltaSink::new(options, &Default::default(), &fields, "group", INTERVAL).unwrap())
    }

    fn visible(&self) -> Vec<String> {
        let version =
            |version: usize| std::fs::read_to_string(self.table.join(format!("_delta_log/{version:020}.json")));
        let mut texts = Vec::new();
        for entry in (0..).map_while(|number| version(number).ok()) {
            for action in entry.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()) {
                let Some(path) = action["add"]["path"].as_str() else { continue };
                let file = std::fs::File::open(self.table.join(path)).unwrap();
                let rows = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 1_000).unwrap();
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
