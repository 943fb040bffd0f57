//! Opens another version of a plugin beside the one at work, on a thread of its own, with a copy of the state that is
//! kept, and lets it catch up with what is kept meanwhile.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::checkpoint::{Part, own};
use crate::plugin::{Entries, Instance, PluginError};
use crate::sink::Kept;
use crate::version::Version;

/// Instances that are being made ready, one for each partition.
pub struct Preparing {
    /// By which the plugin's state is kept; `None` where it keeps none.
    number: Option<u8>,
    news: Option<Sender<(i32, Entries)>>,
    /// How many pieces of work the thread has before it: the copies, then what it was told of.
    left: Arc<AtomicUsize>,
    thread: Option<JoinHandle<anyhow::Result<BTreeMap<i32, Instance>>>>,
}

/// What a partition's instance is made of.
pub struct Origin {
    pub partition: i32,
    /// The version that keeps the state.
    pub kept_by: String,
    /// What it has kept; `None` where that is nothing.
    pub kept: Option<Kept>,
}

impl Preparing {
    pub fn start(version: &Version, origins: Vec<Origin>) -> anyhow::Result<Self> {
        let number = version.plugin.has_state().then_some(version.number);
        let left = Arc::new(AtomicUsize::new(1));
        let (news, heard) = channel();
        let (of, counter) = (version.clone(), left.clone());
        let thread = std::thread::Builder::new().name("prepare".to_owned());
        let thread = thread.spawn(move || prepare(&of, origins, &heard, &counter))?;
        Ok(Self { number, news: Some(news), left, thread: Some(thread) })
    }

    /// Tells of what was kept since the copy was asked for, in the order in which it was.
    pub fn kept(&mut self, part: &Part) {
        let Some(number) = self.number else { return };
        let own = own(&part.changes, number);
        if let Some(news) = &self.news
            && !own.is_empty()
        {
            self.left.fetch_add(1, Ordering::AcqRel);
            // Whoever does not hear it any more has failed, which is found out at the end.
            let _ = news.send((part.checkpoint.partition, own));
        }
    }

    /// Whether it has caught up, or failed: so whether the end will come at once.
    pub fn is_ready(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0 || self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The instances, with all that was told of.
    pub fn finish(mut self) -> anyhow::Result<BTreeMap<i32, Instance>> {
        drop(self.news.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(instances)) => instances,
            _ => anyhow::bail!("the host itself failed while it prepared the new version; please report it"),
        }
    }
}

fn prepare(
    version: &Version,
    origins: Vec<Origin>,
    news: &Receiver<(i32, Entries)>,
    left: &AtomicUsize,
) -> anyhow::Result<BTreeMap<i32, Instance>> {
    let mut instances = BTreeMap::new();
    for Origin { partition, kept_by, kept } in origins {
        let mut instance = version.open()?;
        if let Some(kept) = kept {
            copy(&mut instance, &kept_by, version.number, kept)?;
        }
        instances.insert(partition, (instance, kept_by));
    }
    left.fetch_sub(1, Ordering::AcqRel);
    for (partition, entries) in news {
        if let Some((instance, kept_by)) = instances.get_mut(&partition) {
            instance.restore(kept_by, &entries)?;
        }
        left.fetch_sub(1, Ordering::AcqRel);
    }
    Ok(instances.into_iter().map(|(partition, (instance, _))| (partition, instance)).collect())
}

fn copy(instance: &mut Instance, version: &str, number: u8, kept: Kept) -> anyhow::Result<()> {
    let mut failed: Option<PluginError> = None;
    kept(&mut |entries| {
        let own = own(entries, number);
        let restored = if own.is_empty() { Ok(()) } else { instance.restore(version, &own) };
        match restored {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}
