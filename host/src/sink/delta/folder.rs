//! The checkpoints of one partition beside a table: manifests and segments of state, as those of files, in a folder that
//! readers of the table leave alone.
//!
//! A manifest here only prepares. Which one holds is said by the table: its number is the version of the partition's
//! application transaction. This is exact whenever anybody is stopped for however long:
//! - A number is put once, by one sink: whoever finds theirs taken takes the next free one. So a transaction of that number
//!   is of nobody else, and its manifest is the one that was prepared for it.
//! - Removed is, after a commit, what is numbered below it and named neither by it nor by the one before. Who prepared
//!   such a number saw the table as it was before that commit, and so can no longer commit. Later owners name what these
//!   two manifests name, or what has a higher number: a remover who wakes up late does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::plugin::Entries;
use crate::sink::SinkError;
use crate::sink::files::disk::{self, NewFile, at};
use crate::sink::files::manifest::{Manifest, number};
use crate::sink::files::segment::{self, State};

/// Most bytes of a manifest that are read.
const MANIFEST: u64 = 64 << 20;

/// What to do when a checkpoint cannot be gone on from.
const WAY_OUT: &str = "bring it back, or start anew under another `group`";

/// The folder of one partition.
pub struct Folder {
    path: PathBuf,
    partition: i32,
}

impl Folder {
    /// Created when absent.
    pub fn open(group: &Path, partition: i32) -> Result<Self, SinkError> {
        let path = group.join(partition.to_string());
        disk::create_folder(&path)?;
        Ok(Self { path, partition })
    }

    /// The manifest that holds: the one of this number, or none where the table knows of none.
    pub fn last(&self, number: Option<u64>) -> Result<Option<Manifest>, SinkError> {
        let names = self.names()?;
        let Some(number) = number else {
            for (name, number) in &names {
                if *name == Manifest::file_name(*number) && self.read(*number)?.checkpoint.is_some() {
                    return Err(self.refuse(format!(
                        "{} has a checkpoint of which the table knows nothing: it is another table, or has forgotten it; \
                         bring back the table, or start anew under another `group`",
                        self.path.join(name).display()
                    )));
                }
            }
            return Ok(None);
        };
        let manifest = self.read(number)?;
        for segment in &manifest.segments {
            if let Err(error) = segment.check(&self.path) {
                return Err(self.refuse(format!("{}: {error}; {WAY_OUT}", self.path.join(&segment.name).display())));
            }
        }
        Ok(Some(manifest))
    }

    /// Takes the next free number after `after` for a manifest that says the same as `last`.
    pub fn claim(&self, last: Option<&Manifest>, owner: &str) -> Result<Manifest, SinkError> {
        let highest = self.names()?.into_values().max().unwrap_or(0);
        let mut claim = match last {
            Some(manifest) => manifest.next(owner),
            None => Manifest { number: 1, owner: owner.to_owned(), checkpoint: None, output: None, segments: vec![] },
        };
        claim.number = claim.number.max(highest + 1);
        self.put(claim)
    }

    /// Writes what changed in the state since `before`, and names it in `next`.
    pub fn add(&self, before: &Manifest, next: &mut Manifest, changes: &Entries) -> Result<(), SinkError> {
        if !changes.is_empty() {
            next.segments = segment::add(&self.path, &before.segments, changes, next.name("state"))?;
        }
        Ok(())
    }

    /// Puts a manifest under its number, durably, or under the next one that is free.
    pub fn put(&self, mut manifest: Manifest) -> Result<Manifest, SinkError> {
        disk::sync(&self.path)?;
        loop {
            let (path, temporary) = (self.manifest(manifest.number), self.path.join(manifest.name("tmp")));
            let mut file = NewFile::create(temporary.clone())?;
            file.buffer = manifest.encode().map_err(|error| at(&temporary)(error.into()))?;
            file.finish()?;
            // A link, unlike a rename, never replaces what is there.
            let linked = fs::hard_link(&temporary, &path);
            disk::remove(&temporary)?;
            match linked {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => manifest.number += 1,
                linked => {
                    linked.map_err(at(&path))?;
                    disk::sync(&self.path)?;
                    return Ok(manifest);
                }
            }
        }
    }

    pub fn state(&self, manifest: &Manifest) -> Result<State, SinkError> {
        State::open(&self.path, &manifest.segments)
    }

    /// Removes what neither `last`, which is committed, nor the one before it needs.
    pub fn clean(&self, before: Option<&Manifest>, last: &Manifest) -> Result<(), SinkError> {
        let kept = || before.into_iter().chain([last]);
        let mut named: BTreeSet<String> = kept().map(|manifest| Manifest::file_name(manifest.number)).collect();
        named.extend(kept().flat_map(|manifest| &manifest.segments).map(|segment| segment.name.clone()));
        for (name, number) in self.names()? {
            if number < last.number && !named.contains(&name) {
                disk::remove(&self.path.join(name))?;
            }
        }
        Ok(())
    }

    fn read(&self, number: u64) -> Result<Manifest, SinkError> {
        let path = self.manifest(number);
        let mut bytes = Vec::new();
        match fs::File::open(&path).and_then(|file| file.take(MANIFEST).read_to_end(&mut bytes)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let path = path.display();
                return Err(self
                    .refuse(format!("{path} is missing, the checkpoint of what is in the table already; {WAY_OUT}")));
            }
            read => read.map_err(at(&path))?,
        };
        let manifest = Manifest::decode(&bytes, number)
            .map_err(|damage| self.refuse(format!("{}: {damage}; {WAY_OUT}", path.display())))?;
        match manifest.checkpoint.as_ref().map(|checkpoint| checkpoint.partition) {
            Some(other) if other != self.partition => Err(self.refuse(format!(
                "{} is of partition {other}: it was copied here; put back what was here, or start anew under another \
                 `group`",
                path.display()
            ))),
            _ => Ok(manifest),
        }
    }

    /// All names that bear a number, and their numbers, in order.
    fn names(&self) -> Result<BTreeMap<String, u64>, SinkError> {
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(&self.path).map_err(at(&self.path))? {
            let name = entry.map_err(at(&self.path))?.file_name().to_string_lossy().into_owned();
            names.extend(number(&name).map(|number| (name, number)));
        }
        Ok(names)
    }

    fn manifest(&self, number: u64) -> PathBuf {
        self.path.join(Manifest::file_name(number))
    }

    fn refuse(&self, what: String) -> SinkError {
        SinkError::Checkpoint { place: format!("partition {}", self.partition), what }
    }
}
