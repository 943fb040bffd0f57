//! Hosts that join and leave a group at random, some of them by kill -9 (faults 8 and 9).

use std::time::{Duration, Instant};

use super::chance::Chance;
use super::pipeline::Work;
use super::process::Host;
use super::stream::{Stream, TIMEOUTS, taken};

/// Names of directories, as if each were a machine.
const MACHINES: [&str; 3] = ["a", "b", "c"];

#[test]
fn hosts_come_and_go_and_each_message_counts_once() {
    let mut chance = Chance::of("members");
    let stream = Stream::on_kafka("members", &chance, Work::Windows, 4);
    let stream = stream.with(|stream| stream.pipeline.client = TIMEOUTS.to_vec());
    let feeder = stream.load();
    let mut hosts: [Option<Host>; 3] = MACHINES.map(|machine| Some(stream.start_in(machine)));
    let (mut joined, mut asked, mut killed) = (0, 0, 0);
    let end = Instant::now() + Duration::from_secs(chance.scale(15, 60));
    while Instant::now() < end {
        chance.pass(Duration::from_millis(2_500));
        hosts.iter_mut().flatten().for_each(Host::must_run);
        let machine = chance.index(MACHINES.len());
        match hosts[machine].take() {
            None => {
                joined += 1;
                hosts[machine] = Some(stream.start_in(MACHINES[machine]));
            }
            Some(host) if chance.one_in(2) => {
                asked += 1;
                host.terminate();
            }
            Some(host) => {
                killed += 1;
                host.kill();
            }
        }
    }
    let before = stream.beyond(-1);
    let takings = MACHINES.map(|machine| taken(&stream.path.join(machine)));
    println!("{joined} joined, {asked} left, {killed} were killed; partitions taken by each: {takings:?}");
    assert!(before > 0 && takings.iter().all(|&takings| takings > 0), "each had a partition at some time");
    assert!(asked + killed > 0, "nobody left");
    // It lives on.
    let last = hosts.iter_mut().find_map(Option::take).unwrap_or_else(|| stream.start_in(MACHINES[0]));
    stream.beyond(before);
    last.terminate();
    for host in hosts.into_iter().flatten() {
        host.terminate();
    }
    stream.conclude(feeder.end());
}
