//! Output, state and checkpoints into topics of one Kafka cluster: one transaction a commit, or none at least once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::checkpoint::{Checkpoint, Part, Position};
use crate::log::kafka::{CHECKPOINT, Changelog, Kafka, Producer};
use crate::log::{Log, LogError, kafka};
use crate::message::Batch;
use crate::sink::{Kept, Positions, Refused, Sink, SinkError, Step};
use crate::source::{Group, Source};

/// A commit is due at once when so many bytes of output wait for it.
const FULL: usize = 16 << 20;

/// What one worker writes, and where.
#[derive(Debug, Clone)]
pub struct Options {
    pub group: String,
    /// The topic of the output; without one only state and checkpoints are kept.
    pub topic: Option<String>,
    /// The topic of dead letters, where they are in the same cluster.
    pub letters: Option<String>,
    /// Partitions of what is read, and so of the changelog.
    pub inputs: u32,
    /// Who this worker is among the group's: its transactions end those of its former self. Without it there are no
    /// transactions, and each message has its effect at least once.
    pub member: Option<String>,
    pub interval: Duration,
}

/// Writes to topics. Checkpoints and state are in the compacted topic `GROUP.changelog`, in the partition of the input.
pub struct KafkaSink {
    kafka: Arc<Kafka>,
    options: Options,
    changelog: Changelog,
    producer: Producer,
    /// Bytes of output since the last commit.
    written: usize,
}

impl KafkaSink {
    /// Whatever an earlier sink of the same member left under way is undone, and that one can commit no more.
    pub fn new(kafka: Arc<Kafka>, options: Options) -> Result<Self, LogError> {
        let changelog = kafka.changelog(&format!("{}.changelog", options.group), options.inputs)?;
        let mut topics: Vec<&str> = options.topic.iter().map(String::as_str).chain([changelog.topic()]).collect();
        // Those that are not there yet are created with the first letter.
        if let Some(letters) = options.letters.as_deref()
            && kafka.has(letters)?
        {
            topics.push(letters);
        }
        let name = options.member.as_ref().map(|member| format!("apogee.{}.{member}", options.group));
        let producer = kafka.producer(&topics, name.as_deref())?;
        Ok(Self { kafka, options, changelog, producer, written: 0 })
    }

    fn put_letters(&mut self, letters: &Batch) -> Result<(), SinkError> {
        if letters.is_empty() {
            return Ok(());
        }
        let Some(topic) = &self.options.letters else { return Err(self.no_topic("dead letters").into()) };
        if !self.kafka.has(topic)? {
            self.kafka.create_topic(topic, 1)?;
        }
        Ok(self.producer.append(topic, letters)?)
    }

    fn put_part(&mut self, part: &Part) -> Result<(), SinkError> {
        let Part { checkpoint, changes } = part;
        let (topic, partition) = (self.changelog.topic(), checkpoint.partition);
        for (key, value) in changes.iter() {
            self.producer.put(topic, partition, key, value)?;
        }
        let checkpoint = serde_json::to_vec(checkpoint)
            .map_err(|e| SinkError::Checkpoint { place: self.place(), what: format!("cannot be written: {e}") })?;
        Ok(self.producer.put(topic, partition, CHECKPOINT, Some(&checkpoint))?)
    }

    fn no_topic(&self, what: &str) -> LogError {
        let error = format!("there is no topic for {what}; this is a bug of the host");
        LogError::Broken { log: self.kafka.name().to_owned(), error }
    }
}

impl Sink for KafkaSink {
    fn place(&self) -> String {
        self.changelog.place()
    }

    fn exactly_once(&self) -> bool {
        self.options.member.is_some()
    }

    fn open(&mut self, partition: i32) -> Result<Option<Checkpoint>, SinkError> {
        let Some((offset, last)) = self.changelog.last(partition)? else { return Ok(None) };
        let damaged = |e| SinkError::Checkpoint {
            place: self.place(),
            what: format!(
                "what is at partition {partition}, offset {offset} is no checkpoint of a pipeline ({e}); let nobody else \
                 write there, and start anew under another `group`"
            ),
        };
        serde_json::from_slice(&last).map(Some).map_err(damaged)
    }

    fn kept(&self, last: &Checkpoint) -> Result<Kept, SinkError> {
        if last.exactly_once && last.state.entries == 0 {
            // Not to read through all the checkpoints of plugins without state.
            return Ok(Box::new(|_| Ok(())));
        }
        let state = self.changelog.state(last.partition)?;
        Ok(Box::new(move |each| Ok(state.read(each)?)))
    }

    fn write(&mut self, _partition: i32, batch: &Batch, _first: i64) -> Result<Vec<Refused>, SinkError> {
        let Some(topic) = &self.options.topic else { return Err(self.no_topic("output").into()) };
        self.written += batch.bytes();
        self.producer.append(topic, batch)?;
        Ok(Vec::new())
    }

    fn due(&self, since: Instant) -> Instant {
        if self.full() { since } else { since + self.options.interval }
    }

    fn full(&self) -> bool {
        self.written > FULL
    }

    fn abort(&mut self) -> Result<(), SinkError> {
        self.written = 0;
        Ok(self.producer.abort()?)
    }

    fn commit(&mut self, step: Step<'_>) -> Result<Positions, SinkError> {
        self.put_letters(step.letters)?;
        for part in step.parts {
            self.put_part(part)?;
        }
        let place = self.place();
        let positions = positions(step.source, self.kafka.name(), step.parts, &place);
        let committed = self.producer.commit(positions)?;
        self.written = 0;
        Ok(if committed { Positions::Committed } else { Positions::Open })
    }

    fn close(&mut self, _partition: i32) -> Result<(), SinkError> {
        Ok(())
    }
}

/// How far the source's group has come, where its positions are in the cluster that is written to.
fn positions(source: &dyn Source, cluster: &str, parts: &[Part], place: &str) -> Option<kafka::Positions> {
    match source.group()? {
        Group::Kafka { cluster: own, topic, metadata } if own == cluster => {
            let position = |part: &Part| {
                let next = part.checkpoint.next;
                (part.checkpoint.partition, Position { next, place: place.to_owned() })
            };
            Some(kafka::Positions { topic, metadata, partitions: parts.iter().map(position).collect() })
        }
        _ => None,
    }
}
