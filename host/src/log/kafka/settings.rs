//! Which of librdkafka's settings a pipeline file may set: those on a list, and no others.
//!
//! A pipeline file may come from somebody else, so nothing in it may load code, run a command or read a
//! file as code; and it may not undo what the host's promises rest on.

/// A trailing `.` allows all settings below a name, except for those that [`REFUSED`] names.
const ALLOWED: &[&str] = &[
    "api.version.request",
    "api.version.request.timeout.ms",
    "batch.num.messages",
    "broker.address.family",
    "broker.address.ttl",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.codec",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "enable.metrics.push",
    "enable.ssl.certificate.verification",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "heartbeat.interval.ms",
    "linger.ms",
    "max.poll.interval.ms",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.max.age.ms",
    "metadata.recovery.",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.",
    "request.timeout.ms",
    "retries",
    "retry.backoff.",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "session.timeout.ms",
    "socket.",
    "ssl.ca.certificate.stores",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.sigalgs.list",
    "sticky.partitioning.linger.ms",
    "topic.metadata.refresh.",
    "transaction.timeout.ms",
];

/// What is not allowed for a reason of its own; the first that matches counts.
const REFUSED: &[(&str, &str)] = &[
    ("plugin.library.paths", "it loads code into the host"),
    ("interceptors", "it loads code into the host"),
    ("ssl.engine.", "it loads code into the host"),
    ("ssl_engine_callback_data", "it loads code into the host"),
    ("ssl.providers", "it loads code into the host"),
    // Not the command alone: librdkafka puts keytab and principal into it, and the shell reads what is in them.
    ("sasl.kerberos.", "it goes into a shell command of librdkafka's; use SCRAM, PLAIN or certificates instead"),
    ("sasl.oauthbearer.", "it makes the host call addresses and read files of its choosing"),
    ("enable.sasl.oauthbearer.unsecure.jwt", "tokens that nobody signed protect nothing"),
    ("bootstrap.servers", "the address of the topic says it: kafka://HOST:PORT/TOPIC"),
    ("metadata.broker.list", "the address of the topic says it: kafka://HOST:PORT/TOPIC"),
    ("group.id", "the pipeline's `group` says it"),
    ("group.instance.id", "each worker has a name of its own"),
    ("auto.offset.reset", "the pipeline's `start` says it"),
    ("isolation.level", "the host reads only what is committed, for its exactly-once promise"),
    ("enable.auto.commit", "the host commits an offset only when its message has had its effect"),
    ("auto.commit.", "the host commits an offset only when its message has had its effect"),
    ("enable.auto.offset.store", "the host commits an offset only when its message has had its effect"),
    ("offset.store.", "the host keeps offsets in Kafka"),
    ("transactional.id", "the host names its transactions itself, to fence off former owners"),
    ("enable.idempotence", "the host relies on it, so that nothing is written twice"),
    ("acks", "the host relies on all replicas in sync, so that nothing is lost"),
    ("request.required.acks", "the host relies on all replicas in sync, so that nothing is lost"),
    ("partitioner", "the host uses Java's choice, so that all clients agree where a key is"),
    ("partition.assignment.strategy", "the host relies on cooperative-sticky"),
    ("group.protocol", "the host relies on the classic protocol"),
    ("allow.auto.create.topics", "topics are created on purpose: host topics create"),
    ("message.max.bytes", "the topic's max.message.bytes says it"),
    ("batch.size", "it follows from the topic's max.message.bytes"),
    // librdkafka's other names of what the host sets a default of: which of two names won would be chance.
    ("delivery.timeout.ms", "it is another name of message.timeout.ms; set that"),
    ("max.partition.fetch.bytes", "it is another name of fetch.message.max.bytes; set that"),
    ("queue.buffering.max.ms", "it is another name of linger.ms; set that"),
    ("debug", "the host's own log level says it"),
];

/// Whether a librdkafka setting may come from a pipeline file: those that name code, commands or
/// files to run, and those that the host itself depends on, may not. The error says why.
pub fn check_client_setting(key: &str) -> Result<(), String> {
    let matches = |name: &str| match name.strip_suffix('.') {
        Some(_) => key.len() > name.len() && key.starts_with(name),
        None => key == name,
    };
    if let Some((_, reason)) = REFUSED.iter().find(|(name, _)| matches(name)) {
        return Err(format!("Kafka setting {key:?} may not be set here: {reason}"));
    }
    if ALLOWED.iter().any(|name| matches(name)) {
        return Ok(());
    }
    let shown: String = key.chars().take(100).collect();
    let all = ALLOWED.iter().chain(REFUSED.iter().map(|(name, _)| name));
    let nearest = all.max_by(|a, b| strsim::jaro_winkler(a, &shown).total_cmp(&strsim::jaro_winkler(b, &shown)));
    Err(match nearest.filter(|name| strsim::jaro_winkler(name, &shown) > 0.9 && ALLOWED.contains(name)) {
        Some(name) => format!("Kafka setting {shown:?} is not one that may be set here; did you mean {name:?}?"),
        None => format!("Kafka setting {shown:?} is not one that may be set here"),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};
    use std::os::fd::IntoRawFd;

    use rdkafka::bindings::rd_kafka_conf_properties_show;

    use super::{ALLOWED, check_client_setting};

    /// librdkafka's own table of its settings: names and descriptions.
    fn table() -> Vec<(String, String)> {
        let mut file = tempfile::tempfile().unwrap();
        let written = file.try_clone().unwrap().into_raw_fd();
        // SAFETY: the descriptor is ours and nobody else's, and the stream made of it is used until it is closed here.
        unsafe {
            let stream = libc::fdopen(written, c"w".as_ptr());
            assert!(!stream.is_null());
            rd_kafka_conf_properties_show(stream.cast());
            assert_eq!(libc::fclose(stream), 0);
        }
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        let rows = text.lines().filter_map(|row| row.split_once('|'));
        rows.map(|(key, rest)| (key.trim().to_owned(), rest.to_owned())).collect()
    }

    /// Whoever brings another librdkafka sees here what it lets a pipeline file do.
    #[test]
    fn allows_nothing_of_librdkafkas_table_but_what_is_meant() {
        let table = table();
        assert!(table.len() > 150, "{table:?}");
        let mut by_prefix = Vec::new();
        for (key, description) in &table {
            let allowed = check_client_setting(key).is_ok();
            for marked in ["see dedicated API", "pointer", "callback", "library", "Shell command", "OAUTHBEARER"] {
                // The prose of two mentions one of these.
                let harmless = ["sasl.mechanism", "sasl.mechanisms", "ssl.ca.location", "ssl.ca.certificate.stores"];
                let marked = description.contains(marked) && !harmless.contains(&&**key);
                assert!(!(allowed && marked), "{key}: {description}");
            }
            if allowed && !ALLOWED.contains(&&**key) {
                by_prefix.push(&**key);
            }
        }
        by_prefix.sort_unstable();
        by_prefix.dedup();
        let meant = [
            "metadata.recovery.rebootstrap.trigger.ms",
            "metadata.recovery.strategy",
            "reconnect.backoff.jitter.ms",
            "reconnect.backoff.max.ms",
            "reconnect.backoff.ms",
            "retry.backoff.max.ms",
            "retry.backoff.ms",
            "socket.blocking.max.ms",
            "socket.connection.setup.timeout.ms",
            "socket.keepalive.enable",
            "socket.max.fails",
            "socket.nagle.disable",
            "socket.receive.buffer.bytes",
            "socket.send.buffer.bytes",
            "socket.timeout.ms",
            "topic.metadata.refresh.fast.cnt",
            "topic.metadata.refresh.fast.interval.ms",
            "topic.metadata.refresh.interval.ms",
            "topic.metadata.refresh.sparse",
        ];
        assert_eq!(by_prefix, meant);
        let known = |name: &&&str| name.ends_with('.') || table.iter().any(|(key, _)| key == **name);
        assert_eq!(ALLOWED.iter().filter(|name| !known(name)).collect::<Vec<_>>(), [&""; 0]);
    }

    /// Every setting of librdkafka's table that loads code, runs a command, calls back, or reaches out.
    #[test]
    fn refuses_what_runs_code() {
        let keys = [
            "plugin.library.paths",
            "interceptors",
            "sasl.kerberos.kinit.cmd",
            "sasl.kerberos.keytab",
            "sasl.kerberos.min.time.before.relogin",
            "sasl.kerberos.principal",
            "sasl.kerberos.service.name",
            "ssl.providers",
            "ssl.engine.location",
            "ssl.engine.id",
            "ssl_engine_callback_data",
            "ssl.certificate.verify_cb",
            "error_cb",
            "throttle_cb",
            "stats_cb",
            "log_cb",
            "background_event_cb",
            "socket_cb",
            "connect_cb",
            "closesocket_cb",
            "open_cb",
            "resolve_cb",
            "oauthbearer_token_refresh_cb",
            "consume_cb",
            "rebalance_cb",
            "offset_commit_cb",
            "dr_cb",
            "dr_msg_cb",
            "partitioner_cb",
            "opaque",
            "default_topic_conf",
            "msg_order_cmp",
            "internal.termination.signal",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.method",
            "sasl.oauthbearer.token.endpoint.url",
            "sasl.oauthbearer.assertion.file",
            "sasl.oauthbearer.assertion.private.key.file",
            "sasl.oauthbearer.assertion.jwt.template.file",
            "https.ca.location",
        ];
        for key in keys {
            assert!(check_client_setting(key).is_err(), "{key}");
        }
        let error = check_client_setting("sasl.kerberos.kinit.cmd").unwrap_err();
        assert_eq!(
            error,
            "Kafka setting \"sasl.kerberos.kinit.cmd\" may not be set here: \
             it goes into a shell command of librdkafka's; use SCRAM, PLAIN or certificates instead"
        );
    }

    #[test]
    fn refuses_what_the_host_rests_on() {
        let keys = [
            "isolation.level",
            "enable.auto.commit",
            "auto.commit.enable",
            "group.id",
            "group.instance.id",
            "transactional.id",
            "auto.offset.reset",
            "allow.auto.create.topics",
            "acks",
            "enable.idempotence",
            "bootstrap.servers",
        ];
        for key in keys {
            let error = check_client_setting(key).unwrap_err();
            assert!(error.contains("may not be set here: "), "{key}: {error}");
        }
    }

    #[test]
    fn refuses_other_names_of_what_the_host_sets() {
        let names = [
            ("delivery.timeout.ms", "message.timeout.ms"),
            ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
            ("queue.buffering.max.ms", "linger.ms"),
        ];
        for (other, name) in names {
            let error = check_client_setting(other).unwrap_err();
            assert!(error.ends_with(&format!("it is another name of {name}; set that")), "{error}");
            assert_eq!(check_client_setting(name), Ok(()));
        }
    }

    #[test]
    fn allows_the_rest_and_suggests() {
        for key in ["security.protocol", "sasl.username", "socket.timeout.ms", "ssl.ca.location", "linger.ms"] {
            assert_eq!(check_client_setting(key), Ok(()), "{key}");
        }
        let error = check_client_setting("security.protokol").unwrap_err();
        assert!(error.ends_with("did you mean \"security.protocol\"?"), "{error}");
        assert!(check_client_setting("socket.").is_err());
        for unknown in
            ["", " security.protocol", "SECURITY.PROTOCOL", "security.protocol\0", "ssl.engine", "new.setting"]
        {
            let error = check_client_setting(unknown).unwrap_err();
            assert!(error.contains("is not one that may be set here"), "{error}");
        }
        assert!(check_client_setting(&"x".repeat(100_000)).unwrap_err().len() < 300);
    }
}
