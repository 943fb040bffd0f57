//! The real Kafka broker that the tests use.

/// Addresses of a broker that tests may use as they like; each test uses topics of its own.
pub fn brokers() -> String {
    std::env::var("KAFKA_BROKERS").expect(
        "these tests need a Kafka broker: set KAFKA_BROKERS=HOST:PORT, or run them with: cargo xtask test",
    )
}
