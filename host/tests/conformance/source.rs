//! What `Source` promises: each check runs for every source that it applies to.

mod checks;
mod given;

use host::message::Fetch;
use host::source::{Poll, Source};

use super::{assigned, next, position, started};

/// Makes a module of tests for each source, one test a check.
macro_rules! conformance {
    ($($source:ident: $($check:ident),+ $(,)?;)+) => {
        $(mod $source {
            $(#[test]
            fn $check() {
                super::checks::$check(&mut super::given::$source());
            })+
        })+
    };
}

/// What can go back, and goes on as more comes.
macro_rules! complete {
    ($($source:ident),+) => {
        conformance!($($source:
            says_first_what_is_its_own_and_waits_for_the_start,
            starts_where_it_is_told,
            tells_a_position_with_its_place,
            keeps_order,
            goes_on_as_more_comes,
            waits_about_as_long_as_told,
            hands_out_again_what_was_not_committed,
            does_not_hand_out_again_what_was_committed,
            goes_on_where_a_batch_ended,
            ends_after_what_was_there_when_it_was_drained,
            ends_when_drained_at_its_end,
            cuts_batches,
            no_commit_moves_the_reader,
            an_old_commit_loses_nothing,
            goes_back_to_where_it_is_told,
            goes_back_to_where_it_began,
            comes_to_its_end_again_after_going_back,
            going_back_leaves_the_group_where_it_is,
            hands_out_nothing_while_it_is_held;
        )+);
    };
}

complete!(embedded_log, kafka, followed_json_lines, followed_csv, delta);

conformance!(
    // Ends by itself, and, where no checkpoint says otherwise, starts anew once it was read to its end.
    json_lines_once:
        says_first_what_is_its_own_and_waits_for_the_start,
        starts_where_it_is_told,
        tells_a_position_with_its_place,
        keeps_order,
        hands_out_again_what_was_not_committed,
        goes_on_where_a_batch_ended,
        ends_after_what_was_there_when_it_was_drained,
        ends_when_drained_at_its_end,
        cuts_batches,
        an_old_commit_loses_nothing,
        goes_back_to_where_it_is_told,
        goes_back_to_where_it_began,
        comes_to_its_end_again_after_going_back,
        going_back_leaves_the_group_where_it_is,
        hands_out_nothing_while_it_is_held;
    csv_once:
        says_first_what_is_its_own_and_waits_for_the_start,
        starts_where_it_is_told,
        tells_a_position_with_its_place,
        keeps_order,
        hands_out_again_what_was_not_committed,
        goes_on_where_a_batch_ended,
        ends_after_what_was_there_when_it_was_drained,
        ends_when_drained_at_its_end,
        cuts_batches,
        an_old_commit_loses_nothing,
        goes_back_to_where_it_is_told,
        goes_back_to_where_it_began,
        comes_to_its_end_again_after_going_back,
        going_back_leaves_the_group_where_it_is,
        hands_out_nothing_while_it_is_held;
    // Cannot go back but to what it handed out, and what is there is one reply, which is one message.
    http:
        says_first_what_is_its_own_and_waits_for_the_start,
        keeps_order,
        goes_on_as_more_comes,
        waits_about_as_long_as_told,
        ends_when_drained_at_its_end,
        no_commit_moves_the_reader,
        goes_back_to_what_is_not_committed,
        hands_out_nothing_while_it_is_held;
);

/// All of a message that must be the same when it comes again.
#[derive(Debug, Clone, PartialEq)]
struct Message {
    offset: i64,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    timestamp: i64,
}

/// What a source has handed out.
#[derive(Default)]
struct Reading {
    messages: Vec<Message>,
    /// Where to go on.
    next: i64,
}

impl Reading {
    /// Adds what was fetched, which must keep the rules of a fetch.
    fn add(&mut self, fetch: Fetch) {
        let Fetch { partition, batch, offsets, rejected, next } = fetch;
        assert_eq!((partition, rejected), (0, Vec::new()));
        assert!(!batch.is_empty(), "a batch of nothing");
        assert_eq!([batch.keys.len(), batch.values.len(), offsets.len()], [batch.len(); 3]);
        assert!(offsets.is_sorted_by(|a, b| a < b), "{offsets:?}");
        assert!(offsets[0] >= self.next, "{} comes after all before {}", offsets[0], self.next);
        assert!(next > *offsets.last().unwrap(), "{next} is no place to go on after {offsets:?}");
        // A batch is full when it has its bytes, so the last message may go beyond (Invariant 8).
        let last = batch.values.lengths.last().map_or(0, |&length| length as usize);
        assert!(batch.len() <= 4096 && batch.bytes() - last < 1 << 20, "{} of {}", batch.len(), batch.bytes());
        let strings = batch.keys.iter().zip(&batch.values);
        let messages = strings.zip(&batch.timestamps).zip(offsets).map(|(((key, value), &timestamp), offset)| {
            Message { offset, key: key.map(<[u8]>::to_vec), value: value.unwrap().to_vec(), timestamp }
        });
        self.messages.extend(messages);
        self.next = next;
    }

    /// The values are the messages of these texts.
    fn assert_is(&self, texts: &[String]) {
        let values: Vec<_> = self.messages.iter().map(|m| String::from_utf8_lossy(&m.value)).collect();
        let expected: Vec<_> = texts.iter().map(|text| given::message(text)).collect();
        let same = values.iter().zip(&expected).take_while(|(a, b)| a == b).count();
        let at = |found: Option<&str>| found.map(|text| text.chars().take(50).collect::<String>());
        assert!(
            values == expected,
            "{} messages instead of {}; number {same} is {:?} instead of {:?}",
            values.len(),
            expected.len(),
            at(values.get(same).map(|value| &**value)),
            at(expected.get(same).map(|text| &**text)),
        );
    }
}

/// Reads `count` messages, and not one more.
fn read(source: &mut dyn Source, count: usize) -> Reading {
    let mut reading = Reading::default();
    while reading.messages.len() < count {
        match next(source) {
            Poll::Messages(fetch) => reading.add(fetch),
            other => panic!("{other:?} after {} of {count} messages", reading.messages.len()),
        }
    }
    assert_eq!(reading.messages.len(), count);
    reading
}

/// Reads what there is until the end of it.
fn read_to_end(source: &mut dyn Source) -> Reading {
    let mut reading = Reading::default();
    loop {
        match next(source) {
            Poll::Messages(fetch) => reading.add(fetch),
            Poll::End => return reading,
            other => panic!("{other:?} after {} messages", reading.messages.len()),
        }
    }
}
