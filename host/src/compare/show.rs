//! A report for a person: who was compared, what was counted, and the first differences side by side.

use std::fmt::{self, Display, Formatter};

use super::{Difference, Report};
use crate::config::text::excerpt;

/// A text that may have come from another host, fit for a terminal.
fn printable(text: &str) -> String {
    excerpt(text, 1000)
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        costs(self, f)?;
        writeln!(f, "\n{:24} {}", "messages in", self.messages)?;
        for (what, count) in [
            ("equal", self.equal),
            ("changed", self.changed),
            ("added by the new one", self.added),
            ("missing in the new one", self.missing),
            ("rejected by both", self.rejected_by_both),
            ("rejected by old only", self.rejected_by_old_only),
            ("rejected by new only", self.rejected_by_new_only),
        ] {
            writeln!(f, "{what:24} {count}")?;
        }
        if !self.fields.is_empty() {
            writeln!(f, "\nfields that changed, and in how many messages")?;
            self.fields.iter().try_for_each(|(field, count)| writeln!(f, "  {:30} {count}", printable(field)))?;
        }
        if !self.differences.is_empty() {
            writeln!(f, "\nthe first differences: what the old one has -> what the new one has")?;
            self.differences.iter().try_for_each(|difference| write!(f, "{difference}"))?;
        }
        if let Some(reason) = &self.failed {
            writeln!(f, "\nthe new one FAILED: {}", printable(reason))?;
        }
        Ok(())
    }
}

impl Display for Difference {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let what = printable(&self.what);
        match self.offset {
            Some(offset) => writeln!(f, "  partition {} offset {offset}: {what}", self.partition)?,
            None => writeln!(f, "  partition {} as time passed: {what}", self.partition)?,
        }
        let text = |text: &Option<String>| text.as_deref().map_or_else(|| "(none)".to_owned(), printable);
        self.fields
            .iter()
            .try_for_each(|(field, old, new)| writeln!(f, "    {:20} {} -> {}", printable(field), text(old), text(new)))
    }
}

fn costs(Report { old, new, .. }: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    let row =
        |f: &mut Formatter<'_>, what: &str, old: String, new: String| writeln!(f, "{what:24} {old:>24} {new:>24}");
    let short = |hash: &str| printable(hash.get(..8).unwrap_or(hash));
    row(f, "", "old".to_owned(), "new".to_owned())?;
    row(f, "plugin", printable(&old.plugin), printable(&new.plugin))?;
    row(f, "hash", short(&old.hash), short(&new.hash))?;
    row(f, "ns for each message", format!("{:.0}", old.ns_per_message), format!("{:.0}", new.ns_per_message))?;
    row(f, "µs for a call, median", format!("{:.0}", old.call_p50), format!("{:.0}", new.call_p50))?;
    row(f, "µs for a call, p99", format!("{:.0}", old.call_p99), format!("{:.0}", new.call_p99))?;
    row(f, "KiB of memory", (old.memory >> 10).to_string(), (new.memory >> 10).to_string())
}
