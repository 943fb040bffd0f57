//! Redirects: followed on the same host and port, refused to anywhere else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{GOOD, Server, goes_on_after, good, next, options, reply, source, values};

#[test]
fn a_redirect_on_the_same_host_is_followed() {
    let server = Server::start(|number, stream| match number {
        0 => reply(stream, "302 Found\nLocation: /there", b""),
        _ => good(stream),
    });
    let (mut source, counters) = source(options(&server.url));
    assert_eq!(values(&next(&mut source)), [GOOD.as_bytes()]);
    assert_eq!(counters.get("poll good"), 1);
    assert_eq!(counters.get("poll redirect refused"), 0);
}

#[test]
fn a_redirect_loop_ends() {
    let hops = Arc::new(AtomicU64::new(0));
    let server = {
        let hops = Arc::clone(&hops);
        // A poll and its five redirects, then good replies.
        Server::start(move |_, stream| match hops.fetch_add(1, Ordering::SeqCst) {
            0..6 => reply(stream, "302 Found\nLocation: /now.json", b""),
            _ => good(stream),
        })
    };
    let (mut source, counters) = source(options(&server.url));
    assert_eq!(values(&next(&mut source)), [GOOD.as_bytes()]);
    assert_eq!((counters.get("poll redirect refused"), counters.get("poll good")), (1, 1));
    assert!(hops.load(Ordering::SeqCst) >= 7);
}

#[test]
fn a_redirect_to_another_host_or_port_reaches_nobody() {
    let other = Server::start(|_, stream| good(stream));
    let to_port = format!("302 Found\nLocation: {}", other.url);
    goes_on_after("poll redirect refused", move |stream| reply(stream, &to_port, b""));
    let to_host = format!("302 Found\nLocation: {}", other.url.as_str().replace("127.0.0.1", "localhost"));
    goes_on_after("poll redirect refused", move |stream| reply(stream, &to_host, b""));
    assert_eq!(other.requests.lock().unwrap().len(), 0);
}
