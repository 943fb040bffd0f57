//! A plugin that fails in the middle of a batch, with state that has changed (fault 51): here on all that comes, so that
//! its pipeline stops.

use std::ops::ControlFlow;
use std::time::Duration;

use host::checkpoint::Tally;
use host::log::embedded::Embedded;
use host::sink::Sink;
use host::sink::embedded::EmbeddedSink;

use super::chance::Chance;
use super::outcome::assert_same;
use super::pipeline::Work;
use super::process::tail;
use super::stream::Stream;
use crate::program::wait_for;

/// Too little for all the ids of the input: none that comes when it is full fits.
const TOO_LITTLE: &str = "memory = \"4MiB\"\n";

#[test]
fn what_a_trap_interrupts_is_undone_and_done_again() {
    let chance = Chance::of("trap");
    let mut stream = Stream::embedded("trap", &chance, Work::Highest);
    stream.pipeline.batch = 500;
    stream.pipeline.limits = TOO_LITTLE.to_owned();
    let sent = chance.scale(60_000, 300_000);
    stream.feed(sent);
    let mut host = stream.start();
    let status = wait_for("the plugin to run out of memory", || host.ended());
    assert!(!status.success());
    let said = tail(&stream.path.join("host.log"));
    assert!(said.contains("messages made a plugin fail, where 10 of 1000 are the most"), "{said}");
    assert!(said.contains("bytes of memory and may have 4194304; if it needs more, raise `memory`"), "{said}");
    let input = stream.received(sent).remove(0);

    // Output and state are those of the last checkpoint, which is behind what the plugin had seen.
    let log = Embedded::open(&stream.path.join("apogee.db")).unwrap();
    let (name, out) = (&stream.pipeline.name, format!("{}.out", stream.pipeline.name));
    let mut sink = EmbeddedSink::new(log, name, Some(&out), None, Duration::from_millis(100)).unwrap();
    let last = sink.open(0).unwrap().expect("a checkpoint");
    assert!(0 < last.next && last.next < sent as i64, "it stopped at {}", last.next);
    let done = &input[..input.partition_point(|message| message.offset < last.next)];
    let found = stream.found(&stream.pipeline).remove(0);
    assert_same("what is out", &stream.expected(done, false).rows, &found.rows);
    let mut tally = Tally::default();
    sink.state(&last, &mut |entries| {
        tally.apply_all(entries);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(tally.sum(), last.state);
    drop(sink);

    // With room enough it goes on from there, to the exact end.
    stream.pipeline.limits.clear();
    stream.conclude(sent);
}
