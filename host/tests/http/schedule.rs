//! When polls happen: on time, later when the server asks for it, never after the end.

use std::time::{Duration, Instant, SystemTime};

use host::source::http::Options;
use host::source::{Poll, Source};

use super::{PATIENCE, Server, good, next, options, reply, source, wait_for_close};

#[test]
fn the_tick_after_a_slow_poll_is_on_time_and_the_missed_ones_are_counted() {
    let server = Server::start(|number, stream| if number == 0 { wait_for_close(stream) } else { good(stream) });
    let every = Duration::from_millis(200);
    let (mut source, counters) = source(Options { every, deadline: every * 5 / 2, ..options(&server.url) });
    next(&mut source);
    let gap = server.gaps()[0];
    assert!(gap >= every * 5 / 2, "{gap:?} after the slow poll");
    // On a slow machine it may be a later tick, but it is a tick, and none goes uncounted.
    let ticks = (gap.as_secs_f64() / every.as_secs_f64()).round();
    let off = (gap.as_secs_f64() - ticks * every.as_secs_f64()).abs();
    assert!(off < 0.08, "polled {off} s off a tick, {gap:?} after the poll before");
    assert_eq!(counters.get("poll missed tick") as f64, ticks - 1.0);
}

#[test]
fn retry_after_in_seconds_is_honoured() {
    let server = Server::start(|number, stream| match number {
        0 => reply(stream, "429 Too Many Requests\nRetry-After: 1", b""),
        _ => good(stream),
    });
    let (mut source, counters) = source(options(&server.url));
    next(&mut source);
    assert!(server.gaps()[0] >= Duration::from_millis(990), "{:?}", server.gaps());
    assert_eq!(counters.get("poll status 429"), 1);
}

#[test]
fn retry_after_as_a_date_is_honoured() {
    let server = Server::start(|number, stream| {
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
        match number {
            0 => reply(stream, &format!("503 Busy\nRetry-After: {date}"), b""),
            _ => good(stream),
        }
    });
    let (mut source, counters) = source(options(&server.url));
    next(&mut source);
    // The date has whole seconds, so it is one to two seconds ahead.
    assert!(server.gaps()[0] >= Duration::from_millis(900), "{:?}", server.gaps());
    assert_eq!(counters.get("poll status 503"), 1);
}

#[test]
fn failures_in_a_row_back_off() {
    let server = Server::start(|number, stream| if number < 4 { reply(stream, "500 Oops", b"") } else { good(stream) });
    let every = Duration::from_millis(50);
    let (mut source, counters) = source(Options { every, ..options(&server.url) });
    next(&mut source);
    let gaps = server.gaps();
    // The waits are 0, 1, 2 and 4 periods at least, each from the reply to the tick after it.
    for (gap, least) in gaps.iter().zip([0, 1, 2, 4]) {
        assert!(*gap >= every * least, "{gaps:?}");
    }
    assert_eq!(counters.get("poll status 500"), 4);
    assert!(counters.get("poll missed tick") >= 1 + 2 + 4);
}

#[test]
fn poll_returns_in_time_while_a_request_hangs_and_the_end_abandons_it() {
    let server = Server::start(|_, stream| wait_for_close(stream));
    let (mut source, counters) = source(Options { deadline: PATIENCE, ..options(&server.url) });
    let start = Instant::now();
    assert!(matches!(source.poll(Duration::from_millis(50)).unwrap(), Poll::Idle));
    assert!(start.elapsed() < PATIENCE / 10);
    while server.requests.lock().unwrap().is_empty() {
        source.poll(Duration::from_millis(5)).unwrap();
    }
    source.drain().unwrap();
    assert!(matches!(source.poll(PATIENCE).unwrap(), Poll::End));
    assert!(start.elapsed() < PATIENCE / 10, "the end does not wait for the request");
    assert_eq!(counters.get("poll abandoned"), 1);
}

#[test]
fn a_request_under_way_is_counted_when_the_source_is_gone() {
    let server = Server::start(|_, stream| wait_for_close(stream));
    // Once is a race that even a source that does not wait may win.
    for request in 1..=20 {
        let (source, counters) = source(Options { deadline: PATIENCE, ..options(&server.url) });
        wait_until(|| server.requests.lock().unwrap().len() == request);
        let start = Instant::now();
        drop(source);
        assert_eq!(counters.get("poll abandoned"), 1, "request {request}");
        assert!(start.elapsed() < PATIENCE / 20, "the end does not wait for the request");
    }
}

#[test]
fn a_reply_that_waits_is_handed_out_before_the_end_and_else_counted() {
    for take in [true, false] {
        let (closed, read) = std::sync::mpsc::channel();
        let server = Server::start(move |_, stream| {
            good(stream);
            // The client has the whole reply when it closes.
            wait_for_close(stream);
            let _ = closed.send(());
        });
        let (mut source, counters) = source(options(&server.url));
        read.recv_timeout(PATIENCE).unwrap();
        source.drain().unwrap();
        if take {
            assert!(matches!(source.poll(PATIENCE).unwrap(), Poll::Messages(_)));
            assert!(matches!(source.poll(PATIENCE).unwrap(), Poll::End));
        }
        drop(source);
        let counted = (counters.get("poll good"), counters.get("poll abandoned"));
        assert_eq!(counted, if take { (1, 0) } else { (0, 1) });
    }
}

fn wait_until(condition: impl Fn() -> bool) {
    crate::program::wait_for("the server", || condition().then_some(()));
}
