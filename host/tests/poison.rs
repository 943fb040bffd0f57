//! Messages that make a plugin fail: each costs exactly itself, and too many of them the pipeline.

mod isolate;

use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use host::dead_letter::Letter;
use host::log::Log;
use host::log::embedded::Embedded;
use host::log::kafka::Kafka;
use host::message::{Batch, Header};
use serde_json::Value;

use crate::program::{csv_rows, plugin, run};

/// How many keys the messages have.
const KEYS: u64 = 10;

/// A topic of messages, some of them poison, and what a pipeline makes of it.
struct Stream {
    directory: tempfile::TempDir,
    log: Box<dyn Log>,
    /// `kafka:///`, or a broker.
    uri: String,
    name: String,
    messages: u64,
    poison: Vec<u64>,
}

impl Stream {
    fn embedded(messages: u64, poison: &[u64]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = Embedded::open(&directory.path().join("apogee.db")).unwrap();
        Self::new(directory, Box::new(log), "kafka:///".to_owned(), "poisoned", messages, poison)
    }

    fn kafka(name: &str, messages: u64, poison: &[u64]) -> Self {
        let brokers = crate::kafka::brokers();
        let log = Kafka::connect(&brokers, &Default::default()).unwrap();
        let name = format!("poisoned-{name}-{}", std::process::id());
        Self::new(tempfile::tempdir().unwrap(), Box::new(log), format!("kafka://{brokers}/"), &name, messages, poison)
    }

    fn new(
        directory: tempfile::TempDir,
        log: Box<dyn Log>,
        uri: String,
        name: &str,
        messages: u64,
        poison: &[u64],
    ) -> Self {
        let (name, poison) = (name.to_owned(), poison.to_vec());
        log.create_topic(&format!("{name}.in"), 1).unwrap();
        let stream = Self { directory, log, uri, name, messages, poison };
        let mut writer = stream.log.writer(&format!("{}.in", stream.name)).unwrap();
        let mut batch = Batch::new();
        for number in 0..messages {
            let (key, value) = stream.message(number);
            let message = batch.len() as u32;
            batch.push(Some(key.as_bytes()), Some(value.as_bytes()), 1_000 + number as i64);
            batch.headers.push(Header { message, name: "number".into(), value: number.to_string().into_bytes() });
            if batch.len() == 10_000 || number + 1 == messages {
                writer.append(&std::mem::take(&mut batch)).unwrap();
            }
        }
        writer.flush().unwrap();
        stream
    }

    fn message(&self, number: u64) -> (String, String) {
        let word = if self.poison.contains(&number) { "poison" } else { "food" };
        (format!("key {}", number % KEYS), format!("{{\"number\":{number},\"word\":\"{word}\"}}"))
    }

    /// Runs the pipeline to the end of its topic. `top` and `plugins` are lines of its file.
    fn run(&self, top: &str, plugins: &str, sink: &str) -> Output {
        let Self { name, uri, .. } = self;
        let pipeline = format!(
            "name = {name:?}\n{top}\n[source]\nuri = \"{uri}{name}.in\"\nuntil = \"end\"\n{plugins}\n[sink]\nuri = {sink:?}\n"
        );
        let file = self.directory.path().join("pipeline.toml");
        std::fs::write(file, pipeline).unwrap();
        run(self.directory.path(), &["run", "pipeline.toml", "--json"])
    }

    fn sink(&self) -> String {
        format!("{}{}.out", self.uri, self.name)
    }

    /// The values of one of its topics; none where there is none.
    fn values(&self, end: &str) -> Vec<Vec<u8>> {
        let topic = format!("{}.{end}", self.name);
        if !self.log.topics().unwrap().iter().any(|known| known.name == topic) {
            return Vec::new();
        }
        let last = self.log.describe(&topic).unwrap().partitions[0].1;
        let (mut values, mut offset) = (Vec::new(), 0);
        while offset < last {
            let fetch = self.log.read(&topic, 0, offset, 100_000).unwrap();
            values.extend(fetch.batch.values.iter().map(|value| value.unwrap().to_vec()));
            offset = fetch.next;
        }
        values
    }

    fn letters(&self) -> Vec<Letter<'static>> {
        self.values("dead").iter().map(|letter| Letter::parse(letter).unwrap()).collect()
    }

    /// That everything before message `end` is out once, with the count of its key, but for the poison.
    fn assert_counted(&self, end: u64) {
        let mut counts = [0; KEYS as usize];
        let mut expected = (0..end).filter(|number| !self.poison.contains(number)).map(|number| {
            let count = &mut counts[(number % KEYS) as usize];
            *count += 1;
            format!("{{\"count\":{count},\"message\":{}}}", self.message(number).1)
        });
        let found = self.values("out");
        let count = found.len();
        for (place, value) in found.into_iter().enumerate() {
            assert_eq!(Some(String::from_utf8(value).unwrap()), expected.next(), "message {place} of the output");
        }
        assert_eq!(expected.next(), None, "{count} messages came out");
    }

    /// That a letter is about message `number`, as it came in.
    fn assert_about(&self, letter: &Letter<'_>, number: u64) {
        let (key, value) = self.message(number);
        assert_eq!(
            (letter.partition, letter.offset, letter.timestamp),
            (0, number as i64, Some(1_000 + number as i64))
        );
        assert_eq!((&*letter.pipeline, &*letter.source), (&*self.name, &*format!("{}{}.in", self.uri, self.name)));
        assert_eq!(letter.key.as_ref().unwrap().bytes(), key.as_bytes());
        assert_eq!(letter.value.as_ref().unwrap().bytes(), value.as_bytes());
        let headers: Vec<_> = letter.headers.iter().map(|(name, value)| (name.bytes(), value.bytes())).collect();
        assert_eq!(headers, [(&b"number"[..], number.to_string().as_bytes())]);
    }
}

/// Lines of a pipeline file for the hostile plugin.
fn hostile(settings: &str, limits: &str) -> String {
    let file = plugin("hostile");
    format!("[[plugin]]\nfile = {file:?}\n[plugin.settings]\n{settings}\n[plugin.limits]\n{limits}\n")
}

/// One that counts what it gets, and fails on poison.
fn counting(how: &str, limits: &str) -> String {
    hostile(&format!("how = {how:?}\nmarked = true\nkeep = true"), limits)
}

/// The counters of a run that ended as it should.
fn counters(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let summary = stderr.lines().find(|line| line.starts_with("{\"summary\"")).expect("a summary");
    serde_json::from_str::<Value>(summary).unwrap()["summary"]["counters"].clone()
}

/// The error of a run that stopped.
fn error(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    stderr
}

/// One poison message among 100,000: all others are out, with exact counts, and one letter names it.
fn costs_only_itself(stream: &Stream, how: &str, limits: &str, cause: &str, reason: &str) {
    let poison = stream.poison[0];
    let counters = counters(&stream.run("", &counting(how, limits), &stream.sink()));
    stream.assert_counted(stream.messages);
    let letters = stream.letters();
    let [letter] = &letters[..] else { panic!("{} letters", letters.len()) };
    stream.assert_about(letter, poison);
    assert_eq!((&*letter.by, letter.version.as_deref(), &*letter.cause), ("hostile", Some("0.1.0"), cause));
    assert_eq!(letter.hash.as_ref().unwrap().len(), 64);
    assert_eq!(letter.settings.as_ref().unwrap()["how"], how);
    assert!(letter.reason.contains(reason), "{}", letter.reason);
    assert!(letter.backtrace.iter().any(|line| line.contains("process")), "{:#?}", letter.backtrace);
    assert!(letter.before.is_empty());
    assert_eq!(counters["messages in"], stream.messages);
    assert_eq!(counters["messages out"], stream.messages - 1);
    assert_eq!(counters[format!("rejected by hostile: {cause}")], 1);
    assert_eq!(counters["batches taken apart"], 1);
}

/// Of each way to fail: how it is set up, and what its letter says.
const WAYS: [(&str, &str, &str, &str); 3] = [
    ("trap", "", "trap", "it gave up (a panic, an abort or an uncaught exception); it said: "),
    ("loop-in-process", "call = \"200ms\"", "limit", "was stopped in process: it ran longer than 200ms"),
    ("allocate", "memory = \"32MiB\"", "limit", "bytes of memory and may have 33554432"),
];

#[test]
fn one_message_in_100_000_costs_only_itself() {
    for (how, limits, cause, reason) in WAYS {
        costs_only_itself(&Stream::embedded(100_000, &[77_777]), how, limits, cause, reason);
    }
}

#[test]
fn one_message_in_100_000_of_kafka_costs_only_itself() {
    for (how, limits, cause, reason) in WAYS {
        costs_only_itself(&Stream::kafka(how, 100_000, &[77_777]), how, limits, cause, reason);
    }
}

#[test]
fn of_files_it_costs_only_itself_and_its_letter_is_a_line() {
    let stream = Stream::embedded(100_000, &[0, 50_000]);
    let flatten = format!(
        "[[plugin]]\nfile = {:?}\nsettings.fields = [{{ from = \"count\" }}, {{ from = \"message_number\" }}]\n",
        plugin("flatten")
    );
    let plugins = counting("trap", "") + &flatten;
    let counters = counters(&stream.run("dead_letters = \"jsonl:dead/letters.jsonl\"", &plugins, "csv:out"));
    assert_eq!((&counters["messages out"], &counters["rejected by hostile: trap"]), (&99_998.into(), &2.into()));
    let rows = csv_rows(&stream.directory.path().join("out"), &["count", "message_number"]);
    let numbers = rows.iter().map(|row| row[1].parse::<u64>().unwrap());
    assert!(numbers.eq((0..100_000).filter(|number| !stream.poison.contains(number))));
    assert_eq!(rows.last().unwrap()[0], "10000");
    let lines = std::fs::read_to_string(stream.directory.path().join("dead/letters.jsonl")).unwrap();
    let letters: Vec<_> = lines.lines().map(|line| Letter::parse(line.as_bytes()).unwrap()).collect();
    assert_eq!(letters.len(), 2);
    letters.iter().zip(&stream.poison).for_each(|(letter, &number)| stream.assert_about(letter, number));
    assert!(stream.letters().is_empty(), "a letter in the topic, too");
}

/// One in 10,000, in a chain, of which the second plugin fails.
#[test]
fn several_messages_cost_only_themselves() {
    let poison: Vec<u64> = (0..10).map(|place| place * 10_000 + place * place * 91).collect();
    let stream = Stream::embedded(100_000, &poison);
    let plugins = format!("[[plugin]]\nfile = {:?}\n", plugin("flatten")) + &counting("trap", "");
    let counters = counters(&stream.run("", &plugins, &stream.sink()));
    stream.assert_counted(stream.messages);
    assert_eq!(counters["rejected by hostile: trap"], 10);
    let letters = stream.letters();
    assert_eq!(letters.len(), 10);
    for (letter, number) in letters.iter().zip(poison) {
        stream.assert_about(letter, number);
        assert_eq!(letter.before.iter().map(|ran| &*ran.name).collect::<Vec<_>>(), ["flatten"]);
    }
}

#[test]
fn a_pipeline_stops_before_the_message_or_skips_it_where_it_is_asked_to() {
    let stream = Stream::embedded(20_000, &[12_345]);
    for _ in 0..2 {
        let error = error(&stream.run("failures.policy = \"stop\"", &counting("trap", ""), &stream.sink()));
        assert!(error.contains("offset 12345 of partition 0: plugin hostile 0.1.0 failed in process"), "{error}");
        assert!(error.contains("go on without this message with \\\"dead-letter\\\" or \\\"skip\\\""), "{error}");
        stream.assert_counted(12_345);
    }
    let counters = counters(&stream.run("failures.policy = \"skip\"", &counting("trap", ""), &stream.sink()));
    assert_eq!((&counters["messages in"], &counters["messages out"]), (&7_655.into(), &7_654.into()));
    assert_eq!(counters["rejected by hostile: trap, skipped"], 1);
    stream.assert_counted(stream.messages);
    assert!(stream.letters().is_empty());
}

#[test]
fn a_plugin_that_fails_on_everything_stops_its_pipeline_at_once() {
    let stream = Stream::embedded(20_000, &[]);
    let start = Instant::now();
    let stopped = error(&stream.run("", &hostile("how = \"trap\"", ""), &stream.sink()));
    assert!(start.elapsed() < Duration::from_secs(20), "it took {:?}", start.elapsed());
    assert!(
        stopped.contains("11 of the last 11 messages made a plugin fail, where 10 of 1000 are the most"),
        "{stopped}"
    );
    assert_eq!(stopped.matches("looking for the message").count(), 1, "{stopped}");
    assert!(stream.values("out").is_empty() && stream.letters().is_empty());
    // Nothing is lost.
    counters(&stream.run("", &hostile("how = \"echo\"\nkeep = true", ""), &stream.sink()));
    stream.assert_counted(stream.messages);
}

#[test]
fn too_many_messages_stop_the_pipeline_before_them() {
    let poison: Vec<u64> = (0..12).map(|place| 10_000 + 50 * place).collect();
    let stream = Stream::embedded(20_000, &poison);
    let stopped = error(&stream.run("", &counting("trap", ""), &stream.sink()));
    assert!(stopped.contains("11 of the last 1000 messages made a plugin fail"), "{stopped}");
    assert!(stopped.contains("At offset 10500 of partition 0: "), "{stopped}");
    let counters = counters(&stream.run("failures.most = 12", &counting("trap", ""), &stream.sink()));
    assert_eq!(counters["rejected by hostile: trap"], 12);
    stream.assert_counted(stream.messages);
    assert_eq!(stream.letters().len(), 12);
}

#[test]
fn what_a_crash_left_of_a_letter_is_mended() {
    let stream = Stream::embedded(100, &[7]);
    let path: PathBuf = stream.directory.path().join("letters.jsonl");
    std::fs::write(&path, "{\"pipeline\":\"poisoned\",\"sou").unwrap();
    counters(&stream.run("dead_letters = \"jsonl:letters.jsonl\"", &counting("trap", ""), &stream.sink()));
    let lines = std::fs::read_to_string(&path).unwrap();
    let [line] = &lines.lines().collect::<Vec<_>>()[..] else { panic!("{lines}") };
    stream.assert_about(&Letter::parse(line.as_bytes()).unwrap(), 7);
}
