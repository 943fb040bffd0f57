//! The checks themselves, against any sink. Each time that a [`Writer`] takes a partition it finds the output and the
//! state of its checkpoint, or fails.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::mpsc::channel;
use std::time::Instant;

use host::log::LogError;
use host::message::Batch;
use host::sink::SinkError;

use super::outputs::{FULL, Output};
use super::writer::{SILENT, Writer, apply, batch, state, texts};

const NOTHING: [&str; 0] = [];

pub fn is_in_the_same_place_each_time(output: &dyn Output) {
    let place = output.open("one").place();
    assert_eq!(output.open("one").place(), place);
    assert_eq!(output.open("another").place(), place);
    assert!(place.contains(':'), "{place} is a URI");
}

pub fn shows_nothing_before_a_commit(output: &dyn Output) {
    let mut writer = Writer::open(output, 0..1);
    for _ in 0..10 {
        writer.write(0, 100);
        assert_eq!(output.visible_of(0), NOTHING);
    }
    writer.commit().unwrap();
    output.shows(0, &texts(0, 0..1_000));
}

pub fn shows_all_in_order_after_a_commit(output: &dyn Output) {
    let mut writer = Writer::open(output, 0..1);
    for end in [500, 1_000, 1_500] {
        writer.write(0, 250);
        writer.write(0, 250);
        writer.commit().unwrap();
        output.shows(0, &texts(0, 0..end));
    }
    drop(writer);
    output.shows(0, &texts(0, 0..1_500));
}

pub fn a_drop_leaves_nothing_but_the_last_checkpoint(output: &dyn Output) {
    let mut writer = Writer::open(output, 0..1);
    assert!(writer.sink.exactly_once());
    writer.write(0, 1_000);
    drop(writer);
    assert_eq!(output.visible_of(0), NOTHING);
    let mut writer = Writer::open(output, 0..1);
    assert_eq!(writer.next(0), 0, "there is no checkpoint yet");
    writer.write(0, 10);
    writer.commit().unwrap();
    writer.write(0, 10);
    drop(writer);
    output.shows(0, &texts(0, 0..10));
    assert_eq!(Writer::open(output, 0..1).next(0), 10);
}

/// Of more than 10,000 entries, some of them set again and some deleted.
pub fn gives_back_the_state(output: &dyn Output) {
    for count in [13_000, 5_000, 1] {
        let mut writer = Writer::open(output, 0..1);
        writer.write(0, count);
        writer.commit().unwrap();
    }
    assert_eq!(Writer::open(output, 0..1).next(0), 18_001);
}

pub fn ends_early_with_the_state(output: &dyn Output) {
    let mut writer = Writer::open(output, 0..1);
    writer.write(0, 13_000);
    writer.commit().unwrap();
    drop(writer);
    let mut sink = output.open("one");
    let last = sink.open(0).unwrap().unwrap();
    let mut entries = 0;
    let ended = sink.state(&last, &mut |part| {
        entries += part.len();
        ControlFlow::Break(())
    });
    ended.unwrap();
    assert!((1..10_000).contains(&entries), "{entries} at once, and no more");
}

pub fn checkpoint_state_and_output_are_one(output: &dyn Output) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut committed = [0; 3];
    for _ in 0..15 {
        let mut writer = Writer::open(output, 0..3);
        assert_eq!([0, 1, 2].map(|partition| writer.next(partition)), committed);
        for _ in 0..random.usize(..4) {
            for _ in 0..random.usize(..5) {
                writer.write(random.i32(0..3), random.usize(1..50));
            }
            if random.bool() {
                writer.commit().unwrap();
                committed = [0, 1, 2].map(|partition| writer.next(partition));
            }
        }
    }
    Writer::open(output, 0..3);
}

pub fn several_partitions_take_effect_in_one_step(output: &dyn Output) {
    let mut writer = Writer::open(output, 0..3);
    for (partition, count) in [(0, 10), (1, 20), (2, 30), (0, 5)] {
        writer.write(partition, count);
    }
    assert_eq!([output.visible_of(0), output.visible_of(1)], [NOTHING; 2]);
    writer.commit().unwrap();
    output.shows(0, &texts(0, 0..15));
    output.shows(1, &texts(1, 0..20));
    writer.write(1, 5);
    writer.commit().unwrap();
    drop(writer);
    let writer = Writer::open(output, 0..3);
    assert_eq!([0, 1, 2].map(|partition| writer.next(partition)), [15, 25, 30]);
}

pub fn a_second_owner_fences_the_first(output: &dyn Output) {
    let mut first = Writer::open(output, 0..1);
    first.write(0, 10);
    first.commit().unwrap();
    first.write(0, 5);
    let mut second = Writer::open(output, 0..1);
    match first.commit().unwrap_err() {
        SinkError::Fenced { .. } | SinkError::Log(LogError::Interrupted { .. }) => {}
        other => panic!("{other}"),
    }
    output.shows(0, &texts(0, 0..10));
    second.write(0, 3);
    second.commit().unwrap();
    drop((first, second));
    assert_eq!(Writer::open(output, 0..1).next(0), 13);
}

pub fn letters_are_in_the_step(output: &dyn Output) {
    let letters = texts(0, 0..3);
    let mut writer = Writer::open(output, 0..1);
    writer.write(0, 2);
    assert_eq!(output.letters(), NOTHING);
    writer.commit_with(&batch(&letters)).unwrap();
    output.shows_letters(&letters);
    writer.write(0, 2);
    writer.commit_with(&Batch::new()).unwrap();
    output.shows_letters(&letters);
    // Not those of a step that never came to be.
    writer.write(0, 2);
    let _second = Writer::open(output, 0..1);
    writer.commit_with(&batch(&letters)).unwrap_err();
    output.shows_letters(&letters);
}

pub fn commits_without_output(output: &dyn Output) {
    let mut writer = Writer::open(output, SILENT..SILENT + 1);
    for _ in 0..2 {
        writer.write(SILENT, 10);
        writer.commit().unwrap();
    }
    drop(writer);
    assert_eq!(Writer::open(output, SILENT..SILENT + 1).next(SILENT), 20);
    assert_eq!([output.visible_of(0), output.visible_of(1)], [NOTHING; 2]);
}

pub fn goes_on_in_another_sink_after_a_close(output: &dyn Output) {
    let mut first = Writer::of("one", output, 0..2);
    first.write(0, 10);
    first.write(1, 10);
    first.commit().unwrap();
    first.close(1);
    let mut second = Writer::of("two", output, 1..2);
    for _ in 0..2 {
        second.write(1, 5);
        second.commit().unwrap();
        first.write(0, 5);
        first.commit().unwrap();
    }
    second.close(1);
    first.take(1);
    assert_eq!([first.next(0), first.next(1)], [20, 20]);
}

pub fn is_full_and_due_at_once(output: &dyn Output) {
    let mut writer = Writer::open(output, 0..1);
    for undo in [false, true, false] {
        let since = Instant::now();
        writer.write(0, 1);
        assert!(writer.sink.due(since) > since && !writer.sink.full(), "one message makes nothing full");
        writer.write(0, FULL);
        assert!(writer.sink.due(since) == since && writer.sink.full());
        if undo {
            writer.abort();
        } else {
            writer.commit().unwrap();
        }
        assert!(writer.sink.due(since) > since && !writer.sink.full(), "nothing waits for a commit");
    }
}

pub fn an_abort_leaves_nothing_and_the_sink_goes_on(output: &dyn Output) {
    let mut writer = Writer::open(output, 0..3);
    writer.abort();
    for (partition, undone, done) in [(0, 30, 10), (1, 20_000, 5), (SILENT, 7, 9), (0, 1, 2), (1, 3, 0)] {
        writer.write(partition, undone);
        writer.write(0, 3);
        writer.abort();
        writer.abort();
        writer.write(partition, done);
        writer.commit().unwrap();
    }
    output.shows(0, &texts(0, 0..12));
    output.shows(1, &texts(1, 0..5));
    writer.write(0, 4);
    writer.abort();
    drop(writer);
    // What the writer finds there is compared with what it should be.
    let writer = Writer::open(output, 0..3);
    assert_eq!([0, 1, SILENT].map(|partition| writer.next(partition)), [12, 5, 9]);
}

pub fn hands_out_what_was_kept_while_it_commits(output: &dyn Output) {
    what_was_kept(output, 0);
}

pub fn hands_out_what_was_kept_without_output(output: &dyn Output) {
    what_was_kept(output, SILENT);
}

/// A copy, with the changes of later commits in their order, is the state: of one that is handed out during these
/// commits, and of one that is only handed out after them.
fn what_was_kept(output: &dyn Output, partition: i32) {
    let mut writer = Writer::open(output, partition..partition + 1);
    for _ in 0..2 {
        writer.write(partition, 13_000);
        writer.commit().unwrap();
        let (meanwhile, later) = (writer.kept(partition), writer.kept(partition));
        let (begun, begins) = channel();
        let (go_on, goes_on) = channel();
        let reading = std::thread::spawn(move || {
            let mut copy = BTreeMap::new();
            let mut first = Some((begun, goes_on));
            let handed = meanwhile(&mut |entries| {
                if let Some((begun, goes_on)) = first.take() {
                    begun.send(()).unwrap();
                    goes_on.recv().unwrap();
                }
                apply(&mut copy, entries);
                ControlFlow::Continue(())
            });
            handed.unwrap();
            copy
        });
        begins.recv().unwrap();
        let mut changes = Vec::new();
        for count in [1, 100, 5_000, 1, 13_000, 3] {
            writer.write(partition, count);
            changes.extend(writer.changes(partition));
            writer.commit().unwrap();
        }
        go_on.send(()).unwrap();
        let mut copies = [reading.join().unwrap(), BTreeMap::new()];
        let read = std::thread::spawn(move || {
            let mut copy = BTreeMap::new();
            later(&mut |entries| {
                apply(&mut copy, entries);
                ControlFlow::Continue(())
            })
            .map(|()| copy)
        });
        copies[1] = read.join().unwrap().unwrap();
        for mut copy in copies {
            changes.iter().for_each(|changes| apply(&mut copy, changes));
            assert!(copy == state(partition, writer.next(partition)));
        }
    }
}
