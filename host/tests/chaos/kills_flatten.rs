//! Kafka to Kafka, one message out for each that comes in, and kill -9 of the host in mid-batch (fault 1).

use std::time::Duration;

use super::chance::Chance;
use super::pipeline::Work;
use super::stream::Stream;

#[test]
fn each_message_comes_out_once_however_often_its_host_is_killed() {
    let mut chance = Chance::of("kills-flatten");
    let stream = Stream::on_kafka("kills-flatten", &chance, Work::Flatten, 2);
    let rounds = chance.scale(4, 50);
    // 100,000 messages and more in the long form.
    stream.kill_again_and_again(&mut chance, rounds, Duration::from_millis(500));
}
