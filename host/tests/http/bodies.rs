//! Bodies and statuses: too slow, too large, not JSON, not 2xx.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use host::source::http::{Key, Options, probe};
use host::source::{Poll, Source};

use crate::chaos::pass;

use super::{GOOD, Server, goes_on_after, good, next, options, reply, source, values, wait_for_close};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_byte_a_second_ends_at_the_deadline() {
    goes_on_after("poll timeout", |stream| {
        let mut byte = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec();
        while stream.write_all(&byte).is_ok() {
            pass(Duration::from_secs(1));
            byte = b" ".to_vec();
        }
    });
}

#[test]
fn headers_that_never_come_end_at_the_deadline() {
    goes_on_after("poll timeout", |stream| wait_for_close(stream));
}

#[test]
fn an_endless_body_is_cut_at_the_cap() {
    goes_on_after("poll too large", |stream| {
        let mut bytes = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        while stream.write_all(&bytes).is_ok() {
            bytes = vec![b' '; 65536];
        }
    });
}

#[test]
fn a_body_announced_as_too_large_is_not_read() {
    goes_on_after("poll too large", |stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n");
        wait_for_close(stream);
    });
}

#[test]
fn a_gzip_bomb_is_cut_at_the_cap() {
    // A GiB of zeros in about a MB: members of gzip may follow one another.
    let bomb = gzip(&vec![0; 1 << 20]).repeat(1 << 10);
    assert!(bomb.len() < 3 << 20);
    let server = Server::start(move |number, stream| match number {
        0 => reply(stream, "200 OK\nContent-Encoding: gzip", &bomb),
        _ => reply(stream, "200 OK\nContent-Encoding: gzip", &gzip(GOOD.as_bytes())),
    });
    let options =
        host::source::http::Options { max_body: 8 << 20, deadline: Duration::from_secs(5), ..options(&server.url) };
    let (mut source, counters) = source(options);
    assert_eq!(values(&next(&mut source)), [GOOD.as_bytes()], "the message is decompressed");
    assert_eq!(counters.get("poll decompressed too large"), 1);
    assert_eq!(counters.get("poll good"), 1);
}

#[test]
fn broken_and_foreign_encodings_are_refused() {
    let mut cut = gzip(GOOD.as_bytes());
    cut.truncate(cut.len() / 2);
    goes_on_after("poll encoding", move |stream| reply(stream, "200 OK\nContent-Encoding: gzip", &cut));
    goes_on_after("poll encoding", |stream| reply(stream, "200 OK\nContent-Encoding: br", GOOD.as_bytes()));
    goes_on_after("poll encoding", |stream| reply(stream, "200 OK\nContent-Encoding: gzip, gzip", GOOD.as_bytes()));
}

#[test]
fn a_reply_that_breaks_off_is_no_message() {
    // A number cut short is still valid JSON: only the length shows that it is not whole.
    goes_on_after("poll broken reply", |stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234"))
    });
    goes_on_after("poll broken reply", |stream| drop(stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n")));
}

#[test]
fn other_statuses_are_counted_one_by_one() {
    for status in [404, 429, 500, 503] {
        goes_on_after(&format!("poll status {status}"), move |stream| {
            reply(stream, &format!("{status} No"), GOOD.as_bytes())
        });
    }
}

/// Polls a server whose first reply is 200 with `body`, which is not JSON.
fn rejected(body: &'static [u8]) -> String {
    let server =
        Server::start(move |number, stream| if number == 0 { reply(stream, "200 OK", body) } else { good(stream) });
    let (mut source, counters) = source(options(&server.url));
    let bad = next(&mut source);
    assert!(bad.batch.is_empty());
    assert_eq!((bad.rejected.len(), bad.next), (1, 1));
    let rejected = &bad.rejected[0];
    assert_eq!((rejected.offset, rejected.cause), (0, "not json"));
    assert_eq!(rejected.value, body[..body.len().min(64 * 1024)]);
    assert_eq!(values(&next(&mut source)), [GOOD.as_bytes()]);
    assert_eq!((counters.get("poll not json"), counters.get("poll good")), (1, 1));
    rejected.reason.replace(server.url.as_str(), "URL")
}

#[test]
fn html_and_nan_go_to_the_dead_letters() {
    assert_eq!(
        rejected(b"<html>\x1b[31mLog in</html>"),
        "the reply of URL: it is not JSON (expected value at line 1 column 1): \"<html>\\u{1b}[31mLog in</html>\""
    );
    assert_eq!(
        rejected(br#"{"latitude": NaN}"#),
        r#"the reply of URL: it is not JSON (expected value at line 1 column 14): "{\"latitude\": NaN}""#
    );
    rejected(b"\xff\xfe");
    rejected(&[b'x'; 100_000]);
}

#[test]
fn a_repeated_timestamp_is_a_duplicate() {
    let server = Server::start(|number, stream| {
        reply(stream, "200 OK", format!(r#"{{"n": {number}, "timestamp": {}}}"#, number / 3).as_bytes());
    });
    let (mut source, counters) =
        source(host::source::http::Options { distinct: Some("/timestamp".into()), ..options(&server.url) });
    let (first, second) = (next(&mut source), next(&mut source));
    assert_eq!(values(&first), [br#"{"n": 0, "timestamp": 0}"#]);
    assert_eq!(values(&second), [br#"{"n": 3, "timestamp": 1}"#]);
    assert_eq!((counters.get("poll duplicate"), second.offsets[0]), (2, 1));
}

#[test]
fn a_server_that_is_gone_comes_back() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let options = options(&format!("http://user:secret@{address}/now.json?key=secret").parse().unwrap());
    let error = probe(&options).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "http://{address}/now.json cannot be reached (Connection refused (os error 111)); \
             check the network, or run on the simulated station: --from sim:iss"
        )
        .replace("111", if cfg!(target_os = "macos") { "61" } else { "111" })
    );
    let (mut source, counters) = source(options.clone());
    while counters.get("poll unreachable") == 0 {
        assert!(matches!(source.poll(Duration::from_millis(5)).unwrap(), Poll::Idle));
    }
    let _server = Server::on(std::net::TcpListener::bind(address).unwrap(), |_, stream: &mut TcpStream| good(stream));
    assert_eq!(values(&next(&mut source)), [GOOD.as_bytes()]);
    probe(&options).unwrap();
}

#[test]
fn a_message_has_the_key_that_is_in_the_reply() {
    let server = Server::start(|number, stream| {
        let body = [r#"{"id":7,"name":"a"}"#, r#"{"name":"b"}"#, r#"{"id":null}"#][number.min(2)];
        reply(stream, "200 OK", body.as_bytes());
    });
    let (mut source, counters) = source(Options { key: Some(Key::Pointer("/id".into())), ..options(&server.url) });
    let keys: Vec<_> =
        (0..3).map(|_| next(&mut source).batch.keys.iter().next().unwrap().map(<[u8]>::to_vec)).collect();
    assert_eq!(keys, [Some(b"7".to_vec()), None, None]);
    drop(source);
    let counted = counters.snapshot();
    assert_eq!((counted["poll good"], counted["poll without key"]), (3, 2));
}

#[test]
fn where_the_key_is_a_field_of_csv_other_replies_are_dead_letters() {
    let server = Server::start(|number, stream| {
        let body: &[u8] = [&b"a,\"b, c\",d\n"[..], b"{\n}", b"a,\xff", b"only one"][number.min(3)];
        reply(stream, "200 OK", body);
    });
    let (mut source, counters) = source(Options { key: Some(Key::Field(1)), ..options(&server.url) });
    let fetch = next(&mut source);
    assert_eq!(fetch.batch.keys.iter().next(), Some(Some(&b"b, c"[..])));
    assert_eq!(values(&fetch), [b"a,\"b, c\",d\n"]);
    for (body, reason) in [(&b"{\n}"[..], "it has more than one row"), (b"a,\xff", "UTF-8")] {
        let rejected = next(&mut source).rejected;
        assert_eq!((rejected[0].cause, rejected[0].value.as_slice()), ("not csv", body));
        assert!(rejected[0].reason.contains(reason), "{}", rejected[0].reason);
    }
    assert_eq!(next(&mut source).batch.keys.iter().next(), Some(None), "a row that is too short has no key");
    drop(source);
    let counted = counters.snapshot();
    assert_eq!((counted["poll good"], counted["poll not csv"], counted["poll without key"]), (2, 2, 1));
}
