//! Positions of a group in librdkafka's lists: an offset, with the place of its checkpoint as metadata.

use rdkafka::TopicPartitionList;
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;

use crate::checkpoint::Position;

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
