//! A host that is paused until others have taken over, and then goes on (fault 8).

use super::chance::Chance;
use super::pipeline::Work;
use super::stream::{Stream, TIMEOUTS, taken};
use crate::program::wait_for;

#[test]
fn a_host_that_wakes_up_too_late_is_fenced() {
    let chance = Chance::of("zombie");
    let stream = Stream::on_kafka("zombie", &chance, Work::Windows, 2);
    let stream = stream.with(|stream| stream.pipeline.client = TIMEOUTS.to_vec());
    let feeder = stream.load();
    for round in 1..=chance.scale(1, 5) {
        let (one, other) = (format!("zombie-{round}"), format!("heir-{round}"));
        let before = stream.beyond(-1);
        let mut zombie = stream.start_in(&one);
        // So far that both partitions have a checkpoint.
        stream.beyond(before + 2_000);
        zombie.signal("STOP");
        let heir = stream.start_in(&other);
        wait_for("the other host to have both partitions", || (taken(&stream.path.join(&other)) >= 2).then_some(()));
        let before = stream.beyond(-1);
        stream.beyond(before);
        let taken_before = taken(&stream.path.join(&one));
        zombie.signal("CONT");
        // It finds out that it was fenced, and comes back as one of the two.
        wait_for("the zombie to come back as a good member", || {
            zombie.must_run();
            (taken(&stream.path.join(&one)) > taken_before).then_some(())
        });
        let before = stream.beyond(-1);
        stream.beyond(before);
        zombie.terminate();
        heir.terminate();
    }
    stream.conclude(feeder.end());
}
