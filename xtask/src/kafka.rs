//! Apache Kafka from its published jars: one broker on loopback, for tests and for people. Never a mock.
//!
//! Needs Java 17 and, the first time, Maven.

pub(crate) mod broker;
pub(crate) mod jars;

pub use broker::Broker;

use std::ffi::OsStr;
use std::process::Command;

use anyhow::Result;

use crate::command;

/// Where each Kafka program logs to, by level; the broker says when it is ready, and what it warns of.
const LOGGING: &str = "\
appender.c.type=Console
appender.c.name=c
appender.c.target=SYSTEM_ERR
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=[%d] %p %m (%c)%n
rootLogger.level=WARN
rootLogger.appenderRef.c.ref=c
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=INFO
";

/// Runs a Kafka tool, such as `org.apache.kafka.tools.TopicCommand`, and gives what it wrote to stdout.
pub fn tool<S: AsRef<OsStr>>(class: &str, args: impl IntoIterator<Item = S>) -> Result<Vec<u8>> {
    command::output(java()?.arg(class).args(args))
}

/// Java with Kafka's jars, its heap and its log bounded.
pub fn java() -> Result<Command> {
    let jars = jars::folder()?;
    let mut java = Command::new("java");
    java.args(["-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"])
        .arg(format!("-Dlog4j2.configurationFile={}", jars.join("log4j2.properties").display()))
        .arg("-cp")
        .arg(jars.join("*"));
    Ok(java)
}
