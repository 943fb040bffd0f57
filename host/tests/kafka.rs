//! The Kafka brokers that the tests share: `KAFKA_BROKERS`, else one that is started when the first test asks.

use std::path::Path;
use std::sync::OnceLock;

use xtask::kafka::{Broker, tool};

/// `HOST:PORT[,…]` of brokers that answer. They hold other tests' topics too: name yours so that they do not meet.
pub fn brokers() -> String {
    static STARTED: OnceLock<Broker> = OnceLock::new();
    match std::env::var("KAFKA_BROKERS") {
        Ok(brokers) if !brokers.is_empty() => brokers,
        // Never dropped: it ends with the process.
        _ => STARTED
            .get_or_init(|| Broker::scratch(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a Kafka broker to test on"))
            .address(),
    }
}

/// The values of a topic, one a line, as Apache Kafka's own console consumer sees them: all there are when none
/// has come for 5 s.
pub fn console_consumer(topic: &str) -> Vec<String> {
    let args = ["--bootstrap-server", &brokers(), "--topic", topic, "--from-beginning", "--timeout-ms", "5000"];
    let said = tool("org.apache.kafka.tools.consumer.ConsoleConsumer", args).expect("the console consumer reads");
    String::from_utf8(said).expect("values are text").lines().map(str::to_owned).collect()
}
