//! Rows 34 and 35, and path tricks: who is not to ask is refused, and what is not there is not found.

use std::io::Write;
use std::net::TcpStream;

use super::{Stream, TOKEN, answer};

#[test]
fn web_pages_and_strangers_are_refused() {
    let stream = Stream::start(&["--control-host", "station.example"]);
    let own = stream.address.to_string();
    let token = format!("Authorization: Bearer {TOKEN}");
    for (headers, expected) in crate::strangers::cases(stream.address) {
        let headers: Vec<&str> = headers.iter().map(String::as_str).chain([token.as_str()]).collect();
        let (status, body) = stream.ask_bare("GET", "/status", &headers, b"");
        assert_eq!(status, expected, "{headers:?}: {body}");
        assert!(status == 200 || body.starts_with(r#"{"error":""#), "{body}");
    }
    for shown in [
        "Authorization: Bearer wrong",
        "Authorization: Bearer ",
        "Authorization: Basic 0123456789abcdef0123456789abcdef",
        &format!("Authorization: Bearer {TOKEN}0"),
        &format!("X-Token: {TOKEN}"),
    ] {
        let own = format!("Host: {own}");
        assert_eq!(stream.ask_bare("GET", "/status", &[&own, shown], b"").0, 401, "{shown}");
        assert_eq!(stream.ask_bare("POST", "/pipelines/flatten/pause", &[&own, shown], b"").0, 401, "{shown}");
    }
    for (method, path) in [("CONNECT", "evil.example:80"), ("GET", "http://evil.example/status")] {
        assert_eq!(stream.ask(method, path, &[], b"").0, 403, "{method} {path}");
    }
    // What a page may send without asking first (a form) is no component.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let kind = format!("Content-Type: {kind}");
        assert_eq!(stream.ask("POST", "/pipelines/flatten/swap", &[&kind], b"\0asm").0, 415, "{kind}");
    }
    assert_eq!(stream.ask("POST", "/pipelines/flatten/pause", &["Origin: http://evil.example"], b"").0, 403);
    assert_eq!(stream.status()["paused"], false);
    stream.end_well();
}

/// Requests that parsers do not agree about.
#[test]
fn a_request_is_read_in_one_way_or_refused() {
    let stream = Stream::start(&[]);
    let own = stream.address.to_string();
    let token = format!("Authorization: Bearer {TOKEN}");
    let smuggled = format!("POST /pipelines/flatten/pause HTTP/1.1\r\nHost: {own}\r\nContent-Length: 0\r\n\r\n");
    let chunked = "Content-Length: 5\r\nTransfer-Encoding: chunked";
    for (first, headers, body, expected) in [
        ("GET /status HTTP/1.0", token.clone(), "", 403),
        ("GET /status HTTP/1.0", format!("Host: {own}\r\n{token}"), "", 200),
        ("GET http://OWN/status HTTP/1.1", format!("Host: {own}\r\n{token}"), "", 200),
        ("GET http://OWN/status HTTP/1.1", format!("Host: evil.example\r\n{token}"), "", 403),
        ("GET http://me@OWN/status HTTP/1.1", format!("Host: {own}\r\n{token}"), "", 403),
        ("GET /status HTTP/1.1", format!("Host: {own}\r\n evil.example\r\n{token}"), "", 400),
        ("GET /status HTTP/1.1", format!("Host: {own}\r\nAuthorization: Bearer x\r\n{token}"), "", 401),
        (
            "POST /status HTTP/1.1",
            format!("Host: {own}\r\n{token}\r\nContent-Length: 1\r\nContent-Length: 2"),
            "xx",
            400,
        ),
        ("PRI * HTTP/2.0", String::new(), "SM\r\n\r\n", 400),
        // What follows the last chunk is no part of it: another request, which has no token.
        (
            "POST /pipelines/flatten/resume HTTP/1.1",
            format!("Host: {own}\r\n{token}\r\n{chunked}"),
            &*format!("0\r\n\r\n{smuggled}"),
            200,
        ),
    ] {
        let mut connection = TcpStream::connect(stream.address).unwrap();
        let head = format!("{}\r\n{headers}\r\nConnection: close\r\n\r\n", first.replace("OWN", &own));
        connection.write_all(format!("{head}{body}").as_bytes()).unwrap();
        assert_eq!(answer(&mut connection).0, expected, "{head}");
    }
    assert_eq!(stream.status()["paused"], false);
    let long = stream.ask(&"X".repeat(5_000), "/status", &[], b"").0;
    assert!(long == 405 && stream.log().lines().all(|line| line.len() < 500), "{long}");
    stream.end_well();
}

#[test]
fn what_is_not_there_is_not_found() {
    let stream = Stream::start(&[]);
    let long = |bytes| format!("/{}", "x".repeat(bytes));
    let cases = [
        ("GET", "/", 404),
        ("GET", "/status/", 404),
        ("GET", "//status", 404),
        ("GET", "/../status", 404),
        ("GET", "/%2e%2e/status", 404),
        ("GET", "/pipelines/../status", 404),
        ("GET", "/status%00", 404),
        ("GET", "/Status", 404),
        ("GET", "/pipelines/flatten", 404),
        ("POST", "/pipelines/%2e%2e/pause", 404),
        ("POST", "/pipelines/..%2f..%2fetc%2fpasswd/pause", 404),
        ("POST", "/pipelines//pause", 404),
        ("POST", "/pipelines/%00/pause", 404),
        ("POST", "/pipelines/flatten%00/pause", 404),
        ("POST", "/pipelines/%ff/pause", 400),
        ("POST", "/pipelines/FLATTEN/pause", 404),
        ("GET", "/status\0", 400),
        ("POST", "/status", 405),
        ("GET", "/pipelines/flatten/pause", 405),
        ("DELETE", "/pipelines/flatten/canary", 405),
        ("OPTIONS", "/pipelines/flatten/swap", 405),
        ("TRACE", "/status", 405),
        ("POST", "/pipelines/flatten/promote?x=1", 400),
        ("POST", "/pipelines/flatten/promote?rejects=2", 400),
        ("POST", "/pipelines/flatten/promote?rejects=NaN", 400),
        ("POST", "/pipelines/flatten/promote?trial=-1", 400),
        ("POST", "/pipelines/flatten/promote?trial_ms=60001", 400),
        ("POST", "/pipelines/flatten/promote", 404),
        ("GET", &long(10_000), 414),
        ("GET", &long(30_000), 414),
    ];
    for (method, path, expected) in cases {
        let shown = &path[..path.len().min(100)];
        assert_eq!(stream.ask(method, path, &[], b"").0, expected, "{method} {shown}");
    }
    let too_much = stream.ask("GET", &long(1 << 20), &[], b"").0;
    assert!([0, 414, 431].contains(&too_much), "{too_much}");
    stream.end_well();
}
