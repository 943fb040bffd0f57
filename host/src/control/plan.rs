//! What a swap would change, and whether it may.

use std::sync::Arc;

use crate::control::api::Plan;
use crate::control::handle::{Handle, Refused};
use crate::plugin::Plugin;
use crate::versions::Version;

/// Which plugin of a line is meant: the one of that name or place, or the one that is called as the new one is.
pub(super) fn place(line: &[Arc<Handle>], wanted: Option<&str>, new: &Plugin) -> Result<(Arc<Handle>, usize), Refused> {
    let _ = (line, wanted, new);
    todo!()
}

/// The present settings with `KEY=VALUE` changes.
pub(super) fn settings(present: &serde_json::Value, set: &[String]) -> Result<serde_json::Value, Refused> {
    let _ = (present, set);
    todo!()
}

/// What would change from the version at `slot` of `current` to `new`. Refuses what would break the pipeline: a field that
/// the sink needs is gone, an import that the old one did not have, state where there was none or none where there was
/// some, another plugin's state, a group that would be counted in parts.
pub(super) fn plan(handle: &Handle, slot: usize, current: &[Version], new: &Version) -> Result<Plan, Refused> {
    let _ = (handle, slot, current, new);
    todo!()
}
