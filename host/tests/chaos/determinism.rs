//! The same input gives the same bytes, however it is cut into batches and spread over workers.

use super::chance::Chance;
use super::outcome::Found;
use super::pipeline::Work;
use super::process::Host;
use super::stream::Stream;

#[test]
fn windows_depend_on_neither_batches_nor_workers() {
    let chance = Chance::of("determinism");
    let stream = Stream::on_kafka("determinism", &chance, Work::Windows, 4);
    let sent = chance.scale(20_000, 200_000);
    stream.feed(sent);
    // Against the reference, with the default batch and one worker.
    stream.conclude(sent);
    let first: Vec<Found> = stream.found(&stream.pipeline);
    for (batch, workers) in [(1, 1), (7, 4), (1_000, 1), (1_000, 4)] {
        let pipeline = stream.variant(&format!("{batch}-{workers}"), |pipeline| {
            (pipeline.batch, pipeline.workers) = (batch, workers);
        });
        Host::run(&stream.path, "end.toml");
        for (partition, (first, found)) in first.iter().zip(stream.found(&pipeline)).enumerate() {
            assert!(first.bytes == found.bytes, "partition {partition}: batch {batch}, {workers} workers: other bytes");
        }
    }
}
