//! The simulated ISS, over real HTTP.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use host::metrics::Counters;
use host::simulate::iss::{Server, open_notify, where_the_iss_at};
use host::source::http::{HttpSource, Options, probe};
use host::source::{Poll, Source};
use host::uri::{Shape, Simulate};

fn server(step: Option<u64>) -> Server {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    Server::start(&Simulate { shape: Shape::OpenNotify, step }, address).unwrap()
}

fn options(url: String) -> Options {
    Options {
        url: url.parse().unwrap(),
        every: Duration::from_millis(1),
        deadline: Duration::from_secs(10),
        max_body: 1 << 20,
        max_decoded: 1 << 20,
        distinct: None,
    }
}

/// The first `n` replies.
fn replies(url: String, n: usize) -> Vec<String> {
    let counters = Counters::default();
    let mut source = HttpSource::new(options(url), counters.clone()).unwrap();
    let mut replies = Vec::new();
    while replies.len() < n {
        match source.poll(Duration::from_secs(20)).unwrap() {
            Poll::Messages(fetch) => {
                let values = fetch.batch.values.iter().flatten();
                replies.extend(values.map(|value| String::from_utf8(value.to_vec()).unwrap()));
            }
            Poll::Assigned(_) => source.start(0, None).unwrap(),
            other => panic!("{other:?} after {} replies, {:?}", replies.len(), counters.snapshot()),
        }
    }
    replies
}

#[test]
fn with_a_step_the_replies_are_the_same_every_time() {
    let expected: Vec<String> = (0..50).map(|n| open_notify(1_690_000_000_000 + n * 1500)).collect();
    for _ in 0..2 {
        let server = server(Some(1500));
        assert_eq!(replies(server.url(Shape::OpenNotify), 50), expected);
    }
    assert!(expected[0].ends_with(r#", "timestamp": 1690000000, "message": "success"}"#), "{}", expected[0]);
    assert!(expected[1].contains(r#""timestamp": 1690000001,"#), "{}", expected[1]);
}

#[test]
fn both_shapes_come_from_one_clock() {
    let server = server(Some(1000));
    assert_eq!(replies(server.url(Shape::OpenNotify), 1)[0], open_notify(1_690_000_000_000));
    // The source above may have polled once more before it ended.
    let reply = &replies(server.url(Shape::WhereTheIssAt), 1)[0];
    assert!((1..5).any(|n| *reply == where_the_iss_at(1_690_000_000_000 + n * 1000)), "{reply}");
}

#[test]
fn without_a_step_it_follows_the_clock() {
    let seconds = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let before = seconds();
    let server = server(None);
    let reply: serde_json::Value = serde_json::from_str(&replies(server.url(Shape::OpenNotify), 1)[0]).unwrap();
    assert!((before..=seconds()).contains(&reply["timestamp"].as_u64().unwrap()));
}

#[test]
fn it_stops_when_dropped() {
    let server = server(None);
    let options = options(server.url(Shape::OpenNotify));
    probe(&options).unwrap();
    drop(server);
    probe(&options).unwrap_err();
}

#[test]
fn a_port_in_use_is_an_error_that_says_so() {
    let first = server(None);
    let error = Server::start(&Simulate { shape: Shape::OpenNotify, step: None }, first.address).err().unwrap();
    let text = format!("{error:#}");
    assert!(
        text.starts_with(&format!("the simulated ISS cannot listen on {}; choose another port", first.address)),
        "{text}"
    );
}
