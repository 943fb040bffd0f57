//! To CSV files, and kill -9 of the host again and again (faults 1 and 16).

use std::time::Duration;

use super::chance::Chance;
use super::pipeline::Work;
use super::stream::Stream;

#[test]
fn windows_from_kafka_are_exact_in_files() {
    let mut chance = Chance::of("kills-csv");
    let stream = Stream::on_kafka("kills-csv", &chance, Work::Windows, 2).into_csv_files();
    let rounds = chance.scale(5, 50);
    let most = chance.scale(Duration::from_millis(500), Duration::from_millis(1_500));
    stream.kill_again_and_again(&mut chance, rounds, most);
}

#[test]
fn messages_from_the_embedded_log_are_in_files_once() {
    let mut chance = Chance::of("kills-csv");
    let stream = Stream::embedded("kills-csv", &chance, Work::Flatten).into_csv_files();
    let rounds = chance.scale(5, 50);
    stream.kill_again_and_again(&mut chance, rounds, Duration::from_millis(500));
}
