//! A dead letter again: the message that it is about, through the plugins that it names, without state.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use sha2::{Digest, Sha256};

use crate::chain::{Chain, Failed, Outlet};
use crate::cli::dead::{self, At};
use crate::cli::topics::{self, LogFile};
use crate::cli::{Global, error_line, printable};
use crate::config::{Error, Source, set};
use crate::dead_letter::{Letter, Ran, Text};
use crate::message::{Batch, Header};
use crate::plugin::{Engine, Limits, Plugin, Rejection};
use crate::sink::stdout;
use crate::source::file::Reader;
use crate::store::Store;
use crate::uri::{SourceUri, TopicUri};
use crate::version::Version;

/// Which letter, and what is other than it says.
pub(in crate::cli) struct Again {
    pub at: At,
    pub plugin: Option<PathBuf>,
    pub set: Vec<String>,
    pub group: Option<String>,
    pub file: LogFile,
}

impl Again {
    /// Puts the message through, and says how that compares with the letter: an error where it fails or is rejected.
    pub(in crate::cli) fn run(self, global: Global) -> anyhow::Result<()> {
        let (_, letter) = dead::read(&self.at, &self.file)?;
        let engine = Engine::new()?;
        let versions = self.versions(&letter, &engine)?;
        let (batch, offset) = (self.message(&letter)?, letter.offset);
        let mut seen = Seen::default();
        match Chain::open(&versions, letter.partition)?.put_through(0, batch, vec![offset], offset, &mut seen) {
            Err(error) => match error.downcast::<Failed>() {
                Ok(failed) => Err(failure(&letter, &versions, failed)),
                Err(error) => Err(error),
            },
            Ok(()) => seen.tell(&letter, &versions, global),
        }
    }

    /// The plugins that the message went through; the last one is the one that the letter is about.
    fn versions(&self, letter: &Letter<'_>, engine: &Engine) -> anyhow::Result<Vec<Version>> {
        let (Some(version), Some(hash)) = (&letter.version, &letter.hash) else {
            let what = format!("{} made no message of it, so no plugin has seen it", printable(&letter.by));
            return Err(Error::Arguments(what).into());
        };
        let Letter { by, settings, before, .. } = letter.clone();
        let last = Ran { name: by, version: version.clone(), hash: hash.clone(), settings };
        let mut versions = Vec::new();
        for (ran, is_last) in before.iter().map(|ran| (ran, false)).chain([(&last, true)]) {
            let plugin = match &self.plugin {
                Some(path) if is_last => engine.load(path)?,
                _ => self.find(ran, letter, engine)?,
            };
            let mut settings = match &ran.settings {
                Some(settings) => settings.as_object().cloned().unwrap_or_default(),
                None if is_last && !self.set.is_empty() => serde_json::Map::new(),
                None => {
                    let what =
                        format!("the settings of {} were too long for the letter; give them with --set", ran.name);
                    return Err(Error::Arguments(printable(&what)).into());
                }
            };
            if is_last {
                settings.extend(set::settings(&self.set)?);
            }
            versions.push(Version::new(plugin, settings.into(), Limits::default(), 0)?);
        }
        Ok(versions)
    }

    /// The component of that content: among the files here, or among those that the pipeline's group has kept.
    fn find(&self, ran: &Ran<'_>, letter: &Letter<'_>, engine: &Engine) -> anyhow::Result<Plugin> {
        for folder in ["plugins", "."] {
            if let Some(path) = with_hash(Path::new(folder), &ran.hash) {
                return Ok(engine.load(&path)?);
            }
        }
        let brokers = letter.source.parse().ok().and_then(|TopicUri { brokers, .. }| brokers);
        let log = topics::open(brokers.as_deref(), &self.file.log, false);
        let group = self.group.as_deref().unwrap_or(&letter.pipeline);
        let kept = log.and_then(|log| Ok(Store::new(Arc::from(log), group).get(&ran.hash)?));
        let component = kept.map_err(|error| {
            Error::Arguments(format!(
                "{} with the hash {} is neither in ./plugins, nor here, nor among the plugins of group {} ({error:#}); \
                 give it with --plugin FILE where it is the one that failed, else put it into ./plugins",
                printable(&format!("{} {}", ran.name, ran.version)),
                printable(&ran.hash),
                printable(group)
            ))
        })?;
        Ok(engine.take_in(&component)?)
    }

    /// The message; where the letter has only the start of it, as it is still kept at its origin.
    fn message(&self, letter: &Letter<'_>) -> anyhow::Result<Batch> {
        let texts = letter.key.iter().chain(&letter.value);
        let whole = texts.chain(letter.headers.iter().flat_map(|(name, value)| [name, value])).all(Text::is_whole);
        if !whole {
            return self.original(letter).context("the letter has only the start of the message");
        }
        let mut batch = Batch::new();
        let bytes = |text: &'_ Option<Text<'_>>| text.as_ref().map(|text| text.bytes().to_vec());
        let (key, value) = (bytes(&letter.key), bytes(&letter.value));
        batch.push(key.as_deref(), value.as_deref(), letter.timestamp.unwrap_or_default());
        let header = |(name, value): &(Text<'_>, Text<'_>)| Header {
            message: 0,
            name: String::from_utf8_lossy(name.bytes()).into_owned(),
            value: value.bytes().to_vec(),
        };
        batch.headers.extend(letter.headers.iter().map(header));
        Ok(batch)
    }

    fn original(&self, letter: &Letter<'_>) -> anyhow::Result<Batch> {
        let uri: SourceUri = letter.source.parse()?;
        let fetch = match Source::new(&uri).map_err(Error::Arguments)? {
            Source::Topic(topic, _) => topics::open(topic.brokers.as_deref(), &self.file.log, false)?.read(
                &topic.topic,
                letter.partition,
                letter.offset,
                1,
            )?,
            Source::File(options) => {
                let position = u64::try_from(letter.offset).unwrap_or_default();
                let fetch = Reader::open(options, position)?.fetch()?.context("the file ends before it")?;
                let end = fetch.offsets.get(1).copied().unwrap_or(i64::MAX);
                fetch.split(end).0
            }
            Source::Delta(_) => anyhow::bail!("rows of a table are not looked up again"),
            Source::Http(_) | Source::Simulate(..) => anyhow::bail!("its source keeps nothing"),
        };
        anyhow::ensure!(fetch.offsets.first() == Some(&letter.offset), "it is not at its origin any more");
        let value = fetch.batch.values.iter().next().flatten().unwrap_or_default();
        let start = letter.value.as_ref().map_or(&b""[..], Text::bytes);
        // A plugin before the one that rejected it may have made another one of it.
        anyhow::ensure!(value.starts_with(start), "what is at its origin is another message");
        Ok(fetch.batch)
    }
}

/// What came of the message.
#[derive(Default)]
struct Seen {
    lines: Vec<u8>,
    messages: usize,
    /// Who rejected it, and why.
    rejected: Option<(String, String)>,
}

impl Outlet for Seen {
    fn rejected(&mut self, version: &Version, rejected: &[Rejection], _: &Batch, _: &[i64]) -> anyhow::Result<()> {
        if let Some(rejection) = rejected.first() {
            self.rejected = Some((version.plugin.title(), rejection.reason.clone()));
        }
        Ok(())
    }

    fn output(&mut self, batch: &Batch, _offsets: &[i64], _first: i64) -> anyhow::Result<()> {
        self.messages += batch.len();
        batch.values.iter().for_each(|value| stdout::line(value, &mut self.lines));
        Ok(())
    }
}

impl Seen {
    fn tell(self, letter: &Letter<'_>, versions: &[Version], global: Global) -> anyhow::Result<()> {
        if let Some((title, reason)) = self.rejected {
            let same = letter.cause == "rejected" && *letter.reason == *reason;
            let how = if same { "is rejected again, for the same reason" } else { "is rejected now" };
            anyhow::bail!("it {how}, by {title}: {}", printable(&reason));
        }
        io::stdout().lock().write_all(&self.lines)?;
        if global.json {
            error_line(&serde_json::json!({ "goes_through": true, "messages": self.messages }).to_string());
        } else if !global.quiet {
            let state = versions.iter().any(|version| version.plugin.has_state());
            let note = if state { "; what the plugin knew then it did not know now" } else { "" };
            error_line(&format!("it goes through now, and gives {} message(s){note}", self.messages));
        }
        Ok(())
    }
}

/// How a failure compares with the one that the letter tells of.
fn failure(letter: &Letter<'_>, versions: &[Version], Failed { stage, error }: Failed) -> anyhow::Error {
    let same_cause = *letter.cause == *error.cause() && stage + 1 == versions.len();
    let how = match (same_cause, letter.backtrace == error.backtrace()) {
        (true, true) => "in the same way",
        (true, false) => "with the same cause, at another place",
        (false, _) => "in another way",
    };
    anyhow::Error::from(error).context(format!("it fails {how}"))
}

/// A component in a folder, by its content.
fn with_hash(folder: &Path, hash: &str) -> Option<PathBuf> {
    let files = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let mut components = files.filter(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    components.find(|path| {
        let own = std::fs::read(path).map(|bytes| Sha256::digest(&bytes)).unwrap_or_default();
        own.iter().map(|byte| format!("{byte:02x}")).collect::<String>() == hash
    })
}
