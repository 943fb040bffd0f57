//! What librdkafka and brokers say went wrong: in a person's words, and whether it is for a moment, for a producer's
//! lifetime, or for good.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::client::Cluster;
use crate::log::LogError;

impl Cluster {
    pub(super) fn broken(&self, error: String) -> LogError {
        LogError::Broken { log: self.name.clone(), error }
    }

    pub(super) fn interrupted(&self, error: String) -> LogError {
        LogError::Interrupted { log: self.name.clone(), error }
    }

    pub(super) fn error(&self, topic: &str, error: &KafkaError) -> LogError {
        match (error, error.rdkafka_error_code()) {
            // The crate has a code here, and does not give it.
            (KafkaError::AdminOp(code), _) => self.fault(topic, *code),
            (_, Some(code)) => self.fault(topic, code),
            (_, None) => self.broken(text(error)),
        }
    }

    pub(super) fn fault(&self, topic: &str, code: Code) -> LogError {
        match code {
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                LogError::NoTopic { topic: topic.to_owned(), log: self.name.clone() }
            }
            // A broker that was killed can take us for the former self that it had written down.
            code if passing(code) || code == Code::FencedInstanceId => self.interrupted(explain(topic, code)),
            code => self.broken(explain(topic, code)),
        }
    }
}

/// An error without a code, without the value of a setting: that may be a password.
pub(super) fn text(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, _, key, _) => {
            format!("Kafka setting {key:?} has a value that librdkafka does not take; correct it under [client]")
        }
        error => error.to_string(),
    }
}

/// What an error means and what to do; `topic` is empty where it concerns the cluster.
pub(super) fn explain(topic: &str, code: Code) -> String {
    let next = match code {
        Code::TopicAuthorizationFailed => "this user may not use the topic; grant it the right (kafka-acls)",
        Code::GroupAuthorizationFailed => "this user may not use the consumer group; grant it the right (kafka-acls)",
        Code::TransactionalIdAuthorizationFailed => {
            "this user may not use transactions; grant it the right to transactional ids that begin with apogee. \
             (kafka-acls)"
        }
        Code::ClusterAuthorizationFailed => "this user may not do that in the cluster; grant it the right (kafka-acls)",
        Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL => {
            "the broker does not accept who we are; check security.protocol, sasl.* and ssl.* under [client]"
        }
        Code::PolicyViolation => "the cluster's policy forbids it; ask who runs the cluster",
        Code::InvalidTimestamp => {
            "the topic does not take a timestamp so far from the broker's clock; raise message.timestamp.after.max.ms \
             and message.timestamp.before.max.ms of the topic"
        }
        Code::InvalidReplicationFactor => "the cluster has fewer brokers than its default.replication.factor asks for",
        Code::InvalidTransactionTimeout => {
            "the broker allows shorter transactions only; lower transaction.timeout.ms under [client], or raise the \
             broker's transaction.max.timeout.ms"
        }
        Code::ProducerFenced | Code::Fenced | Code::InvalidProducerEpoch | Code::InvalidProducerIdMapping => {
            "another worker has taken over"
        }
        Code::FencedInstanceId => {
            "another host runs as the same member of the group; if the folder beside the log (FILE.members) was \
             copied from another machine, delete it in the copy"
        }
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            "too few replicas are in sync; see that all brokers run"
        }
        Code::MessageTimedOut | Code::RequestTimedOut | Code::OperationTimedOut => {
            "the broker did not answer in time; see that it runs, and run again"
        }
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve => {
            "no broker can be reached; see that one runs, and run again"
        }
        Code::BadCompression => {
            "messages cannot be decompressed: they are damaged, or larger than receive.message.max.bytes under [client] \
             (100000000 by default); raise that"
        }
        _ => "librdkafka says what is wrong, in brackets",
    };
    match topic {
        "" => format!("{next} ({code})"),
        topic => format!("topic {topic:?}: {next} ({code})"),
    }
}

/// Whether what failed may succeed in a moment.
pub(super) fn passing(code: Code) -> bool {
    matches!(
        code,
        Code::RebalanceInProgress
            | Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::WaitingForCoordinator
            | Code::NotCoordinator
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::UnstableOffsetCommit
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::KafkaStorageError
            | Code::RequestTimedOut
            | Code::OperationTimedOut
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
    )
}

/// Whether a new producer may do what one failed at: true of all that is not a fault of a setting, a right or a message.
pub(super) fn curable(code: Code) -> bool {
    !matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::SSL
            | Code::InvalidTransactionTimeout
            | Code::InvalidTimestamp
            | Code::InvalidRecord
            | Code::InvalidTopic
            | Code::PolicyViolation
            | Code::UnsupportedVersion
            | Code::UnsupportedForMessageFormat
            | Code::UnsupportedFeature
            | Code::InvalidArgument
            | Code::InvalidConfig
    )
}

/// Whether a reader that hears of it has nothing to wait for.
pub(super) fn final_for_a_reader(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::InconsistentGroupProtocol
            | Code::InvalidGroupId
            | Code::InvalidSessionTimeout
            | Code::FencedInstanceId
            | Code::BadMessage
            | Code::BadCompression
            | Code::NotImplemented
            | Code::Fatal
    )
}
