//! Opens another version of a plugin beside the one at work, on a thread of its own, with a copy of the state that is
//! kept, and lets it catch up with what is kept meanwhile.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::checkpoint::{Part, own};
use crate::plugin::{Entries, Instance, PluginError};
use crate::sink::Kept;
use crate::version::Version;

/// Instances that are being made ready, one for each partition. Dropped, it leaves nothing: its thread ends soon.
pub struct Preparing {
    /// By which the plugin's state is kept; `None` where it keeps none.
    number: Option<u8>,
    /// `None` once nothing more is told.
    news: Option<Sender<News>>,
    /// Most bytes of what was told that may wait, which is no less than all state at once.
    most: usize,
    work: Arc<Work>,
    thread: Option<JoinHandle<anyhow::Result<BTreeMap<i32, Instance>>>>,
}

/// What a partition's instance is made of.
pub struct Origin {
    pub partition: i32,
    /// What is kept, and the version of the plugin that did; `None` where that is nothing.
    pub kept: Option<(String, Kept)>,
}

/// What was kept since the copy was asked for.
struct News {
    partition: i32,
    kept_by: String,
    entries: Entries,
}

/// What the thread has before it.
struct Work {
    /// Pieces: the copies, then what it was told of.
    left: AtomicUsize,
    /// Bytes of what it was told of.
    bytes: AtomicUsize,
    /// Whether nobody waits for it any more.
    given_up: AtomicBool,
}

impl Preparing {
    pub fn start(version: &Version, origins: Vec<Origin>) -> anyhow::Result<Self> {
        let number = version.plugin.has_state().then_some(version.number);
        let (left, bytes, given_up) = (AtomicUsize::new(1), AtomicUsize::new(0), AtomicBool::new(false));
        let work = Arc::new(Work { left, bytes, given_up });
        let (news, heard) = channel();
        let (of, own_work) = (version.clone(), work.clone());
        let thread = std::thread::Builder::new().name("prepare".to_owned());
        let thread = thread.spawn(move || prepare(&of, origins, &heard, &own_work))?;
        Ok(Self { number, news: Some(news), most: version.limits.memory, work, thread: Some(thread) })
    }

    /// Tells of what was kept since the copy was asked for, in the order in which it was.
    pub fn kept(&mut self, part: &Part) {
        let Some(number) = self.number else { return };
        let entries = own(&part.changes, number);
        let Some(news) = self.news.as_ref().filter(|_| !entries.is_empty()) else { return };
        if self.work.bytes.fetch_add(entries.bytes(), Ordering::AcqRel) + entries.bytes() > self.most {
            self.news = None;
            return;
        }
        self.work.left.fetch_add(1, Ordering::AcqRel);
        let kept_by = part.checkpoint.kept_by(number).unwrap_or_default().to_owned();
        // Whoever does not hear it any more has failed, which is found out at the end.
        let _ = news.send(News { partition: part.checkpoint.partition, kept_by, entries });
    }

    /// Whether it has caught up, or failed: so whether the end will come at once.
    pub fn is_ready(&self) -> bool {
        let ended = || self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        self.news.is_none() || self.work.left.load(Ordering::Acquire) == 0 || ended()
    }

    /// The instances, with all that was told of.
    pub fn finish(mut self) -> anyhow::Result<BTreeMap<i32, Instance>> {
        if self.news.take().is_none() {
            anyhow::bail!(
                "it takes state back more slowly than the version at work changes it: more than {} bytes waited for it; \
                 swap it in when less comes in",
                self.most
            );
        }
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(instances)) => instances,
            _ => anyhow::bail!("the host itself failed while it prepared the new version; please report it"),
        }
    }
}

impl Drop for Preparing {
    fn drop(&mut self) {
        self.work.given_up.store(true, Ordering::Release);
    }
}

fn prepare(
    version: &Version,
    origins: Vec<Origin>,
    news: &Receiver<News>,
    work: &Work,
) -> anyhow::Result<BTreeMap<i32, Instance>> {
    let mut instances = BTreeMap::new();
    for Origin { partition, kept } in origins {
        let mut instance = version.open()?;
        if let Some((kept_by, kept)) = kept {
            copy(&mut instance, &kept_by, version.number, kept, work)?;
        }
        instances.insert(partition, instance);
    }
    work.left.fetch_sub(1, Ordering::AcqRel);
    for News { partition, kept_by, entries } in news {
        work.go_on()?;
        if let Some(instance) = instances.get_mut(&partition) {
            instance.restore(&kept_by, &entries)?;
        }
        work.bytes.fetch_sub(entries.bytes(), Ordering::AcqRel);
        work.left.fetch_sub(1, Ordering::AcqRel);
    }
    Ok(instances)
}

fn copy(instance: &mut Instance, version: &str, number: u8, kept: Kept, work: &Work) -> anyhow::Result<()> {
    let mut failed: Option<anyhow::Error> = None;
    kept(&mut |entries| {
        let own = own(entries, number);
        let restored: Result<(), PluginError> = if own.is_empty() { Ok(()) } else { instance.restore(version, &own) };
        match restored.map_err(anyhow::Error::from).and_then(|()| work.go_on()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(()), Err)
}

impl Work {
    fn go_on(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.given_up.load(Ordering::Acquire), "it was called off");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::checkpoint::{Identity, Sum, push};
    use crate::plugin::{Engine, Limits};

    fn stamp() -> Version {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/stamp-1.wasm");
        Version::new(Engine::new().unwrap().load(&path).unwrap(), serde_json::json!({}), Limits::default(), 0).unwrap()
    }

    /// A commit in which a key of so many bytes got a count.
    fn part(version: &Version, size: usize) -> Part {
        let identity = Identity {
            pipeline: "p".into(),
            source: "kafka:///t".into(),
            place: "csv:/out".into(),
            plugins: vec![version.mark()],
            exactly_once: true,
        };
        let mut changes = Entries::default();
        push(&mut changes, 0, &vec![1; size], Some(&1_i64.to_le_bytes()));
        Part { checkpoint: identity.checkpoint(0, 1, None, Sum::default()), changes }
    }

    /// A copy that takes as long as the other end lives.
    fn slow(version: &Version) -> (Preparing, Sender<()>) {
        let (end, ended) = channel::<()>();
        let kept: Kept = Box::new(move |_| {
            let _ = ended.recv();
            Ok(())
        });
        let kept = Some((version.plugin.description.version.clone(), kept));
        (Preparing::start(version, vec![Origin { partition: 0, kept }]).unwrap(), end)
    }

    #[test]
    fn what_waits_for_a_slow_copy_is_bounded() {
        let version = stamp();
        let (mut preparing, _end) = slow(&version);
        let told = part(&version, version.limits.memory / 4);
        (0..3).for_each(|_| preparing.kept(&told));
        assert!(!preparing.is_ready());
        (0..2).for_each(|_| preparing.kept(&told));
        assert!(preparing.is_ready(), "nobody waits for what will not come");
        let error = preparing.finish().err().unwrap().to_string();
        assert!(error.starts_with("it takes state back more slowly"), "{error}");
    }

    #[test]
    fn what_is_told_during_the_copy_is_there_at_the_end() {
        let version = stamp();
        let (mut preparing, end) = slow(&version);
        preparing.kept(&part(&version, 10));
        drop(end);
        assert_eq!(preparing.finish().unwrap().len(), 1);
    }
}
