//! A broker that is killed, restarted, or halts in mid-air, under load (faults 3 and 4).

use std::path::Path;
use std::time::Duration;

use xtask::kafka::Broker;

use super::chance::{Chance, pass};
use super::pipeline::Work;
use super::stream::{Stream, TIMEOUTS};

#[derive(Debug, Clone, Copy)]
enum Fault {
    Killed,
    Restarted,
    /// For longer than a transaction and a session may last.
    Paused,
}

#[test]
fn a_stream_outlives_its_broker() {
    let mut chance = Chance::of("brokers");
    let mut broker = Broker::scratch(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a broker");
    let address = broker.address();
    let stream = Stream::between(&address, &address, "brokers", &chance, Work::Windows, 2);
    let stream = stream.with(|stream| stream.pipeline.client = TIMEOUTS.to_vec());
    let feeder = stream.load();
    let mut host = stream.start();
    let rounds = chance.scale(1, 10);
    let mut faults = [Fault::Killed, Fault::Restarted].repeat(rounds);
    faults.extend([Fault::Paused].repeat(chance.scale(1, 3)));
    chance.shuffle(&mut faults);
    for fault in faults {
        let before = stream.beyond(-1);
        stream.beyond(before);
        chance.pass(Duration::from_millis(500));
        match fault {
            Fault::Killed => broker.kill(),
            Fault::Restarted => broker.stop().expect("a clean end"),
            Fault::Paused => broker.pause().expect("SIGSTOP"),
        }
        match fault {
            Fault::Killed | Fault::Restarted => broker.restart().expect("the broker comes back"),
            Fault::Paused => {
                pass(Duration::from_secs(chance.scale(10, 60)));
                broker.resume().expect("SIGCONT");
            }
        }
        stream.goes_on(&fault, &mut host);
    }
    let sent = feeder.end();
    host.terminate();
    stream.conclude(sent);
}
