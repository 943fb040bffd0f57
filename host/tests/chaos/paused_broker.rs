//! A broker that halts in mid-air for longer than a transaction and a session may last (fault 4).

use std::path::Path;
use std::time::Duration;

use xtask::kafka::Broker;

use super::chance::{Chance, pass};
use super::pipeline::Work;
use super::stream::{Stream, TIMEOUTS};

#[test]
fn a_stream_waits_for_a_broker_that_halts() {
    let chance = Chance::of("paused-broker");
    let broker = Broker::scratch(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a broker");
    let address = broker.address();
    let stream = Stream::between(&address, &address, "paused-broker", &chance, Work::Windows, 2);
    let stream = stream.with(|stream| stream.pipeline.client = TIMEOUTS.to_vec());
    let feeder = stream.load();
    let mut host = stream.start();
    for _ in 0..chance.scale(1, 3) {
        let before = stream.beyond(-1);
        stream.beyond(before);
        broker.pause().expect("SIGSTOP");
        pass(Duration::from_secs(chance.scale(10, 60)));
        broker.resume().expect("SIGCONT");
        let before = stream.beyond(-1);
        stream.beyond(before);
        host.must_run();
    }
    let sent = feeder.end();
    host.terminate();
    stream.conclude(sent);
}
