//! A host that is asked to end ends soon, and whole (fault 14).

use std::time::Duration;

use super::chance::Chance;
use super::pipeline::Work;
use super::stream::Stream;

#[test]
fn a_host_under_load_ends_soon_when_it_is_asked_to() {
    let mut chance = Chance::of("shutdown");
    let stream = Stream::on_kafka("shutdown", &chance, Work::Windows, 2);
    let feeder = stream.load();
    let mut longest = Duration::ZERO;
    for round in 1..=chance.scale(5, 100) {
        let before = stream.beyond(-1);
        let host = stream.start();
        stream.beyond(before);
        chance.pass(Duration::from_millis(300));
        let took = host.terminate();
        assert!(took < Duration::from_secs(10), "round {round}: {took:?}");
        longest = longest.max(took);
    }
    println!("the longest took {longest:?}");
    stream.conclude(feeder.end());
}
