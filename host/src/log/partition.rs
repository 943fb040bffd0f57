//! Which partition a key belongs to: Kafka's own choice, so that both logs and Java clients agree.

use rdkafka::bindings::rd_kafka_msg_partitioner_murmur2;

/// The partition of `key` in a topic of `partitions`, by murmur2 as in Kafka's `DefaultPartitioner`.
pub(super) fn of_key(key: &[u8], partitions: u32) -> i32 {
    let partitions = i32::try_from(partitions.max(1)).unwrap_or(i32::MAX);
    // SAFETY: the function hashes `key` and looks at none of the pointers to a topic and its context.
    unsafe {
        rd_kafka_msg_partitioner_murmur2(
            std::ptr::null(),
            key.as_ptr().cast(),
            key.len(),
            partitions,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    }
}

#[cfg(test)]
mod tests {
    /// The hashes that Kafka's `org.apache.kafka.common.utils.UtilsTest` expects.
    #[test]
    fn agrees_with_java() {
        let hashes = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in hashes {
            for partitions in [1, 2, 3, 12, 1000] {
                let java = (hash & 0x7fff_ffff) % partitions;
                assert_eq!(super::of_key(key.as_bytes(), partitions as u32), java, "{key} of {partitions}");
            }
        }
    }
}
