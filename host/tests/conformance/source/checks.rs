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
