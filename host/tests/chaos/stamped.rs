//! A stream whose messages say which version of their plugin made them, and how it is judged: each message once,
//! counted through all versions, and made by the version that its checkpoint names.

use std::collections::BTreeMap;
use std::time::Duration;

use host::checkpoint::Checkpoint;
use host::swap::Outcome;

use super::chance::Chance;
use super::outcome;
use super::pipeline::Work;
use super::process::Host;
use super::stream::Stream;
use crate::operator::{self, Swapped};
use crate::program::plugin;

/// The two versions that take turns.
pub const VERSIONS: [&str; 2] = ["stamp-1", "stamp-2"];

/// Begins the key of a checkpoint among those of the changelog.
const NO_STATE: u8 = 0xff;

pub struct Stamped {
    pub stream: Stream,
    /// Of each partition, what took effect.
    checkpoints: Vec<Vec<Checkpoint>>,
    /// Of each partition of the changelog, how far it is read.
    read: Vec<i64>,
}

impl Stamped {
    /// Commits every 20 ms, so that a swap waits for nothing.
    pub fn new(stream: Stream) -> Self {
        let stream = stream.with(|stream| stream.pipeline.sink = "interval = \"20ms\"\n".to_owned());
        let partitions = stream.partitions as usize;
        Self { stream, checkpoints: vec![Vec::new(); partitions], read: vec![0; partitions] }
    }

    pub fn on_kafka(name: &str, chance: &Chance, partitions: u32) -> Self {
        Self::new(Stream::on_kafka(name, chance, Work::Stamp, partitions))
    }

    pub fn name(&self) -> &str {
        &self.stream.pipeline.name
    }

    pub fn swap(&self, build: &str, more: &[&str]) -> Swapped {
        operator::swap(&self.stream.path, self.name(), &plugin(build), more)
    }

    /// Reads on in the changelog, before it is compacted.
    pub fn look(&mut self) {
        let changelog = format!("{}.changelog", self.name());
        for (partition, (read, checkpoints)) in (0..).zip(self.read.iter_mut().zip(&mut self.checkpoints)) {
            loop {
                let fetch = self.stream.log.read(&changelog, partition, *read, 100_000).expect("the changelog");
                let entries = fetch.batch.keys.iter().zip(&fetch.batch.values);
                for (key, value) in entries.filter(|(key, _)| key.is_some_and(|key| key[0] == NO_STATE)) {
                    checkpoints.push(serde_json::from_slice(value.unwrap_or_default()).unwrap_or_else(|error| {
                        panic!("{error} in a checkpoint: {}", String::from_utf8_lossy(key.unwrap_or_default()))
                    }));
                }
                if fetch.next <= *read {
                    break;
                }
                *read = fetch.next;
            }
        }
    }

    /// The versions that the checkpoints of a partition name where everything before `next` has had its effect; more
    /// than one where the version changed and no message came.
    pub fn kept_by(&self, partition: i32, next: i64) -> Vec<String> {
        let checkpoints = self.checkpoints[partition as usize].iter().filter(|checkpoint| checkpoint.next == next);
        checkpoints.map(short).collect()
    }

    /// Lets a last run go to the end, with the versions that are in force, and judges the outcome.
    pub fn conclude(&mut self, sent: u64) {
        self.stream.pipeline.write(&self.stream.path);
        Host::run(&self.stream.path, "end.toml");
        self.look();
        let input = self.stream.received(sent);
        let output = outcome::topic(&*self.stream.log, &format!("{}.out", self.name()));
        let mut changes = 0;
        for (partition, (input, output)) in input.iter().zip(&output).enumerate() {
            assert_eq!(input.len(), output.len(), "messages in and out of partition {partition}");
            let checkpoints = &self.checkpoints[partition];
            assert!(checkpoints.is_sorted_by_key(|checkpoint| checkpoint.next), "partition {partition}");
            changes += checkpoints.windows(2).filter(|pair| pair[0].plugins[0].hash != pair[1].plugins[0].hash).count();
            let mut counts: BTreeMap<&[u8], u64> = BTreeMap::new();
            for (received, sent) in output.iter().zip(input) {
                let count = counts.entry(&sent.key).or_default();
                *count += 1;
                let (said, of) = (received.json(), sent.json());
                // The first checkpoint behind a message is the one that it took effect with.
                let behind = checkpoints.partition_point(|checkpoint| checkpoint.next <= sent.offset);
                let by = &checkpoints.get(behind).expect("a checkpoint behind each message").plugins[0].version;
                let expected = (&of["number"], *count, by.as_str());
                let text = said["version"].as_str().unwrap_or_default();
                let found = (&said["id"], said["count"].as_u64().unwrap_or_default(), text);
                assert_eq!(found, expected, "offset {} of partition {partition}: {said} from {of}", sent.offset);
                assert_eq!(received.key, sent.key);
            }
        }
        let letters = self.stream.log.topics().expect("topics");
        let letters = letters.iter().filter(|topic| topic.name == format!("{}.dead", self.name()));
        let letters: i64 = letters.flat_map(|topic| &topic.partitions).map(|(first, end)| end - first).sum();
        assert_eq!(letters, 0, "no message is rejected or fails");
        println!("{sent} messages, each once and counted, each by the version of its checkpoint; {changes} changes");
    }
}

/// Version and hash as `host status` shows them.
fn short(checkpoint: &Checkpoint) -> String {
    let mark = &checkpoint.plugins[0];
    format!("{} {} ({})", mark.name, mark.version, &mark.hash[..8])
}

/// Tells the median, the slowest in a hundred, and the slowest of the pauses of swaps.
pub fn tell_pauses(pauses: &mut [Duration]) {
    pauses.sort();
    let at = |percent: usize| pauses[(pauses.len() * percent / 100).min(pauses.len() - 1)].as_secs_f64() * 1e3;
    println!("{} pauses: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", pauses.len(), at(50), at(99), at(100));
}

/// The pause of a swap, where the new version was adopted.
pub fn pause(swapped: &Swapped) -> Option<Duration> {
    match swapped.outcome {
        Some(Outcome::Adopted { pause, .. }) => Some(Duration::from_micros(pause)),
        _ => None,
    }
}
