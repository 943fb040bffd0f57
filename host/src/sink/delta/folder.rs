//! The checkpoints of one partition beside a table: manifests and segments of state, as those of files, in a folder that
//! readers of the table leave alone.
//!
//! A manifest here only prepares. Which one holds is said by the table: its number is the version of the partition's
//! application transaction. This is exact whenever anybody is stopped for however long:
//! - A number is put where there is none: whoever finds theirs taken takes the next free one. The manifest of the number
//!   that the table knows is removed by nobody, so it stays the one that was prepared for it.
//! - A number that was removed may be put again by a former owner, to no effect: it is lower than the one that the table
//!   knows, which is not the one that this owner held, so they can no longer commit.
//! - Removed is, after a commit, what is numbered below it and named neither by it nor by the one before. Who prepared
//!   such a number saw the table as it was before that commit, and so can no longer commit. Later owners name what these
//!   two manifests name, or what has a higher number: a remover who wakes up late does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read};
use std::sync::Arc;

use crate::plugin::Entries;
use crate::sink::SinkError;
use crate::sink::files::manifest::{Manifest, number};
use crate::sink::files::place::{Place, at};
use crate::sink::files::segment::{self, State};

/// Most bytes of a manifest that are read.
const MANIFEST: u64 = 64 << 20;

/// What to do when a checkpoint cannot be gone on from.
const WAY_OUT: &str = "bring it back, or start anew under another `group`";

/// The folder of one partition.
pub struct Folder {
    /// That of the table.
    place: Arc<dyn Place>,
    /// Its name there.
    path: String,
    partition: i32,
}

impl Folder {
    /// Created when absent.
    pub fn open(place: &Arc<dyn Place>, group: &str, partition: i32) -> Result<Self, SinkError> {
        let path = format!("{group}/{partition}");
        place.create_folder(&path)?;
        Ok(Self { place: place.clone(), path, partition })
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
                        self.shown(name)
                    )));
                }
            }
            return Ok(None);
        };
        let manifest = self.read(number)?;
        for segment in &manifest.segments {
            match segment.check(self.place.as_ref(), &self.path) {
                Err(error) if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::NotFound) => {
                    return Err(self.refuse(format!("{}: {error}; {WAY_OUT}", self.shown(&segment.name))));
                }
                checked => checked.map_err(at(&self.shown(&segment.name)))?,
            }
        }
        Ok(Some(manifest))
    }

    /// Takes the next free number after `after` for a manifest that says the same as `last`.
    pub fn claim(&self, last: Option<&Manifest>, owner: &str) -> Result<Manifest, SinkError> {
        let highest = self.names()?.into_values().max().unwrap_or(0);
        let mut claim = match last {
            Some(manifest) => manifest.next(owner),
            None => Manifest { number: 1, owner: owner.to_owned(), checkpoint: None, output: vec![], segments: vec![] },
        };
        claim.number = claim.number.max(highest + 1);
        self.put(claim)
    }

    /// Writes what changed in the state since `before`, and names it in `next`.
    pub fn add(&self, before: &Manifest, next: &mut Manifest, changes: &Entries) -> Result<(), SinkError> {
        if !changes.is_empty() {
            next.segments =
                segment::add(self.place.as_ref(), &self.path, &before.segments, changes, next.name("state"))?;
        }
        Ok(())
    }

    /// Puts a manifest under its number, durably, or under the next one that is free.
    pub fn put(&self, mut manifest: Manifest) -> Result<Manifest, SinkError> {
        self.place.sync(&self.path)?;
        loop {
            let name = self.name(&Manifest::file_name(manifest.number));
            let bytes = manifest.encode().map_err(|error| at(&self.place.shown(&name))(error.into()))?;
            if self.place.put_new(&name, &self.name(&manifest.name("tmp")), &bytes)? {
                return Ok(manifest);
            }
            manifest.number += 1;
        }
    }

    pub fn state(&self, manifest: &Manifest) -> Result<State, SinkError> {
        State::open(self.place.as_ref(), &self.path, &manifest.segments)
    }

    /// Removes what neither `last`, which is committed, nor the one before it needs.
    pub fn clean(&self, before: Option<&Manifest>, last: &Manifest) -> Result<(), SinkError> {
        let kept = || before.into_iter().chain([last]);
        let mut named: BTreeSet<String> = kept().map(|manifest| Manifest::file_name(manifest.number)).collect();
        named.extend(kept().flat_map(|manifest| &manifest.segments).map(|segment| segment.name.clone()));
        for (name, number) in self.names()? {
            if number < last.number && !named.contains(&name) {
                self.place.remove(&self.name(&name))?;
            }
        }
        Ok(())
    }

    fn read(&self, number: u64) -> Result<Manifest, SinkError> {
        let name = Manifest::file_name(number);
        let path = self.shown(&name);
        let mut bytes = Vec::new();
        let opened = self.place.open(&self.name(&name));
        match opened.and_then(|file| file.take(MANIFEST).read_to_end(&mut bytes)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(self
                    .refuse(format!("{path} is missing, the checkpoint of what is in the table already; {WAY_OUT}")));
            }
            read => read.map_err(at(&path))?,
        };
        let manifest =
            Manifest::decode(&bytes, number).map_err(|damage| self.refuse(format!("{path}: {damage}; {WAY_OUT}")))?;
        match manifest.checkpoint.as_ref().map(|checkpoint| checkpoint.partition) {
            Some(other) if other != self.partition => Err(self.refuse(format!(
                "{path} is of partition {other}: it was copied here; put back what was here, or start anew under another \
                 `group`"
            ))),
            _ => Ok(manifest),
        }
    }

    /// All names that bear a number, and their numbers, in order.
    fn names(&self) -> Result<BTreeMap<String, u64>, SinkError> {
        let names = self.place.names(&self.path)?.into_iter();
        Ok(names.filter_map(|name| number(&name).map(|number| (name, number))).collect())
    }

    /// The name of a file in this folder, from the table on.
    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    fn shown(&self, name: &str) -> String {
        self.place.shown(&self.name(name))
    }

    fn refuse(&self, what: String) -> SinkError {
        SinkError::Checkpoint { place: format!("partition {}", self.partition), what }
    }
}
