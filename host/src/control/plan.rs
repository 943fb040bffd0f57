//! What a swap would change, and whether it may.
//!
//! Refuses what would break a pipeline that runs, with the reason and the way out. Looks at versions and configuration
//! only: whether the new version takes the state that is kept shows when it is given to it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::text::excerpt;
use crate::config::{Sink, set};
use crate::control::api::Plan;
use crate::control::handle::{Handle, Refused};
use crate::partitioning::Verdict;
use crate::plugin::{Field, Plugin};
use crate::version::Version;

/// Most characters of a setting or of a list of names that are shown.
const SHOWN: usize = 200;

/// Which plugin of a line is meant: the one of that name or place, or the one that is called as the new one is. Places
/// are counted through the whole line, from 1, as the pipeline file has them.
pub(super) fn place(line: &[Arc<Handle>], wanted: Option<&str>, new: &Plugin) -> Result<(Arc<Handle>, usize), Refused> {
    let mut plugins = Vec::new();
    for handle in line {
        let names = handle.versions.current().into_iter().map(|version| version.plugin.description.name).enumerate();
        plugins.extend(names.map(|(slot, name)| (name, handle, slot)));
    }
    let name = wanted.unwrap_or(&new.description.name);
    let found: Vec<usize> = (0..plugins.len()).filter(|&place| plugins[place].0 == name).collect();
    let by_number = || name.parse::<usize>().ok()?.checked_sub(1).filter(|&place| place < plugins.len());
    match (found.as_slice(), wanted) {
        ([place], _) => Ok(*place),
        ([], Some(_)) if by_number().is_some() => by_number().ok_or(()),
        _ => Err(()),
    }
    .map(|place| (plugins[place].1.clone(), plugins[place].2))
    .map_err(|()| {
        let there: Vec<String> =
            plugins.iter().zip(1..).map(|((name, _, _), place)| format!("{place} {name}")).collect();
        let how_many = if found.is_empty() { "no plugin" } else { "more than one plugin" };
        Refused::Unknown(format!(
            "pipeline {} has {how_many} \"{}\"; say which one is meant with --plugin and its name or number: {}",
            line.first().map_or("", |handle| handle.of.as_str()),
            excerpt(name, 100),
            there.join(", ")
        ))
    })
}

/// The present settings with `KEY=VALUE` changes.
pub(super) fn settings(present: &serde_json::Value, set: &[String]) -> Result<serde_json::Value, Refused> {
    let mut settings = present.as_object().cloned().unwrap_or_default();
    settings.extend(set::settings(set).map_err(|error| Refused::Unfit(error.to_string()))?);
    Ok(settings.into())
}

/// What would change from the version at `slot` of `current` to `new`. Refuses what would break the pipeline: a field that
/// the sink needs is gone, an import that the old one did not have, state where there was none or none where there was
/// some, another plugin's state, a group that would be counted in parts.
pub(super) fn plan(handle: &Handle, slot: usize, current: &[Version], new: &Version) -> Result<Plan, Refused> {
    let old = &current[slot];
    let changes = changes(old, new);
    if changes.is_empty() {
        return Err(Refused::Unfit(format!(
            "pipeline {}: {} ({}) with these settings is what runs already",
            handle.pipeline.name,
            new.plugin.title(),
            &new.plugin.hash[..8]
        )));
    }
    let what = [state(old, new), imports(old, new), columns(handle, slot, new), groups(handle, slot, current, new)];
    match what.into_iter().flatten().next() {
        Some(what) => Err(Refused::Unfit(format!("{} runs on: {what}", old.plugin.title()))),
        None => Ok(Plan { pipeline: handle.pipeline.name.clone(), plugin: handle.place(slot), changes }),
    }
}

/// Why the state that is kept is not for the new version.
fn state(old: &Version, new: &Version) -> Option<String> {
    let (from, to) = (old.plugin.title(), new.plugin.title());
    let way_out = "put it into the pipeline file with another `group`, and start it anew";
    match (old.plugin.has_state(), new.plugin.has_state()) {
        (true, true) if old.plugin.description.name != new.plugin.description.name => {
            Some(format!("the state is that of {from}, and {to} is another plugin; {way_out}"))
        }
        (true, false) => Some(format!("{to} keeps no state, and that of {from} would be lost; {way_out}")),
        (false, true) => Some(format!(
            "{to} keeps state, and {from} does not: there is no place for it in the checkpoints of this pipeline; {way_out}"
        )),
        _ => None,
    }
}

/// What the new version asks of the host that the old one did not; of what interface version is no matter.
fn imports(old: &Version, new: &Version) -> Option<String> {
    let interface = |import: &String| import.split('@').next().unwrap_or_default().to_owned();
    let had: Vec<String> = old.plugin.imports.iter().map(interface).collect();
    let asked: Vec<&str> =
        new.plugin.imports.iter().filter(|import| !had.contains(&interface(import))).map(String::as_str).collect();
    (!asked.is_empty()).then(|| {
        format!(
            "{} imports {}, which it does not; where that is wanted, put it into the pipeline file and start it anew",
            new.plugin.title(),
            excerpt(&asked.join(", "), SHOWN)
        )
    })
}

/// Why a sink with columns cannot take what the last plugin would put out. Its columns are those of what it was opened
/// for: it refuses a message with another field, and would leave a column that is gone empty for ever. Only CSV does not
/// mind of which kind they are.
fn columns(handle: &Handle, slot: usize, new: &Version) -> Option<String> {
    let sink = &handle.pipeline.sink;
    if matches!(sink, Sink::Topic(_) | Sink::Stdout) {
        return None;
    }
    let last = handle.versions.file().last().filter(|_| slot + 1 == handle.versions.file().len())?;
    let column = |field: &Field| match sink {
        Sink::Csv(_) => field.name.clone(),
        _ => format!("{} ({})", field.name, field.kind),
    };
    let names = |version: &Version| version.opened.fields.iter().map(column).collect::<Vec<_>>();
    let (columns, fields) = (names(last), names(new));
    let without = |all: &[String], those: &[String]| {
        let left: Vec<&str> = all.iter().filter(|name| !those.contains(name)).map(String::as_str).collect();
        (!left.is_empty()).then(|| excerpt(&left.join(", "), SHOWN))
    };
    let (gone, come) = (without(&columns, &fields), without(&fields, &columns));
    let what = match (fields.as_slice(), gone, come) {
        ([], ..) => "does not say which fields it puts out under these settings".to_owned(),
        (_, Some(gone), None) => format!("has no field {gone}"),
        (_, None, Some(come)) => format!("has a new field {come}"),
        (_, Some(gone), Some(come)) => format!("has no field {gone}, and a new field {come}"),
        (_, None, None) => return None,
    };
    Some(format!(
        "{sink} has the columns {}, and {} {what}; for other columns put it into the pipeline file, with \
         another place, and start it anew",
        excerpt(&columns.join(", "), SHOWN),
        new.plugin.title()
    ))
}

/// Why messages of one group would come into several partitions.
fn groups(handle: &Handle, slot: usize, current: &[Version], new: &Version) -> Option<String> {
    let (old, pipeline) = (&current[slot], &handle.pipeline);
    let way_out = "put it into the pipeline file with other topics and another `group`, and start it anew";
    let list = |names: &[String]| excerpt(&list(names), SHOWN);
    // The partitions of the topic after this stage hold what was keyed before, and the next stage its state.
    if pipeline.name != handle.of && pipeline.partitions > 1 && old.opened.key != new.opened.key {
        let (was, is) = (list(&old.opened.key), list(&new.opened.key));
        return Some(format!(
            "it makes a key of the fields {was}, by which the topic after it is partitioned, and {} of {is}: groups \
             would be in several partitions, and be counted in parts; {way_out}",
            new.plugin.title()
        ));
    }
    // What holds for some fields holds for these and more.
    let kept = old.opened.groups.iter().all(|group| new.opened.groups.contains(group));
    if pipeline.upstream.is_some() && pipeline.partitions > 1 && !kept {
        let (was, is) = (list(&old.opened.groups), list(&new.opened.groups));
        return Some(format!(
            "it keeps its state by {was}, for which the topic before it is partitioned, and {} by {is}: groups would be \
             in several partitions, and be counted in parts; {way_out}",
            new.plugin.title()
        ));
    }
    let mut changed = current.to_vec();
    changed[slot] = new.clone();
    let before = crate::load::findings(std::iter::once((pipeline, current)));
    let after = crate::load::findings(std::iter::once((pipeline, changed.as_slice())));
    let split = after.into_iter().find(|finding| finding.verdict == Verdict::Split && !before.contains(finding));
    split.map(|finding| finding.to_string())
}

/// All that is another thing than it was, in the order in which a person asks.
fn changes(old: &Version, new: &Version) -> Vec<(String, String, String)> {
    let (before, after) = (&old.plugin, &new.plugin);
    let (described, describes) = (&before.description, &after.description);
    let mut rows = Vec::new();
    let mut row = |what: String, most: usize, before: &str, after: &str| {
        if before != after {
            rows.push((what, excerpt(before, most), excerpt(after, most)));
        }
    };
    row("plugin".to_owned(), SHOWN, &described.name, &describes.name);
    row("version".to_owned(), SHOWN, &described.version, &describes.version);
    row("hash".to_owned(), 8, &before.hash, &after.hash);
    for (what, before, after) in
        [("setting", settings_of(old), settings_of(new)), ("field", fields_of(old), fields_of(new))]
    {
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let text = |value: Option<&'_ String>| value.map_or_else(|| "(none)".to_owned(), Clone::clone);
        for name in names {
            let (before, after) = (text(before.get(name)), text(after.get(name)));
            row(format!("{what} {}", excerpt(name, 100)), SHOWN, &before, &after);
        }
    }
    for (what, before, after) in [
        ("key", &old.opened.key, &new.opened.key),
        ("groups", &old.opened.groups, &new.opened.groups),
        ("imports", &before.imports, &after.imports),
        ("exports", &before.exports, &after.exports),
    ] {
        row(what.to_owned(), SHOWN, &list(before), &list(after));
    }
    row("limits".to_owned(), 400, &format!("{:?}", old.limits), &format!("{:?}", new.limits));
    rows
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn settings_of(version: &Version) -> BTreeMap<String, String> {
    let settings = version.settings.as_object().into_iter().flatten();
    settings.map(|(key, value)| (key.clone(), value.to_string())).collect()
}

fn fields_of(version: &Version) -> BTreeMap<String, String> {
    version.opened.fields.iter().map(|field| (field.name.clone(), kind(field))).collect()
}

fn kind(field: &Field) -> String {
    format!("{}{}", field.kind, if field.nullable { " or null" } else { "" })
}
