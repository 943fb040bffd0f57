//! What a worker and its tasks do, without plugins: message by message, output and state follow from its number.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use host::checkpoint::{Checkpoint, Identity, Part, Tally, push};
use host::message::Batch;
use host::plugin::Entries;
use host::sink::{Kept, Positions, Sink, SinkError, Step};

use super::outputs::Output;

/// What message `number` of a partition changes: it sets a key, or deletes it. Partition 0 has many keys, which come
/// once or twice, the others have few.
fn change(partition: i32, number: usize) -> (Vec<u8>, Option<Vec<u8>>) {
    let keys = if partition == 0 { 12_007 } else { 7 };
    let value = (number % 5 != 3).then(|| format!("{number}\0\u{e9}").into_bytes());
    (format!("key {}", number % keys).into_bytes(), value)
}

/// The state after the first `messages` messages, by keys as they are kept.
pub fn state(partition: i32, messages: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut state = BTreeMap::new();
    for (key, value) in (0..messages).map(|number| change(partition, number)) {
        let key = [&[1], &*key].concat();
        match value {
            Some(value) => state.insert(key, value),
            None => state.remove(&key),
        };
    }
    state
}

/// Sets and deletes what these entries say.
pub fn apply(state: &mut BTreeMap<Vec<u8>, Vec<u8>>, entries: &Entries) {
    for (key, value) in entries.iter() {
        match value {
            Some(value) => state.insert(key.to_vec(), value.to_vec()),
            None => state.remove(key),
        };
    }
}

/// A partition whose messages change its state, and put nothing out.
pub const SILENT: i32 = 2;

/// Texts that are no two alike, with what a format may have to quote.
pub fn texts(partition: i32, numbers: Range<usize>) -> Vec<String> {
    if partition == SILENT {
        return Vec::new();
    }
    numbers.map(|number| format!("{partition}: {number}, \"\u{e9}\"\n")).collect()
}

pub fn batch(texts: &[String]) -> Batch {
    let mut batch = Batch::new();
    for text in texts {
        batch.push(None, Some(serde_json::json!({ "text": text }).to_string().as_bytes()), 1);
    }
    batch
}

/// The partitions of one worker.
pub struct Writer<'a> {
    output: &'a dyn Output,
    pub sink: Box<dyn Sink>,
    tasks: BTreeMap<i32, Task>,
}

/// What a task knows of its partition.
#[derive(Default)]
struct Task {
    /// Messages that were written.
    next: usize,
    changes: Entries,
    tally: Tally,
    open: bool,
    last: Option<Checkpoint>,
}

impl<'a> Writer<'a> {
    /// Takes over partitions.
    pub fn open(output: &'a dyn Output, partitions: Range<i32>) -> Self {
        Self::of("one", output, partitions)
    }

    /// The same, of a worker with this name.
    pub fn of(member: &str, output: &'a dyn Output, partitions: Range<i32>) -> Self {
        let mut writer = Self { output, sink: output.open(member), tasks: BTreeMap::new() };
        partitions.for_each(|partition| writer.take(partition));
        writer
    }

    /// Takes over a partition: state and output must be those of its checkpoint, no more and no less.
    pub fn take(&mut self, partition: i32) {
        let mut task = Task::default();
        let mut found = BTreeMap::new();
        if let Some(last) = self.sink.open(partition).unwrap() {
            assert_eq!(last.partition, partition);
            let restored = self.sink.state(&last, &mut |entries| {
                apply(&mut found, entries);
                task.tally.apply_all(entries);
                ControlFlow::Continue(())
            });
            restored.unwrap();
            assert_eq!(task.tally.sum(), last.state, "the sum of the state");
            task.next = usize::try_from(last.next).unwrap();
            task.last = Some(last);
        }
        assert!(found == state(partition, task.next), "not the state of the first {} messages", task.next);
        self.output.shows(partition, &texts(partition, 0..task.next));
        self.tasks.insert(partition, task);
    }

    /// How many messages of a partition were written.
    pub fn next(&self, partition: i32) -> usize {
        self.tasks[&partition].next
    }

    /// Writes the next `count` messages of a partition, and changes its state.
    pub fn write(&mut self, partition: i32, count: usize) {
        let task = self.tasks.get_mut(&partition).unwrap();
        let numbers = task.next..task.next + count;
        for number in numbers.clone() {
            let (key, value) = change(partition, number);
            push(&mut task.changes, 1, &key, value.as_deref());
        }
        (task.next, task.open) = (numbers.end, true);
        let batch = batch(&texts(partition, numbers.clone()));
        if !batch.is_empty() {
            self.sink.write(partition, &batch, numbers.start as i64).unwrap();
        }
    }

    /// What changed in a partition since the last commit.
    pub fn changes(&self, partition: i32) -> Option<Entries> {
        self.tasks[&partition].open.then(|| self.tasks[&partition].changes.clone())
    }

    /// The state of the last commit of a partition.
    pub fn kept(&self, partition: i32) -> Kept {
        self.sink.kept(self.tasks[&partition].last.as_ref().unwrap()).unwrap()
    }

    /// Undoes what is not committed, and sees that the state of each partition is that of its last commit.
    pub fn abort(&mut self) {
        self.sink.abort().unwrap();
        for (&partition, task) in &mut self.tasks {
            task.next = task.last.as_ref().map_or(0, |last| usize::try_from(last.next).unwrap());
            (task.changes, task.open) = (Entries::default(), false);
            let mut found = BTreeMap::new();
            if let Some(last) = &task.last {
                let read = self.sink.state(last, &mut |entries| {
                    apply(&mut found, entries);
                    ControlFlow::Continue(())
                });
                read.unwrap();
            }
            assert!(found == state(partition, task.next), "not the state of the first {} messages", task.next);
        }
    }

    /// Gives up a partition.
    pub fn close(&mut self, partition: i32) {
        self.tasks.remove(&partition);
        self.sink.close(partition).unwrap();
    }

    pub fn commit(&mut self) -> Result<Positions, SinkError> {
        self.commit_with(&Batch::new())
    }

    /// Commits, as a worker does, what was written of each partition.
    pub fn commit_with(&mut self, letters: &Batch) -> Result<Positions, SinkError> {
        let identity = Identity {
            pipeline: "pipeline".to_owned(),
            source: "source".to_owned(),
            place: self.sink.place(),
            plugins: Vec::new(),
            exactly_once: self.sink.exactly_once(),
        };
        let mut parts = Vec::new();
        for (&partition, task) in self.tasks.iter_mut().filter(|(_, task)| task.open) {
            let changes = std::mem::take(&mut task.changes);
            task.tally.apply_all(&changes);
            task.open = false;
            let checkpoint = identity.checkpoint(partition, task.next as i64, Some(1), task.tally.sum());
            task.last = Some(checkpoint.clone());
            parts.push(Part { checkpoint, changes });
        }
        self.sink.commit(Step { parts: &parts, letters, source: self.output.source() })
    }
}
