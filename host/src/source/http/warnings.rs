//! Warnings that say a thing once: the same cause at most every ten seconds.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::failure::{Cause, Failure};

const QUIET: Duration = Duration::from_secs(10);

/// When each cause was last warned of, and how often it has come up since.
#[derive(Default)]
pub struct Warnings(HashMap<String, (Instant, u64)>);

impl Warnings {
    /// Warns of a failed poll of `place`, unless its cause was warned of just now.
    pub fn failed(&mut self, place: &str, failure: &Failure) {
        if let Some(silent) = self.due(failure.cause, Instant::now()) {
            let since =
                if silent == 0 { String::new() } else { format!(" ({silent} more like it since the last warning)") };
            tracing::warn!("polling {place}: {failure}{since}");
        }
    }

    /// How many were not warned of since the last warning, if one is due.
    fn due(&mut self, cause: Cause, now: Instant) -> Option<u64> {
        match self.0.get_mut(&cause.to_string()) {
            Some((last, silent)) if now.duration_since(*last) < QUIET => {
                *silent += 1;
                None
            }
            _ => self.0.insert(cause.to_string(), (now, 0)).map_or(Some(0), |(_, silent)| Some(silent)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cause_is_warned_of_every_ten_seconds() {
        let (mut warnings, start) = (Warnings::default(), Instant::now());
        assert_eq!(warnings.due(Cause::Timeout, start), Some(0));
        assert_eq!(warnings.due(Cause::Timeout, start + QUIET / 2), None);
        assert_eq!(warnings.due(Cause::Status(500), start + QUIET / 2), Some(0));
        assert_eq!(warnings.due(Cause::Timeout, start + QUIET), Some(1));
        assert_eq!(warnings.due(Cause::Timeout, start + QUIET * 2), Some(0));
    }
}
