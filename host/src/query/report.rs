//! What has become of the messages of a line: how many came, how many went on, and why the others did not.

use serde_json::{Map, Value, json};

use crate::control::handle::Handle;

/// Of the first pipeline of a line, where messages come in: `total` of them, of which `success` went on, and what
/// befell the others by cause: `transform` where a plugin rejected them or failed on them, else what the source or the
/// sink said.
pub(super) fn report(line: &[std::sync::Arc<Handle>]) -> Value {
    let Some(first) = line.first() else { return json!({}) };
    let counters = first.counters.own();
    let total = counters.get("messages in").copied().unwrap_or(0);
    let mut errors = vec![("transform".to_owned(), 0)];
    if first.pipeline.sink_schema.is_some() {
        errors.push(("invalid schema".to_owned(), 0));
    }
    for (name, count) in counters {
        let Some(by) = name.strip_prefix("rejected by ") else { continue };
        let cause = match by.split_once(": ") {
            Some(("sink", cause)) => cause,
            Some(("source", cause)) => cause,
            _ => "transform",
        };
        match errors.iter_mut().find(|(known, _)| known == cause) {
            Some((_, sum)) => *sum += count,
            None => errors.push((cause.to_owned(), count)),
        }
    }
    let success = total.saturating_sub(errors.iter().map(|(_, count)| count).sum());
    let error = |(cause, count): (String, u64)| (cause, json!({ "count": count, "percent": percent(count, total) }));
    let errors: Map<String, Value> = errors.into_iter().map(error).collect();
    json!({ "total": total, "success": success, "success_percent": percent(success, total), "errors": errors })
}

/// With two decimals.
fn percent(part: u64, whole: u64) -> f64 {
    (part as f64 / whole.max(1) as f64 * 10_000.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_percentage_has_two_decimals() {
        let percents = [(66_765, 67_663), (898, 67_663), (0, 67_663), (0, 0), (1, 1)];
        assert_eq!(percents.map(|(part, whole)| super::percent(part, whole)), [98.67, 1.33, 0.0, 0.0, 100.0]);
    }
}
