//! Kafka to Kafka with windows, and kill -9 of the host again and again (faults 1 and 9).

use std::time::Duration;

use super::chance::Chance;
use super::pipeline::Work;
use super::stream::Stream;

#[test]
fn windows_are_exact_however_often_their_host_is_killed() {
    let mut chance = Chance::of("kills-kafka");
    let stream = Stream::on_kafka("kills-kafka", &chance, Work::Windows, 2);
    let rounds = chance.scale(10, 50);
    stream.kill_again_and_again(&mut chance, rounds, Duration::from_millis(1_500));
}
