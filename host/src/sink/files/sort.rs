//! Which file each message goes into, where there are several: by the template of its folder, and by its window of event
//! time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Template;
use super::template::Filler;
use crate::message::Batch;
use crate::sink::Refused;

/// What the messages of one file have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Key {
    /// The number of the window since the Unix epoch.
    pub window: i64,
    /// Empty for the place itself.
    pub folder: String,
}

/// Sorts messages into files.
pub struct Sorter {
    filler: Option<Filler>,
    /// The length of a window, in milliseconds.
    window: Option<i64>,
}

/// Messages by where they go.
#[derive(Default)]
pub struct Sorted {
    /// With the place of each in the batch from which they are.
    pub by_key: BTreeMap<Key, (Batch, Vec<u32>)>,
    pub refused: Vec<Refused>,
}

impl Sorter {
    /// `None` where all go into one file.
    pub fn new(template: Option<Template>, window: Option<Duration>) -> Option<Self> {
        let window = window.map(|window| i64::try_from(window.as_millis()).unwrap_or(i64::MAX).max(1));
        (template.is_some() || window.is_some()).then(|| Self { filler: template.map(Filler::new), window })
    }

    pub fn sort(&mut self, batch: &Batch) -> Sorted {
        let mut sorted = Sorted::default();
        let messages = batch.keys.iter().zip(&batch.values).zip(&batch.timestamps);
        for (message, ((own_key, value), &time)) in (0..).zip(messages) {
            let folder = match &mut self.filler {
                None => Ok(String::new()),
                Some(filler) => filler.fill(value.unwrap_or(b"null"), time),
            };
            match folder {
                Err(reason) => sorted.refused.push(Refused { message, cause: "path", reason }),
                Ok(folder) => {
                    let window = self.window.map_or(0, |window| time.div_euclid(window));
                    let (batch, messages) = sorted.by_key.entry(Key { window, folder }).or_default();
                    batch.push(own_key, value, time);
                    messages.push(message);
                }
            }
        }
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_goes_where_its_fields_and_its_time_say_and_a_bad_one_is_refused_alone() {
        let template = Template::parse("{s}").unwrap();
        let mut sorter = Sorter::new(Some(template), Some(Duration::from_secs(10))).unwrap();
        let mut batch = Batch::new();
        for (value, time) in [(r#"{"s": "a"}"#, 9_999), (r#"{"s": "../b"}"#, 0), (r#"{"s": "a"}"#, 10_000)] {
            batch.push(Some(b"k"), Some(value.as_bytes()), time);
        }
        batch.push(None, Some(br#"{"s": "a", "n": 1}"#), -1);
        let sorted = sorter.sort(&batch);
        let found: Vec<_> = sorted.by_key.iter().map(|(key, (batch, at))| (key.window, batch.len(), at[0])).collect();
        assert_eq!(found, [(-1, 1, 3), (0, 1, 0), (1, 1, 2)]);
        assert_eq!((sorted.refused[0].message, sorted.refused[0].cause), (1, "path"));
        assert!(Sorter::new(None, None).is_none());
    }
}
