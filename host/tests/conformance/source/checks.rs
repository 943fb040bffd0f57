//! The checks themselves, against any source.

use std::time::{Duration, Instant};

use host::checkpoint::Position;
use host::source::{Assigned, Poll, Source};

use super::given::{Given, texts};
use super::{Reading, assigned, next, position, read, read_to_end, started};

/// A reader that goes on where the group stands.
fn open(given: &dyn Given) -> Box<dyn Source> {
    started(given.open())
}

pub fn says_first_what_is_its_own_and_waits_for_the_start(given: &mut dyn Given) {
    given.put(&texts(0..1));
    let mut source = given.open();
    assert_eq!(assigned(&mut *source), [Assigned { partition: 0, position: None }]);
    for _ in 0..5 {
        let found = source.poll(Duration::from_millis(50)).unwrap();
        assert!(matches!(found, Poll::Idle), "{found:?} before the start");
    }
    source.start(0, None).unwrap();
    read(&mut *source, 1).assert_is(&texts(0..1));
}

/// Wherever the group stands, behind it, ahead of it, or at the end.
pub fn starts_where_it_is_told(given: &mut dyn Given) {
    given.put(&texts(0..10));
    let mut source = open(given);
    let all = read(&mut *source, 10);
    source.commit(0, &position(all.messages[5].offset)).unwrap();
    drop(source);
    for from in [2, 5, 8, 10] {
        let mut source = given.open();
        assigned(&mut *source);
        let next = all.messages.get(from).map_or(all.next, |message| message.offset);
        source.start(0, Some(next)).unwrap();
        source.drain().unwrap();
        assert_eq!(read_to_end(&mut *source).messages, all.messages[from..], "from message {from} on");
    }
}

pub fn tells_a_position_with_its_place(given: &mut dyn Given) {
    given.put(&texts(0..10));
    let mut source = open(given);
    let all = read(&mut *source, 10);
    for (next, place) in [(all.messages[5].offset, "csv:out"), (all.next, "kafka:///?group=\u{e9}")] {
        let position = Position { next, place: place.to_owned() };
        source.commit(0, &position).unwrap();
        drop(source);
        source = given.open();
        assert_eq!(assigned(&mut *source), [Assigned { partition: 0, position: Some(position) }]);
        source.start(0, None).unwrap();
    }
}

pub fn keeps_order(given: &mut dyn Given) {
    given.put(&texts(0..100));
    read(&mut *open(given), 100).assert_is(&texts(0..100));
}

pub fn goes_on_as_more_comes(given: &mut dyn Given) {
    let mut source = open(given);
    let mut next = 0;
    for from in [0, 3, 6] {
        given.put(&texts(from..from + 3));
        let reading = read(&mut *source, 3);
        reading.assert_is(&texts(from..from + 3));
        assert!(reading.messages[0].offset >= next);
        next = reading.next;
    }
}

pub fn waits_about_as_long_as_told(given: &mut dyn Given) {
    let mut source = open(given);
    let idles = |source: &mut dyn Source| {
        for wait in [0, 1, 150].map(Duration::from_millis) {
            let start = Instant::now();
            let found = source.poll(wait).unwrap();
            let waited = start.elapsed();
            assert!(matches!(found, Poll::Idle), "{found:?}");
            // The machine may be busy with other tests.
            assert!(waited >= wait && waited < wait + Duration::from_secs(1), "{waited:?} instead of {wait:?}");
        }
    };
    idles(&mut *source);
    given.put(&texts(0..1));
    read(&mut *source, 1).assert_is(&texts(0..1));
    idles(&mut *source);
}

pub fn hands_out_again_what_was_not_committed(given: &mut dyn Given) {
    given.put(&texts(0..10));
    let first = read(&mut *open(given), 10);
    first.assert_is(&texts(0..10));
    let mut source = open(given);
    assert_eq!(read(&mut *source, 10).messages, first.messages, "nothing was committed");
    source.commit(0, &position(first.messages[4].offset)).unwrap();
    drop(source);
    assert_eq!(read(&mut *open(given), 6).messages, first.messages[4..], "the first four were committed");
}

pub fn does_not_hand_out_again_what_was_committed(given: &mut dyn Given) {
    given.put(&texts(0..10));
    let mut source = open(given);
    let reading = read(&mut *source, 10);
    source.commit(0, &position(reading.next)).unwrap();
    drop(source);
    let mut source = open(given);
    source.drain().unwrap();
    read_to_end(&mut *source).assert_is(&[]);
    drop(source);
    given.put(&texts(10..12));
    read(&mut *open(given), 2).assert_is(&texts(10..12));
}

/// What a reader had fetched ahead when it went is neither lost nor handed out twice.
pub fn goes_on_where_a_batch_ended(given: &mut dyn Given) {
    // More than three batches, so that the fourth reader has something left.
    given.put(&texts(0..13_000));
    let mut reading = Reading::default();
    for _ in 0..3 {
        let mut source = open(given);
        let Poll::Messages(fetch) = next(&mut *source) else { panic!("no messages") };
        reading.add(fetch);
        source.commit(0, &position(reading.next)).unwrap();
    }
    let rest = read(&mut *open(given), 13_000 - reading.messages.len());
    assert!(rest.messages[0].offset >= reading.next);
    reading.messages.extend(rest.messages);
    reading.assert_is(&texts(0..13_000));
}

pub fn ends_after_what_was_there_when_it_was_drained(given: &mut dyn Given) {
    given.put(&texts(0..10));
    let mut source = open(given);
    source.drain().unwrap();
    source.drain().unwrap();
    given.put(&texts(10..12));
    read_to_end(&mut *source).assert_is(&texts(0..10));
    for wait in [0, 50].map(Duration::from_millis) {
        assert!(matches!(source.poll(wait).unwrap(), Poll::End), "it stays at its end");
    }
}

pub fn ends_when_drained_at_its_end(given: &mut dyn Given) {
    given.put(&texts(0..3));
    let mut source = open(given);
    read(&mut *source, 3).assert_is(&texts(0..3));
    for _ in 0..2 {
        source.drain().unwrap();
        read_to_end(&mut *source).assert_is(&[]);
    }
}

/// [`Reading::add`] holds each batch against the bounds.
pub fn cuts_batches(given: &mut dyn Given) {
    let large = texts(9_000..9_060).into_iter().map(|text| text + &"x".repeat(50_000));
    let all: Vec<String> = texts(0..9_000).into_iter().chain(large).collect();
    given.put(&all);
    read(&mut *open(given), all.len()).assert_is(&all);
}

pub fn no_commit_moves_the_reader(given: &mut dyn Given) {
    let mut source = open(given);
    source.commit(0, &position(0)).unwrap();
    given.put(&texts(0..10));
    let reading = read(&mut *source, 10);
    for next in [reading.next, reading.next, reading.messages[4].offset, 0] {
        source.commit(0, &position(next)).unwrap();
    }
    given.put(&texts(10..12));
    read(&mut *source, 2).assert_is(&texts(10..12));
}

/// Whether it moves the group back is not promised.
pub fn an_old_commit_loses_nothing(given: &mut dyn Given) {
    given.put(&texts(0..10));
    let mut source = open(given);
    let reading = read(&mut *source, 10);
    let old = reading.messages[4].offset;
    for next in [reading.next, old, old] {
        source.commit(0, &position(next)).unwrap();
    }
    drop(source);
    given.put(&texts(10..12));
    let mut source = open(given);
    source.drain().unwrap();
    let again = read_to_end(&mut *source);
    let missing = 12 - again.messages.len();
    assert!([4, 10].contains(&missing), "the first {missing} did not come again");
    again.assert_is(&texts(missing..12));
}

/// From anywhere to anywhere in what was fetched, several times in a row.
pub fn goes_back_to_where_it_is_told(given: &mut dyn Given) {
    given.put(&texts(0..13_000));
    let all = read(&mut *open(given), 13_000).messages;
    let mut source = open(given);
    for steps in [&[3_000][..], &[4_095, 1, 4_097], &[0, 0], &[9_000, 12_999]] {
        let Poll::Messages(_) = next(&mut *source) else { panic!("no messages") };
        steps.iter().for_each(|&to: &usize| source.start(0, Some(all[to].offset)).unwrap());
        let to = *steps.last().unwrap();
        let mut reading = Reading::default();
        while reading.messages.len() < (13_000 - to).min(5_000) {
            let Poll::Messages(fetch) = next(&mut *source) else { panic!("no messages") };
            reading.add(fetch);
        }
        assert!(reading.messages == all[to..][..reading.messages.len()], "from message {to} on");
        source.start(0, Some(all[0].offset)).unwrap();
    }
}

pub fn goes_back_to_where_it_began(given: &mut dyn Given) {
    given.put(&texts(0..9_000));
    let mut source = open(given);
    let all = read(&mut *source, 9_000);
    for _ in 0..2 {
        source.start(0, None).unwrap();
        assert!(read(&mut *source, 9_000).messages == all.messages);
    }
    drop(source);
    let mut source = given.open();
    assigned(&mut *source);
    source.start(0, Some(all.messages[5_000].offset)).unwrap();
    // Before anything came, and after.
    source.start(0, None).unwrap();
    assert!(read(&mut *source, 4_000).messages == all.messages[5_000..]);
    source.start(0, Some(all.messages[100].offset)).unwrap();
    source.start(0, None).unwrap();
    assert!(read(&mut *source, 4_000).messages == all.messages[5_000..]);
}

pub fn comes_to_its_end_again_after_going_back(given: &mut dyn Given) {
    given.put(&texts(0..100));
    let mut source = open(given);
    source.drain().unwrap();
    let all = read_to_end(&mut *source).messages;
    assert_eq!(all.len(), 100);
    given.put(&texts(100..101));
    for from in [Some(50), Some(99), None] {
        source.start(0, from.map(|from: usize| all[from].offset)).unwrap();
        read_to_end(&mut *source).assert_is(&texts(from.unwrap_or(0)..100));
    }
}

pub fn going_back_leaves_the_group_where_it_is(given: &mut dyn Given) {
    given.put(&texts(0..10));
    let mut source = open(given);
    let all = read(&mut *source, 10).messages;
    source.commit(0, &position(all[5].offset)).unwrap();
    for to in [8, 2] {
        source.start(0, Some(all[to].offset)).unwrap();
        assert_eq!(read(&mut *source, 10 - to).messages, all[to..]);
    }
    drop(source);
    assert_eq!(assigned(&mut *given.open()), [Assigned { partition: 0, position: Some(position(all[5].offset)) }]);
}

pub fn hands_out_nothing_while_it_is_held(given: &mut dyn Given) {
    given.put(&texts(0..1));
    let mut source = open(given);
    let first = read(&mut *source, 1);
    source.hold(true);
    given.put(&texts(1..2));
    let idles = |source: &mut dyn Source| {
        for wait in [0, 100].map(Duration::from_millis) {
            let start = Instant::now();
            let found = source.poll(wait).unwrap();
            assert!(matches!(found, Poll::Idle), "{found:?} while it is held");
            assert!(start.elapsed() >= wait);
        }
    };
    idles(&mut *source);
    source.hold(false);
    read(&mut *source, 1).assert_is(&texts(1..2));
    // It is no end, either, and it is gone back meanwhile.
    source.hold(true);
    source.drain().unwrap();
    idles(&mut *source);
    source.commit(0, &position(first.next)).unwrap();
    source.start(0, Some(first.next)).unwrap();
    idles(&mut *source);
    source.hold(false);
    read_to_end(&mut *source).assert_is(&texts(1..2));
}

/// Where that was told is no place of its own.
pub fn goes_back_to_what_is_not_committed(given: &mut dyn Given) {
    given.put(&texts(0..6));
    let mut source = open(given);
    let all = read(&mut *source, 6).messages;
    for next in [None, Some(all[5].offset), Some(1_000)] {
        source.start(0, next).unwrap();
        assert_eq!(read(&mut *source, 6).messages, all);
    }
    source.commit(0, &position(all[4].offset)).unwrap();
    source.start(0, None).unwrap();
    assert_eq!(read(&mut *source, 2).messages, all[4..]);
    given.put(&texts(6..7));
    source.start(0, None).unwrap();
    read(&mut *source, 3).assert_is(&texts(4..7));
}
