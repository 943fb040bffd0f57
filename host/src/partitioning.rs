//! Whether each plugin that keeps its state apart by group gets all messages of a group in one partition.
//!
//! Tasks share nothing: a group whose messages are in two partitions is two groups, and each is counted for itself.
//! Looks at what was configured and at what the plugins say; asks no broker.

use std::fmt;

use crate::config::text::excerpt;
use crate::config::{Pipeline, Source};
use crate::plugin::Opened;

/// A pipeline with what its plugins say, in order.
pub struct Stage<'a> {
    pub pipeline: &'a Pipeline,
    pub plugins: Vec<Says<'a>>,
}

/// What a plugin says about keys.
pub struct Says<'a> {
    pub name: &'a str,
    pub has_state: bool,
    pub opened: &'a Opened,
}

/// What a plugin with groups gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The name of the stage's pipeline.
    pub pipeline: String,
    pub plugin: String,
    pub verdict: Verdict,
    /// Why, and where it is not good, what to do.
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Each group is in one partition.
    Good,
    /// That cannot be seen from here.
    Unknown,
    /// A group can be in several partitions.
    Split,
}

/// By what messages were given to partitions.
#[derive(Debug, Clone)]
enum By<'a> {
    /// There is one partition only.
    One(&'static str),
    /// Each host has the topic for itself, and the stage before it is shared by hosts.
    EachHost(String),
    /// These fields, which the named plugin put into the key.
    Fields(&'a str, &'a [String]),
    /// Nothing: what is polled or read from a file has no key.
    Nothing,
    /// Whatever who wrote this topic chose.
    Others(String),
}

/// What each plugin gets that keeps state. `line` goes from the first stage to the last.
pub fn findings(line: &[Stage<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    // By what the messages are keyed, and whether several hosts share what the stage before reads.
    let (mut key, mut shared) = (None, false);
    for Stage { pipeline, plugins } in line {
        let reads = pipeline.reads();
        let by = match reads {
            None => By::One("what it reads is one partition"),
            Some(topic) if topic.brokers.is_none() && shared => By::EachHost(topic.to_string()),
            Some(topic) if pipeline.partitions == 1 && (ours(pipeline, &key) || topic.brokers.is_none()) => {
                By::One("the topic that it reads has one partition")
            }
            Some(_) => key.clone().unwrap_or_else(|| first(pipeline)),
        };
        shared = reads.is_some_and(|topic| topic.brokers.is_some());
        // Within a stage a message stays in its partition, whatever becomes of its key.
        let mut rekeyed = None;
        for says in plugins {
            if says.has_state || !says.opened.groups.is_empty() {
                let (verdict, why) = judge(&by, rekeyed, says);
                findings.push(Finding { pipeline: pipeline.name.clone(), plugin: says.name.to_owned(), verdict, why });
            }
            if !says.opened.key.is_empty() {
                rekeyed = Some(says);
            }
        }
        let kept = || key.unwrap_or_else(|| first(pipeline));
        key = Some(rekeyed.map_or_else(kept, |says: &Says<'_>| By::Fields(says.name, &says.opened.key)));
    }
    findings
}

/// Whether the topic that a stage reads was made by this line, with as many partitions as its configuration says.
fn ours(pipeline: &Pipeline, key: &Option<By<'_>>) -> bool {
    key.is_some() || pipeline.via.is_some()
}

/// By what messages are keyed that come from outside.
fn first<'a>(pipeline: &Pipeline) -> By<'a> {
    match &pipeline.source {
        Source::Topic(topic, _) => By::Others(topic.to_string()),
        Source::File(_) | Source::Delta(_) | Source::Http(_) | Source::Simulate(..) => By::Nothing,
    }
}

fn judge(by: &By<'_>, rekeyed: Option<&Says<'_>>, says: &Says<'_>) -> (Verdict, String) {
    // Who says no groups keeps state by the key, as the last plugin before it has made it.
    let groups: &[String] = match (says.opened.groups.as_slice(), rekeyed) {
        ([], Some(earlier)) => &earlier.opened.key,
        (groups, _) => groups,
    };
    let covers = |fields: &[String]| !fields.is_empty() && fields.iter().all(|field| groups.contains(field));
    let grouped = if groups.is_empty() { "the key".to_owned() } else { list(groups) };
    let consequence = consequence(groups, rekeyed.is_some_and(|earlier| covers(&earlier.opened.key)));
    match (by, rekeyed) {
        (By::One(why), _) => (Verdict::Good, (*why).to_owned()),
        (By::EachHost(topic), _) => (
            Verdict::Unknown,
            format!(
                "{topic} is in the log of this host: with a second host on the same topics each would keep its part of a \
                 group; for several hosts take a topic in Kafka"
            ),
        ),
        (_, Some(earlier)) if !covers(&earlier.opened.key) => (
            Verdict::Split,
            format!(
                "it keeps its state by {grouped}, and {} before it makes a key of {} without another topic; {consequence}",
                earlier.name,
                list(&earlier.opened.key)
            ),
        ),
        (By::Fields(plugin, fields), _) if groups.is_empty() || covers(fields) => (
            Verdict::Good,
            format!("{plugin} makes a key of {}, by which the topic between is partitioned", list(fields)),
        ),
        (By::Fields(plugin, fields), _) => (
            Verdict::Split,
            format!(
                "it keeps its state by {grouped}, and what it reads is partitioned by {}, as {plugin} says; {consequence}",
                list(fields)
            ),
        ),
        (By::Nothing, _) => {
            (Verdict::Split, format!("it keeps its state by {grouped}, and what it reads has no key; {consequence}"))
        }
        (By::Others(topic), None) if groups.is_empty() => {
            (Verdict::Good, format!("it keeps its state by the key, by which {topic} is partitioned"))
        }
        (By::Others(topic), None) => {
            (Verdict::Unknown, format!("{topic} must be keyed by {grouped}; this host cannot see whether it is"))
        }
        // Set too late: the messages are where who wrote the topic put them.
        (By::Others(topic), Some(earlier)) => (
            Verdict::Split,
            format!(
                "it keeps its state by {grouped}, and {} makes that the key only after {topic} was partitioned; \
                 {consequence}",
                earlier.name
            ),
        ),
    }
}

/// What happens to split groups, and the way out.
fn consequence(groups: &[String], keyed: bool) -> String {
    let quoted: Vec<String> = groups.iter().map(|group| format!("\"{group}\"")).collect();
    let mend = if groups.is_empty() || keyed {
        String::new()
    } else {
        format!("have a plugin before it make a key of them (flatten: `key = [{}]`) and ", list(&quoted))
    };
    format!(
        "the messages of one group can be in several partitions, and each is counted for itself; {mend}give this one \
         `through = \"kafka://…/TOPIC\"`, a topic before it"
    )
}

fn list(fields: &[String]) -> String {
    excerpt(&fields.join(", "), 200)
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Good => "good",
            Verdict::Unknown => "unknown",
            Verdict::Split => "WRONG",
        };
        write!(f, "{} is {verdict}: {}", self.plugin, self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, PluginSpec, Sink};
    use crate::plugin::Limits;

    /// A stage that reads `from`, with topics of `partitions`.
    fn stage<'a>(from: &str, partitions: u32, plugins: &[(&'a str, &'a Opened)]) -> (Pipeline, Vec<Says<'a>>) {
        let source = Source::new(&from.parse().unwrap()).unwrap();
        let spec = PluginSpec { path: "a.wasm".into(), settings: serde_json::json!({}), limits: Limits::default() };
        let mut pipeline = Pipeline::new("p", source, vec![spec], Sink::Stdout, &Overrides::default()).unwrap();
        pipeline.partitions = partitions;
        let says = |&(name, opened)| Says { name, has_state: name.starts_with("counts"), opened };
        (pipeline, plugins.iter().map(says).collect())
    }

    fn verdicts(line: Vec<(Pipeline, Vec<Says<'_>>)>) -> Vec<Verdict> {
        let (pipelines, plugins): (Vec<_>, Vec<_>) = line.into_iter().unzip();
        let stages: Vec<_> =
            pipelines.iter().zip(plugins).map(|(pipeline, plugins)| Stage { pipeline, plugins }).collect();
        findings(&stages).into_iter().map(|finding| finding.verdict).collect()
    }

    fn says(key: &[&str], groups: &[&str]) -> Opened {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Opened { fields: Vec::new(), key: owned(key), groups: owned(groups) }
    }

    const KAFKA: &str = "kafka://localhost:9092/keyed";

    #[test]
    fn a_key_of_the_groups_and_a_topic_between_are_good() {
        let counts = says(&["a", "b"], &["a", "b"]);
        for key in [&["a", "b"][..], &["b", "a"], &["a"]] {
            let flatten = says(key, &[]);
            let line = vec![stage("sim:iss", 4, &[("flatten", &flatten)]), stage(KAFKA, 4, &[("counts", &counts)])];
            assert_eq!(verdicts(line), [Verdict::Good], "{key:?}");
        }
    }

    #[test]
    fn another_key_or_none_splits_groups() {
        let counts = says(&["a"], &["a"]);
        for key in [&["b"][..], &["a", "b"], &[]] {
            let flatten = says(key, &[]);
            let line = vec![stage("sim:iss", 4, &[("flatten", &flatten)]), stage(KAFKA, 4, &[("counts", &counts)])];
            assert_eq!(verdicts(line), [Verdict::Split], "{key:?}");
            let line = vec![stage("file:a.csv", 4, &[("flatten", &flatten)]), stage(KAFKA, 4, &[("counts", &counts)])];
            assert_eq!(verdicts(line), [Verdict::Split], "{key:?}");
        }
        let line = vec![stage(KAFKA, 4, &[]), stage("kafka://localhost:9092/b", 4, &[("counts", &counts)])];
        assert_eq!(verdicts(line), [Verdict::Unknown], "the key of others");
    }

    #[test]
    fn a_key_that_is_made_in_the_same_stage_comes_too_late() {
        let (counts, by_key) = (says(&["a"], &["a"]), says(&[], &[]));
        for (key, second) in [("a", &counts), ("b", &counts), ("a", &by_key)] {
            let flatten = says(&[key], &[]);
            let plugins = [("flatten", &flatten), ("counts", second)];
            assert_eq!(verdicts(vec![stage(KAFKA, 1, &plugins)]), [Verdict::Split], "{key}");
            assert_eq!(verdicts(vec![stage("sim:iss", 4, &plugins)]), [Verdict::Split], "{key}");
            assert_eq!(verdicts(vec![stage("sim:iss", 1, &plugins)]), [Verdict::Good], "{key}");
        }
        let line = vec![
            stage("sim:iss", 4, &[("counts", &counts)]),
            stage(KAFKA, 4, &[("counts", &counts), ("counts by key", &by_key)]),
        ];
        assert_eq!(verdicts(line), [Verdict::Split, Verdict::Good, Verdict::Good], "the key is made again as it was");
        // Counted by two fields, then by one of them: the second needs a topic of its own.
        let (two, one) = (says(&["a", "b"], &["a", "b"]), says(&["b"], &["b"]));
        let flatten = says(&["a", "b"], &[]);
        let line =
            vec![stage("sim:iss", 4, &[("flatten", &flatten)]), stage(KAFKA, 4, &[("counts", &two), ("counts", &one)])];
        assert_eq!(verdicts(line), [Verdict::Good, Verdict::Split]);
    }

    #[test]
    fn who_reads_a_topic_of_others_is_told_its_key() {
        let counts = says(&["a"], &["a"]);
        let (pipeline, plugins) = stage(KAFKA, 1, &[("counts", &counts)]);
        let found = findings(&[Stage { pipeline: &pipeline, plugins }]);
        assert_eq!(
            found[0].to_string(),
            "counts is unknown: kafka://localhost:9092/keyed must be keyed by a; this host cannot see whether it is"
        );
        assert_eq!(verdicts(vec![stage("kafka:///keyed", 4, &[("counts", &counts)])]), [Verdict::Unknown]);
    }

    #[test]
    fn one_partition_holds_every_group() {
        let counts = says(&["a"], &["a"]);
        for from in ["file:a.csv", "kafka:///keyed", "sim:iss", "http://127.0.0.1/"] {
            assert_eq!(verdicts(vec![stage(from, 1, &[("counts", &counts)])]), [Verdict::Good], "{from}");
        }
        let other = says(&["b"], &[]);
        let line = vec![stage("sim:iss", 1, &[("flatten", &other)]), stage(KAFKA, 1, &[("counts", &counts)])];
        assert_eq!(verdicts(line), [Verdict::Good]);
        assert_eq!(verdicts(vec![stage(KAFKA, 4, &[("flatten", &other)])]), [], "no state");
    }

    #[test]
    fn a_topic_of_one_host_after_a_shared_one_holds_for_one_host() {
        let (flatten, counts) = (says(&["a"], &[]), says(&["a"], &["a"]));
        let line = vec![stage(KAFKA, 1, &[("flatten", &flatten)]), stage("kafka:///keyed", 1, &[("counts", &counts)])];
        assert_eq!(verdicts(line), [Verdict::Unknown]);
        let line =
            vec![stage("sim:iss", 1, &[("flatten", &flatten)]), stage("kafka:///keyed", 4, &[("counts", &counts)])];
        assert_eq!(verdicts(line), [Verdict::Good]);
    }

    #[test]
    fn a_split_says_what_happens_and_the_way_out() {
        let counts = says(&["a"], &["a"]);
        let (pipeline, plugins) = stage("sim:iss", 4, &[("counts", &counts)]);
        let text = findings(&[Stage { pipeline: &pipeline, plugins }])[0].to_string();
        for part in ["counts is WRONG", "no key", "several partitions", "`key = [\"a\"]`", "`through ="] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
