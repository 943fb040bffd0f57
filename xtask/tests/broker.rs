//! A real broker: what was written is there after kill -9, on the same address.

use std::path::Path;

use xtask::kafka::{Broker, tool};

const TOPIC: &str = "org.apache.kafka.tools.TopicCommand";

#[test]
fn a_killed_broker_comes_back_with_its_topics() {
    let mut broker = Broker::scratch(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    let address = broker.address();
    tool(TOPIC, ["--bootstrap-server", &address, "--create", "--topic", "kept", "--partitions", "3"]).unwrap();

    broker.kill();
    assert_eq!(broker.pid(), None);
    broker.restart().unwrap();

    assert_eq!(broker.address(), address);
    let topics = tool(TOPIC, ["--bootstrap-server", &address, "--list"]).unwrap();
    assert_eq!(String::from_utf8(topics).unwrap(), "kept\n");
    broker.stop().unwrap();
    assert!(std::net::TcpStream::connect(&address).is_err());
}
