//! Who is at fault, as the exit code tells it.

use std::io;

use crate::control::client::ClientError;
use crate::log::LogError;
use crate::plugin::PluginError;
use crate::schema::SchemaError;
use crate::sink::SinkError;
use crate::source::SourceError;
use crate::{checkpoint, config, uri};

/// Whose turn it is to do something about an error; the number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Something failed while messages were moving.
    RunTime = 1,
    /// A pipeline file, the command line or a plugin is not as it must be.
    Configuration = 2,
    /// A broker, a service, a disk or a file is not there.
    Environment = 3,
}

impl Fault {
    /// Decided by the first error of the chain that one of the modules made.
    pub fn of(error: &anyhow::Error) -> Self {
        error.chain().find_map(known).unwrap_or(Self::RunTime)
    }

    pub fn code(self) -> u8 {
        self as u8
    }
}

/// Whether whoever read our output has gone away, as `head` does: the end of the work, not a failure.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| match cause.downcast_ref() {
        Some(SinkError::File { error, .. }) => broken(error),
        Some(SinkError::Closed) => true,
        Some(_) => false,
        None => cause.downcast_ref().is_some_and(broken),
    })
}

fn known(error: &(dyn std::error::Error + 'static)) -> Option<Fault> {
    if let Some(error) = error.downcast_ref() {
        return Some(match error {
            config::Error::File(_) => Fault::Environment,
            config::Error::Mistake(_) | config::Error::Arguments(_) => Fault::Configuration,
        });
    }
    if let Some(error) = error.downcast_ref() {
        return Some(log(error));
    }
    if let Some(error) = error.downcast_ref() {
        return Some(match error {
            SinkError::File { .. }
            | SinkError::Checkpoint { .. }
            | SinkError::Fenced { .. }
            | SinkError::Place { .. }
            | SinkError::Interrupted { .. } => Fault::Environment,
            SinkError::Log(error) => log(error),
            SinkError::NoColumns { .. } | SinkError::Columns { .. } => Fault::Configuration,
            SinkError::Closed => Fault::RunTime,
        });
    }
    if let Some(error) = error.downcast_ref() {
        return Some(match error {
            SourceError::Unreachable(_) | SourceError::File { .. } => Fault::Environment,
            SourceError::Log(error) => log(error),
        });
    }
    if let Some(error) = error.downcast_ref() {
        return Some(match error {
            PluginError::Read { .. } | PluginError::Engine(_) => Fault::Environment,
            PluginError::Trap { .. } | PluginError::Limit { .. } | PluginError::Nonsense { .. } => Fault::RunTime,
            PluginError::NotAComponent { .. }
            | PluginError::Uncompiled { .. }
            | PluginError::Imports { .. }
            | PluginError::Exports { .. }
            | PluginError::Mismatch { .. }
            | PluginError::Schema { .. }
            | PluginError::Settings { .. }
            | PluginError::Refused { .. }
            | PluginError::State { .. } => Fault::Configuration,
        });
    }
    if let Some(error) = error.downcast_ref() {
        return Some(match error {
            ClientError::Refused(_) => Fault::Configuration,
            ClientError::Nobody(_) | ClientError::Unreachable(_) => Fault::Environment,
        });
    }
    if let Some(error) = error.downcast_ref() {
        return Some(match error {
            SchemaError::File { .. } | SchemaError::Refused(_) => Fault::Configuration,
            SchemaError::Unreachable(_) => Fault::Environment,
        });
    }
    if error.is::<checkpoint::Refusal>() || error.is::<uri::UriError>() {
        return Some(Fault::Configuration);
    }
    error.is::<io::Error>().then_some(Fault::Environment)
}

fn log(error: &LogError) -> Fault {
    match error {
        LogError::Unreachable(_) | LogError::Interrupted { .. } | LogError::Broken { .. } => Fault::Environment,
        LogError::NoTopic { .. } | LogError::Name(_) | LogError::Partitions { .. } => Fault::Configuration,
        LogError::TooLarge { .. } => Fault::RunTime,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_innermost_known_error_decides_through_any_context() {
        let unreachable = || LogError::Unreachable("nobody at localhost:1".into());
        let cases: [(anyhow::Error, Fault); 6] = [
            (unreachable().into(), Fault::Environment),
            (SourceError::Log(unreachable()).into(), Fault::Environment),
            (LogError::Name("a b".into()).into(), Fault::Configuration),
            (config::Error::Arguments("x".into()).into(), Fault::Configuration),
            (io::Error::from(io::ErrorKind::AddrInUse).into(), Fault::Environment),
            (anyhow::anyhow!("a thread panicked"), Fault::RunTime),
        ];
        for (error, fault) in cases {
            let text = error.to_string();
            assert_eq!(Fault::of(&Err::<(), _>(error).context("while running").unwrap_err()), fault, "{text}");
        }
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&gone().into()));
        assert!(is_broken_pipe(&SinkError::File { path: "standard output".into(), error: gone() }.into()));
        assert!(!is_broken_pipe(&anyhow::anyhow!("other")));
    }
}
