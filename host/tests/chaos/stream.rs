//! One pipeline with its topics and its directory: how far it has come, its last run, and the judgement.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use host::log::Log;
use host::log::embedded::Embedded;
use host::log::kafka::Kafka;
use host::objects::Options;
use host::uri::Location;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::chance::Chance;
use super::feeder::{self, Feeder};
use super::input::{Input, Message};
use super::outcome::{self, Found, Received, assert_same};
use super::pipeline::{COUNTED, FLAT, Pipeline, Work};
use super::process::{Host, tail};
use super::reference::{self, Expected};
use crate::program::wait_for;
use crate::s3::{self, Reader};

/// How many keys the messages have.
const GROUPS: u64 = 12;
/// Messages a second.
const LOAD: u64 = 4_000;
/// Of clients that are quick to give others up: a transaction, a session and a request last this long at most.
pub const TIMEOUTS: [(&str, &str); 4] = [
    ("transaction.timeout.ms", "3000"),
    ("session.timeout.ms", "3000"),
    ("heartbeat.interval.ms", "500"),
    ("socket.timeout.ms", "2000"),
];
/// From the end of a fault to the next commit.
const GOES_ON: Duration = Duration::from_secs(60);
/// How long a broker may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

pub struct Stream {
    pub pipeline: Pipeline,
    /// Where its host runs.
    pub path: PathBuf,
    /// What the test itself reads and writes.
    pub log: Box<dyn Log>,
    pub input: Input,
    topic: String,
    pub partitions: u32,
    /// Asks how far the group has come, where Kafka knows.
    group: Option<BaseConsumer>,
    /// Where buckets are.
    service: Options,
    directory: Option<tempfile::TempDir>,
}

impl Stream {
    /// From a topic of the shared broker into another one.
    pub fn on_kafka(name: &str, chance: &Chance, work: Work, partitions: u32) -> Self {
        let brokers = crate::kafka::brokers();
        Self::between(&brokers, &brokers, name, chance, work, partitions)
    }

    /// The same on a broker that the host reaches at `told`.
    pub fn between(brokers: &str, told: &str, name: &str, chance: &Chance, work: Work, partitions: u32) -> Self {
        let name = format!("{name}-{}-{}", chance.seed, std::process::id());
        let log = Kafka::connect(brokers, &Default::default()).expect("a broker");
        let mut config = ClientConfig::new();
        let group = config.set("bootstrap.servers", brokers).set("group.id", &name);
        // A position that is part of an open transaction is not waited for.
        let group = group.set("isolation.level", "read_uncommitted").create().expect("a consumer");
        Self::new(Box::new(log), &format!("kafka://{told}/"), name, chance, work, partitions)
            .with(|s| s.group = Some(group))
    }

    /// From one topic of the embedded log into another one.
    pub fn embedded(name: &str, chance: &Chance, work: Work) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let log = Embedded::open(&directory.path().join("apogee.db")).expect("an embedded log");
        let stream = Self::new(Box::new(log), "kafka:///", name.to_owned(), chance, work, 1);
        stream.with(|s| (s.path, s.directory) = (directory.path().to_owned(), Some(directory)))
    }

    fn new(log: Box<dyn Log>, uri: &str, name: String, chance: &Chance, work: Work, partitions: u32) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let topic = format!("{name}.in");
        log.create_topic(&topic, partitions).expect("the input's topic");
        log.create_topic(&format!("{name}.out"), partitions).expect("the output's topic");
        let pipeline = Pipeline {
            work,
            from: format!("{uri}{topic}"),
            to: format!("{uri}{name}.out"),
            letters: format!("{uri}{name}.dead"),
            workers: 1,
            batch: 4096,
            sink: String::new(),
            tables: String::new(),
            limits: String::new(),
            client: Vec::new(),
            name,
        };
        Self {
            pipeline,
            path: directory.path().to_owned(),
            log,
            input: Input { seed: chance.seed, groups: GROUPS },
            topic,
            partitions,
            group: None,
            service: Options::default(),
            directory: Some(directory),
        }
    }

    /// With something else than usual.
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Into CSV files, a new one each tenth of a second.
    pub fn into_csv_files(self) -> Self {
        self.with(|stream| {
            stream.pipeline.to = "csv:out".to_owned();
            stream.pipeline.sink = "every = \"100ms\"\ninterval = \"100ms\"\n".to_owned();
        })
    }

    /// Into files in a bucket of this service: `parquet`, or compressed `csv`.
    pub fn into_bucket(self, service: Options, format: &str) -> Self {
        let (Some(endpoint), (access, secret)) = (&service.endpoint, s3::keys()) else { panic!("an endpoint") };
        let tables =
            format!("[s3]\nendpoint = \"{endpoint}\"\naccess_key_file = {access:?}\nsecret_key_file = {secret:?}\n");
        self.with(|stream| {
            let compression = if format == "csv" { "gzip" } else { "zstd" };
            stream.pipeline.to = format!("{format}:{}", s3::location());
            stream.pipeline.sink = format!("every = \"100ms\"\ninterval = \"100ms\"\ncompression = {compression:?}\n");
            stream.pipeline.tables = tables;
            stream.service = service;
        })
    }

    /// Puts a load on it until the feeder is told to end.
    pub fn load(&self) -> Feeder {
        Feeder::start(&*self.log, &self.topic, self.input, LOAD)
    }

    /// Gives it so many messages at once.
    pub fn feed(&self, count: u64) {
        feeder::feed(&*self.log, &self.topic, self.input, count);
    }

    pub fn start(&self) -> Host {
        self.pipeline.write(&self.path);
        Host::start(&self.path, &self.pipeline.file())
    }

    /// A host on another machine: with a directory of its own.
    pub fn start_in(&self, folder: &str) -> Host {
        let path = self.path.join(folder);
        std::fs::create_dir_all(&path).expect("a folder");
        self.pipeline.write(&path);
        Host::start(&path, &self.pipeline.file())
    }

    /// How far it has come: committed offsets, or finished files. `None` while the broker does not say.
    pub fn progress(&self) -> Option<i64> {
        let Some(group) = &self.group else { return Some(self.place(&self.pipeline)?.files().len() as i64) };
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.topic, 0, self.partitions as i32 - 1);
        let known = group.committed_offsets(list, ANSWER).ok()?;
        let offsets = known.elements().into_iter().map(|element| match element.offset() {
            Offset::Offset(offset) => offset,
            _ => 0,
        });
        Some(offsets.sum())
    }

    /// Waits until it has come further than `from`, and says how far.
    pub fn beyond(&self, from: i64) -> i64 {
        wait_for("a commit", || self.progress().filter(|&progress| progress > from))
    }

    /// That it goes on soon after a fault is over, with its host alive.
    pub fn goes_on(&self, fault: &dyn Debug, host: &mut Host) {
        let (start, before) = (Instant::now(), self.beyond(-1));
        let after = self.beyond(before);
        let took = start.elapsed();
        println!("{fault:?}: goes on after {took:?}, {before} → {after}");
        assert!(took < GOES_ON, "{fault:?}: it went on after {took:?}");
        host.must_run();
    }

    /// kill -9 under load, each time at a random moment after the first commit, and sometimes before it too; then the
    /// last run and the judgement.
    pub fn kill_again_and_again(&self, chance: &mut Chance, rounds: u32, most: Duration) {
        let feeder = self.load();
        for round in 1..=rounds {
            if chance.one_in(4) {
                let host = self.start();
                chance.pass(Duration::from_millis(300));
                host.kill();
            }
            let before = self.beyond(-1);
            let host = self.start();
            self.beyond(before);
            let moment = chance.pass(most);
            host.kill();
            println!("round {round}: killed {moment:?} after its first commit, {before} → {}", self.beyond(before));
        }
        self.conclude(feeder.end());
    }

    /// Lets a last run go to the end, and judges the outcome, for which only the input counts.
    pub fn conclude(&self, sent: u64) {
        self.pipeline.write(&self.path);
        Host::run(&self.path, "end.toml");
        self.judge(sent);
    }

    /// Nothing is missing, nothing twice, nothing altered, and a run that nothing disturbs gives the same bytes.
    pub fn judge(&self, sent: u64) {
        let input = self.received(sent);
        let expected: Vec<Expected> = input.iter().map(|input| self.expected(input, true)).collect();
        let found = self.found(&self.pipeline);
        for (partition, (expected, found)) in expected.iter().zip(&found).enumerate() {
            assert_same(&format!("partition {partition}"), &expected.rows, &found.rows);
        }
        self.judge_letters(&expected);
        let rows: usize = expected.iter().map(|expected| expected.rows.len()).sum();
        let late: usize = expected.iter().map(|expected| expected.late.len()).sum();
        println!("{sent} messages in, {rows} rows out and {late} late ones, none missing, none twice, none altered");
        assert!(rows > 0, "a test of nothing");
        let calm = self.variant("calm", |calm| calm.client.clear());
        Host::run(&self.path, "end.toml");
        for (partition, (found, calm)) in found.iter().zip(&self.found(&calm)).enumerate() {
            assert!(
                found.bytes == calm.bytes,
                "partition {partition}: other bytes than those of a run that nothing disturbed"
            );
        }
    }

    /// What the reference says about a partition.
    pub fn expected(&self, input: &[Received], end: bool) -> Expected {
        match self.pipeline.work {
            Work::Flatten => reference::flat(input),
            Work::Windows => reference::windows(input, end),
            Work::Highest => reference::highest(input),
            Work::Stamp => unreachable!("`stamped.rs` judges it"),
        }
    }

    /// The input as it is in its topic: every message that was sent, as it should be. One may be there twice where the
    /// broker was killed: then that is the input.
    pub fn received(&self, sent: u64) -> Vec<Vec<Received>> {
        let input = outcome::topic(&*self.log, &self.topic);
        let mut numbers = BTreeSet::new();
        for received in input.iter().flatten() {
            let number = received.json()["number"].as_u64().expect("a number");
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (key, value) = (text(&received.key), text(&received.value));
            assert_eq!(Message { key, value, timestamp: received.timestamp }, self.input.message(number), "the feeder");
            numbers.insert(number);
        }
        let again = input.iter().map(Vec::len).sum::<usize>() - numbers.len();
        if again > 0 {
            println!("{again} messages are in the input twice: their producer lost its broker, not the host");
        }
        assert!(numbers.into_iter().eq(0..sent), "the feeder itself lost messages");
        input
    }

    /// What a pipeline put out, by partition.
    pub fn found(&self, pipeline: &Pipeline) -> Vec<Found> {
        let Some(place) = self.place(pipeline) else {
            let messages = outcome::topic(&*self.log, &format!("{}.out", pipeline.name));
            return messages.iter().map(|messages| outcome::found(messages)).collect();
        };
        let left_over = outcome::left_over(&place);
        assert!(left_over.is_empty(), "unfinished files: {left_over:?}");
        let columns = if pipeline.work == Work::Flatten { &FLAT[..] } else { &COUNTED[..] };
        outcome::files(&place, columns, self.partitions as usize)
    }

    /// Where the files of a pipeline are; `None` where it writes to a topic.
    fn place(&self, pipeline: &Pipeline) -> Option<Reader> {
        let location = match pipeline.to.strip_prefix("csv:").or_else(|| pipeline.to.strip_prefix("parquet:"))? {
            uri if uri.starts_with("s3://") => s3::location_of(uri),
            folder => Location::Directory(self.path.join(folder)),
        };
        Some(Reader::with(location, self.service.clone()))
    }

    /// There is one letter for each late message; where letters are apart from the output, one at least.
    fn judge_letters(&self, expected: &[Expected]) {
        let of = |(partition, expected): (i64, &Expected)| {
            expected.late.iter().map(move |&offset| (partition, offset)).collect::<Vec<_>>()
        };
        let late: Vec<(i64, i64)> = (0..).zip(expected).flat_map(of).collect();
        let topic = format!("{}.dead", self.pipeline.name);
        if late.is_empty() {
            return;
        }
        let letters = outcome::topic(&*self.log, &topic);
        let origin = |letter: &Received| {
            let letter = letter.json();
            let number = |name: &str| letter[name].as_i64().expect("a number");
            (number("partition"), number("offset"))
        };
        let mut letters: Vec<(i64, i64)> = letters.iter().flatten().map(origin).collect();
        letters.sort();
        if self.pipeline.to.starts_with("csv:") {
            letters.dedup();
        }
        assert!(letters == late, "{} dead letters for {} late messages", letters.len(), late.len());
    }

    /// Another pipeline on the same input, with an output of its own, ready for its last run.
    pub fn variant(&self, name: &str, change: impl FnOnce(&mut Pipeline)) -> Pipeline {
        let mut variant = self.pipeline.clone();
        change(&mut variant);
        variant.name += &format!(".{name}");
        variant.letters = variant.letters.replace(".dead", &format!(".{name}.dead"));
        variant.to = match &*variant.to {
            to if to.contains(":s3:") => format!("{to}-{name}"),
            to if to.starts_with("csv:") => format!("csv:{name}"),
            to => to.replace(".out", &format!(".{name}.out")),
        };
        self.log.create_topic(&format!("{}.out", variant.name), self.partitions).expect("a topic");
        variant.write(&self.path);
        variant
    }
}

/// How often the hosts that ran in a directory went on with a partition, as they told.
pub fn taken(directory: &Path) -> usize {
    let said = std::fs::read_to_string(directory.join("host.log")).unwrap_or_default();
    said.lines().filter(|line| line.contains(" goes on at offset ")).count()
}

/// When something went wrong, what the hosts said is shown, and all stays as it is.
impl Drop for Stream {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let kept = self.directory.take().map(tempfile::TempDir::keep).unwrap_or_default();
        for log in logs(&kept) {
            eprintln!("the end of {}:\n{}\n", log.display(), tail(&log));
        }
    }
}

/// What the hosts of a directory, and of the folders in it, said.
pub fn logs(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let folders = entries.map(|entry| entry.expect("an entry").path()).chain([directory.to_owned()]);
    let mut logs: Vec<PathBuf> = folders.map(|folder| folder.join("host.log")).filter(|log| log.is_file()).collect();
    logs.sort();
    logs
}
