//! The loop of a plugin author: whenever a component's file has changed, the new one is swapped in. What cannot be is said,
//! and the next change is awaited.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::config::Pipeline;
use crate::control::handle::{Refused, Registry, Wanted};
use crate::swap::{Outcome, Trial};

/// How often to look at a file.
pub(super) const LOOK: Duration = Duration::from_millis(200);

/// A file whose changes are awaited.
pub(super) struct Watched {
    pub path: PathBuf,
    /// Length and time of change, when it was last looked at.
    stamp: Option<(u64, SystemTime)>,
    /// Of the content that was given out.
    given: Option<Vec<u8>>,
    /// Whether `stamp` has been read.
    read: bool,
}

impl Watched {
    /// Gives out the content that is there, and then each new one.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), stamp: None, given: None, read: false }
    }

    /// Gives out only what is new from now on.
    pub(super) fn from_now(path: &Path) -> Self {
        let given = std::fs::read(path).ok().map(|content| Sha256::digest(content).to_vec());
        Self { given, ..Self::new(path) }
    }

    /// New content, once the file has been the same at two looks: whoever writes it has finished.
    pub(super) fn look(&mut self) -> Option<Vec<u8>> {
        let about = std::fs::metadata(&self.path).ok()?;
        let stamp = Some((about.len(), about.modified().ok()?));
        if stamp != self.stamp {
            (self.stamp, self.read) = (stamp, false);
            return None;
        }
        if self.read {
            return None;
        }
        let content = std::fs::read(&self.path).ok()?;
        self.read = true;
        let hash = Some(Sha256::digest(&content).to_vec());
        if hash == self.given {
            return None;
        }
        self.given = hash;
        Some(content)
    }
}

/// Follows the plugins' files of the pipelines that this process runs, until it is dropped.
pub(super) struct Watching {
    /// Dropped, it ends the thread.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watching {
    pub(super) fn start(pipelines: &[Pipeline], registry: &Arc<Registry>) -> std::io::Result<Self> {
        let mut files = Vec::new();
        for pipeline in pipelines {
            let plugins = pipeline.line().into_iter().flat_map(|stage| &stage.plugins);
            files.extend(
                plugins.zip(1..).map(|(plugin, place)| {
                    (pipeline.name.clone(), format!("{place}"), Watched::from_now(&plugin.path))
                }),
            );
        }
        let (running, ended) = channel();
        let registry = registry.clone();
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                for (pipeline, place, file) in &mut files {
                    if let Some(component) = file.look() {
                        let wanted = Wanted { plugin: Some(place.clone()), component, set: Vec::new() };
                        tell(pipeline, &file.path, swap(&registry, pipeline, &wanted));
                    }
                }
            }
        })?;
        Ok(Self { running: Some(running), thread: Some(thread) })
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.running = None;
        // A swap that waits for a pipeline that has ended is not waited for.
        if let Some(thread) = self.thread.take().filter(JoinHandle::is_finished) {
            let _ = thread.join();
        }
    }
}

fn swap(registry: &Registry, pipeline: &str, wanted: &Wanted) -> Result<Outcome, Refused> {
    let (_, change) = registry.plan(pipeline, wanted)?;
    change.swap(&wanted.component, Trial::default())
}

fn tell(pipeline: &str, file: &Path, outcome: Result<Outcome, Refused>) {
    let file = file.display();
    match outcome {
        Ok(Outcome::Adopted { pause, .. }) => {
            tracing::info!("{pipeline}: {file} is at work; the pause was {:.1} ms", pause as f64 / 1000.0);
        }
        Ok(Outcome::RolledBack { reason } | Outcome::Refused { reason }) => {
            tracing::warn!("{pipeline}: {file} is not at work, the version before is: {reason}");
        }
        Ok(Outcome::Dropped | Outcome::Compared(_)) => tracing::warn!("{pipeline}: {file}: the swap was called off"),
        Err(refused) => tracing::warn!("{pipeline}: {file} is not swapped in, the version before runs on: {refused}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_given_out_when_it_is_still_and_new() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plugin.wasm");
        let mut watched = Watched::new(&path);
        assert_eq!(watched.look(), None, "there is none yet");
        std::fs::write(&path, "one").unwrap();
        assert_eq!(watched.look(), None, "it may still be written");
        assert_eq!(watched.look().as_deref(), Some(&b"one"[..]));
        assert_eq!(watched.look(), None);
        std::fs::write(&path, "one, two").unwrap();
        assert_eq!(watched.look(), None);
        std::fs::write(&path, "one, two, three").unwrap();
        assert_eq!(watched.look(), None);
        assert_eq!(watched.look().as_deref(), Some(&b"one, two, three"[..]));
        let mut known = Watched::from_now(&path);
        assert_eq!((known.look(), known.look(), known.look()), (None, None, None), "it is known");
    }
}
