//! A network between host and broker that swallows and cuts at the worst moments (faults 5, 6 and 7).

use std::path::Path;
use std::time::Duration;

use xtask::kafka::Broker;

use super::chance::{Chance, pass};
use super::pipeline::Work;
use super::proxy::{Api, Fault, Proxy};
use super::stream::{Stream, TIMEOUTS};
use crate::program::wait_for;

const FAULTS: [Fault; 7] = [
    Fault::Blackhole,
    Fault::HalfOpen,
    Fault::AnswerLost(Api::EndTxn),
    Fault::RequestLost(Api::EndTxn),
    Fault::RequestLost(Api::AddPartitionsToTxn),
    Fault::RequestLost(Api::AddOffsetsToTxn),
    Fault::RequestLost(Api::TxnOffsetCommit),
];

#[test]
fn a_network_that_swallows_and_cuts_costs_nothing_but_time() {
    let mut chance = Chance::of("network");
    let proxy = Proxy::start();
    let broker = Broker::scratch_behind(Path::new(env!("CARGO_TARGET_TMPDIR")), proxy.port).expect("a broker");
    proxy.to(broker.behind_proxy().expect("a port behind the proxy"));
    let told = format!("127.0.0.1:{}", proxy.port);
    let stream = Stream::between(&broker.address(), &told, "network", &chance, Work::Windows, 2);
    let stream = stream.with(|stream| stream.pipeline.client = TIMEOUTS.to_vec());
    let feeder = stream.load();
    let mut host = stream.start();
    let mut faults: Vec<Fault> = FAULTS.iter().copied().cycle().take(chance.scale(1, 5) * FAULTS.len()).collect();
    chance.shuffle(&mut faults);
    for fault in faults {
        let before = stream.beyond(-1);
        stream.beyond(before);
        let hits = proxy.hits();
        proxy.set(fault);
        wait_for("the fault to hit something", || (proxy.hits() > hits).then_some(()));
        if fault == Fault::Blackhole {
            // Longer than a transaction and a session may last.
            pass(Duration::from_secs(chance.scale(5, 15)));
        }
        proxy.set(Fault::None);
        stream.goes_on(&fault, &mut host);
    }
    let sent = feeder.end();
    host.terminate();
    stream.conclude(sent);
}
