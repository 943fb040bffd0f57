//! Positions of a group in librdkafka's lists: an offset, with the place of its checkpoint as metadata.

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;

use super::ANSWER;
use super::client::{Cluster, Context};
use crate::checkpoint::Position;
use crate::log::LogError;

/// Adds a position that is to be committed.
pub(super) fn add(
    list: &mut TopicPartitionList,
    topic: &str,
    partition: i32,
    position: &Position,
) -> Result<(), KafkaError> {
    let mut added = list.add_partition(topic, partition);
    if !position.place.is_empty() {
        added.set_metadata(&position.place);
    }
    added.set_offset(Offset::Offset(position.next))
}

/// The position of each partition of a list that was committed; `None` where there is none.
pub(super) fn committed(list: &TopicPartitionList) -> Vec<(i32, Option<Position>)> {
    // The crate's own way to the metadata panics where another client wrote what is not UTF-8.
    // SAFETY: the list is alive and has as many elements as it says, or a null.
    let elements = unsafe {
        let list = &*list.ptr();
        if list.elems.is_null() { &[] } else { std::slice::from_raw_parts(list.elems, list.cnt.max(0) as usize) }
    };
    let position = |element: &rdkafka::bindings::rd_kafka_topic_partition_t| {
        // SAFETY: the metadata is null or points at as many bytes, alive as long as the list.
        let place = unsafe {
            match element.metadata.is_null() {
                true => &[],
                false => std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size),
            }
        };
        // A negative offset says that there is none.
        (element.offset >= 0)
            .then(|| Position { next: element.offset, place: String::from_utf8_lossy(place).into_owned() })
    };
    elements.iter().map(|element| (element.partition, position(element))).collect()
}

/// A list of partitions of one topic, without offsets.
pub(super) fn partitions(topic: &str, partitions: impl IntoIterator<Item = i32>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(topic, partition);
    }
    list
}

/// Commits the end of each partition that the group has no position in, so that what comes after this
/// moment belongs to the group, also when it dies before its first commit.
pub(super) fn pin(
    cluster: &Cluster,
    consumer: &BaseConsumer<Context>,
    topic: &str,
    count: u32,
) -> Result<(), LogError> {
    let failed = |e: KafkaError| cluster.error(topic, &e);
    let known = consumer.committed_offsets(partitions(topic, 0..count as i32), ANSWER).map_err(failed)?;
    let mut ends = TopicPartitionList::new();
    for (partition, _) in committed(&known).iter().filter(|(_, position)| position.is_none()) {
        let (_, end) = consumer.fetch_watermarks(topic, *partition, ANSWER).map_err(failed)?;
        ends.add_partition_offset(topic, *partition, Offset::Offset(end)).map_err(failed)?;
    }
    if ends.count() > 0
        && let Err(error) = consumer.commit(&ends, CommitMode::Sync)
    {
        // Only an empty group lets others commit; this one has members, who see to it themselves.
        tracing::debug!("{}: topic {topic:?}: no first position: {error}", cluster.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_keeps_its_place() {
        let mut list = TopicPartitionList::new();
        let position = |place: &str| Position { next: 7, place: place.to_owned() };
        add(&mut list, "t", 3, &position("kafka://h:1/g.changelog")).unwrap();
        add(&mut list, "t", 4, &position("")).unwrap();
        list.add_partition("t", 5);
        let expected = [(3, Some(position("kafka://h:1/g.changelog"))), (4, Some(position(""))), (5, None)];
        assert_eq!(committed(&list), expected);
        assert_eq!(committed(&TopicPartitionList::new()), []);
    }
}
