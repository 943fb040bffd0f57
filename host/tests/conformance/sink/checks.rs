//! The checks themselves, against any sink.

use std::ops::Range;
use std::time::{Duration, Instant};

use host::message::Batch;
use host::sink::Sink;

use super::outputs::{FULL, Output};

/// Far enough for any commit to be due by time.
const LATER: Duration = Duration::from_secs(86_400);

/// Texts that are no two alike, with what a format may have to quote.
fn texts(numbers: Range<usize>) -> Vec<String> {
    numbers.map(|i| format!("{i}, \"\u{e9}\"\n")).collect()
}

fn batch(texts: &[String]) -> Batch {
    let mut batch = Batch::new();
    for text in texts {
        batch.push(None, Some(serde_json::json!({ "text": text }).to_string().as_bytes()), 1);
    }
    batch
}

fn write(sink: &mut dyn Sink, numbers: Range<usize>) {
    let first = numbers.start as i64;
    sink.write(&batch(&texts(numbers)), first).unwrap();
}

pub fn shows_nothing_before_a_commit(output: &dyn Output) {
    let mut sink = output.open();
    for from in (0..1_000).step_by(100) {
        write(&mut *sink, from..from + 100);
        assert_eq!(output.visible(), [""; 0]);
    }
    sink.commit().unwrap();
    assert_eq!(output.visible(), texts(0..1_000));
}

pub fn shows_all_in_order_after_a_commit(output: &dyn Output) {
    let mut sink = output.open();
    for from in [0, 500, 1_000] {
        write(&mut *sink, from..from + 250);
        write(&mut *sink, from + 250..from + 500);
        sink.commit().unwrap();
        assert_eq!(output.visible(), texts(0..from + 500));
    }
    drop(sink);
    assert_eq!(output.visible(), texts(0..1_500));
}

pub fn leaves_nothing_when_dropped(output: &dyn Output) {
    let mut sink = output.open();
    write(&mut *sink, 0..1_000);
    drop(sink);
    assert_eq!(output.visible(), [""; 0]);
}

/// What was written since may be there or not; the others are as they were.
pub fn a_drop_keeps_what_was_committed(output: &dyn Output) {
    let mut sink = output.open();
    write(&mut *sink, 0..10);
    sink.commit().unwrap();
    write(&mut *sink, 10..20);
    drop(sink);
    let visible = output.visible();
    assert!((10..=20).contains(&visible.len()), "{visible:?}");
    assert_eq!(visible, texts(0..visible.len()));
}

/// As after a crash: what was not committed is read again, and so written again. It is there at least once, in
/// order, and nothing is there that was not written. There is more of it than any writer holds in memory.
pub fn loses_nothing_that_is_written_again(output: &dyn Output) {
    let all: Vec<String> = texts(0..6).into_iter().map(|text| text + &"x".repeat(900_000)).collect();
    let write_all = || {
        let mut sink = output.open();
        for (first, text) in (0..).zip(&all) {
            sink.write(&batch(std::slice::from_ref(text)), first).unwrap();
        }
        sink
    };
    drop(write_all());
    write_all().commit().unwrap();
    let visible = output.visible();
    assert!(visible.iter().all(|text| all.contains(text)), "something is there that was not written");
    let mut seen = visible.iter();
    assert!(all.iter().all(|text| seen.any(|other| other == text)), "something is missing");
    assert!(visible.len() <= 2 * all.len(), "{} are more than were written", visible.len());
}

pub fn a_commit_without_messages_is_harmless(output: &dyn Output) {
    let mut sink = output.open();
    sink.commit().unwrap();
    assert_eq!(output.visible(), [""; 0]);
    write(&mut *sink, 0..10);
    for _ in 0..2 {
        sink.commit().unwrap();
        assert_eq!(output.visible(), texts(0..10));
    }
    write(&mut *sink, 10..20);
    sink.commit().unwrap();
    assert_eq!(output.visible(), texts(0..20));
}

pub fn is_due_only_with_something_written(output: &dyn Output) {
    let mut sink = output.open();
    assert!(!sink.due(Instant::now() + LATER), "nothing is written");
    sink.commit().unwrap();
    assert!(!sink.due(Instant::now() + LATER), "nothing is written yet");
    write(&mut *sink, 0..1);
    assert!(sink.due(Instant::now() + LATER));
    sink.commit().unwrap();
    assert!(!sink.due(Instant::now() + LATER), "all is committed");
}

/// Neither the time nor the size of what was committed counts for what comes after.
pub fn starts_anew_after_a_commit(output: &dyn Output) {
    let mut sink = output.open();
    let before = Instant::now();
    write(&mut *sink, 0..FULL);
    assert!(sink.due(before), "it is full");
    sink.commit().unwrap();
    let before = Instant::now();
    write(&mut *sink, FULL..FULL + 1);
    assert!(!sink.due(before), "one message makes nothing full");
    assert!(sink.due(before + LATER));
    sink.commit().unwrap();
    assert_eq!(output.visible(), texts(0..FULL + 1));
}
