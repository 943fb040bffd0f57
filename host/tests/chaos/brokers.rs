//! A broker that is killed, and one that is restarted, under load (fault 3).

use std::path::Path;
use std::time::{Duration, Instant};

use xtask::kafka::Broker;

use super::chance::Chance;
use super::pipeline::Work;
use super::stream::Stream;

/// From the moment when the broker is there again to the next commit.
const GOES_ON: Duration = Duration::from_secs(60);

#[test]
fn a_stream_outlives_its_broker() {
    let mut chance = Chance::of("brokers");
    let mut broker = Broker::scratch(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a broker");
    let address = broker.address();
    let stream = Stream::between(&address, &address, "brokers", &chance, Work::Windows, 2);
    let feeder = stream.load();
    let mut host = stream.start();
    let rounds: usize = chance.scale(2, 10);
    let mut kills = [vec![true; rounds], vec![false; rounds]].concat();
    chance.shuffle(&mut kills);
    for (round, kill) in (1..).zip(kills) {
        let before = stream.beyond(-1);
        stream.beyond(before);
        chance.pass(Duration::from_millis(500));
        if kill {
            broker.kill();
        }
        broker.restart().expect("the broker comes back");
        let (start, before) = (Instant::now(), stream.beyond(-1));
        let after = stream.beyond(before);
        let took = start.elapsed();
        println!(
            "round {round}: {}, goes on after {took:?}, {before} → {after}",
            if kill { "killed" } else { "restarted" }
        );
        assert!(took < GOES_ON, "round {round}: it went on after {took:?}");
        host.must_run();
    }
    let sent = feeder.end();
    host.terminate();
    stream.conclude(sent);
}
