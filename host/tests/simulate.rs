//! The simulated feeds, over real HTTP.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use host::metrics::Counters;
use host::simulate::Server;
use host::simulate::iss::{open_notify, where_the_iss_at};
use host::simulate::{flights, turnstiles};
use host::source::http::{HttpSource, Key, Options, probe};
use host::source::{Poll, Source};
use host::uri::{Flights, Iss, Shape, Simulate, Turnstiles};

fn server(step: Option<u64>) -> Server {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    Server::start(&iss(step), address).unwrap()
}

fn iss(step: Option<u64>) -> Simulate {
    Simulate::Iss(Iss { shape: Shape::OpenNotify, step })
}

fn options(url: String) -> Options {
    Options {
        url: url.parse().unwrap(),
        every: Duration::from_millis(1),
        deadline: Duration::from_secs(10),
        max_body: 1 << 20,
        max_decoded: 1 << 20,
        distinct: None,
        key: None,
    }
}

/// The first `n` replies.
fn replies(url: String, n: usize) -> Vec<String> {
    messages(options(url), n).into_iter().map(|(_, value)| value).collect()
}

/// Key and value of the first `n` messages.
fn messages(options: Options, n: usize) -> Vec<(Option<String>, String)> {
    let counters = Counters::default();
    let mut source = HttpSource::new(options, counters.clone()).unwrap();
    let mut messages = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    while messages.len() < n {
        match source.poll(Duration::from_secs(20)).unwrap() {
            Poll::Messages(fetch) => {
                assert!(fetch.rejected.is_empty(), "{:?}", fetch.rejected);
                let pairs = fetch.batch.keys.iter().zip(&fetch.batch.values);
                messages.extend(pairs.map(|(key, value)| (key.map(text), text(value.unwrap()))));
            }
            Poll::Assigned(_) => source.start(0, None).unwrap(),
            other => panic!("{other:?} after {} replies, {:?}", messages.len(), counters.snapshot()),
        }
    }
    messages
}

/// A reply as it is, whatever it is.
fn get(url: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { reqwest::get(url).await.unwrap().text().await.unwrap() })
}

#[test]
fn turnstiles_send_rows_of_csv_that_are_keyed_by_their_id() {
    let asked = Turnstiles { step: Some(10_000), seed: 7, duplicates: 0.2, late: 0.1 };
    let mut feed = turnstiles::Feed::new(&asked);
    let expected: Vec<String> = (0..200).map(|_| feed.message()).collect();
    let server = Server::start(&Simulate::Turnstiles(asked), SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let options = Options { key: Some(Key::Field(11)), ..options(server.url("/turnstiles.csv")) };
    let found = messages(options, 200);
    let keyed = |row: &String| (row.split(',').nth(11).map(str::to_owned), row.clone());
    assert_eq!(found, expected.iter().map(keyed).collect::<Vec<_>>());
}

#[test]
fn flights_are_a_row_a_reply_or_a_file() {
    let server = Server::start(&Simulate::Flights(Flights { seed: 9 }), SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let rows: Vec<_> = (0..100).map(|number| flights::row(9, number)).collect();
    let expected: Vec<String> = rows.iter().map(|row| serde_json::json!(row).to_string()).collect();
    assert_eq!(replies(server.url("/route"), 100), expected);
    let file = get(&server.url("/routes.dat?rows=100"));
    assert!(file.lines().eq(rows.iter().map(|row| row.join(","))), "{file}");
    let whole = get(&server.url("/routes.dat"));
    assert_eq!(whole.lines().count(), 67_663);
    let unknown = whole.lines().filter(|row| row.contains("\\N")).count();
    assert!((700..1_400).contains(&unknown), "{unknown} rows have an id that is not known");
}

#[test]
fn with_a_step_the_replies_are_the_same_every_time() {
    let expected: Vec<String> = (0..50).map(|n| open_notify(1_690_000_000_000 + n * 1500)).collect();
    for _ in 0..2 {
        let server = server(Some(1500));
        assert_eq!(replies(server.url("/iss-now.json"), 50), expected);
    }
    assert!(expected[0].ends_with(r#", "timestamp": 1690000000, "message": "success"}"#), "{}", expected[0]);
    assert!(expected[1].contains(r#""timestamp": 1690000001,"#), "{}", expected[1]);
}

#[test]
fn both_shapes_come_from_one_clock() {
    let server = server(Some(1000));
    assert_eq!(replies(server.url("/iss-now.json"), 1)[0], open_notify(1_690_000_000_000));
    // The source above may have polled once more before it ended.
    let reply = &replies(server.url("/v1/satellites/25544"), 1)[0];
    assert!((1..5).any(|n| *reply == where_the_iss_at(1_690_000_000_000 + n * 1000)), "{reply}");
}

#[test]
fn without_a_step_it_follows_the_clock() {
    let seconds = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let before = seconds();
    let server = server(None);
    let reply: serde_json::Value = serde_json::from_str(&replies(server.url("/iss-now.json"), 1)[0]).unwrap();
    assert!((before..=seconds()).contains(&reply["timestamp"].as_u64().unwrap()));
}

#[test]
fn it_stops_when_dropped() {
    let server = server(None);
    let options = options(server.url("/iss-now.json"));
    probe(&options).unwrap();
    drop(server);
    probe(&options).unwrap_err();
}

#[test]
fn a_port_in_use_is_an_error_that_says_so() {
    let first = server(None);
    let error = Server::start(&iss(None), first.address).err().unwrap();
    let text = format!("{error:#}");
    assert!(
        text.starts_with(&format!("the simulated ISS cannot listen on {}; choose another port", first.address)),
        "{text}"
    );
}
