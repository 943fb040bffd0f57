//! The checkpoints of one partition, in a folder of its own: numbered manifests, segments of state, and the output that
//! is not visible yet.
//!
//! The manifest with the highest number holds. To write the next one is the commit point (Invariant 1), and it must not
//! be there yet: whoever finds it there, or a higher one, or their own last one gone, has been taken over from
//! (Invariant 6). The two highest manifests stay with all that they name; what is older is removed.
//!
//! This is exact whenever anybody is stopped for however long, because of what nobody ever does:
//! - A number that was removed is no use to a former owner who writes it again. Removal goes upward and keeps two, so
//!   when their next number is free again then their last one is gone, and higher ones are there.
//! - Who finds themselves taken over removes nothing: their last manifest may be the one that was taken over.
//! - What is removed as unnamed bears a number up to the remover's own. Later owners only name what the remover's two
//!   manifests name, or what bears a higher number: a remover who wakes up late does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::disk::{self, NewFile, at};
use super::manifest::{Manifest, number};
use crate::sink::SinkError;

/// Most bytes of a manifest that are read.
const MANIFEST: u64 = 64 << 20;

/// How often a partition is claimed while others claim it too.
const ATTEMPTS: usize = 10;

/// What the names of unfinished output end in.
pub const PART: &str = "part";

/// The folder of one partition.
pub struct Folder {
    pub path: PathBuf,
    /// Where finished output goes.
    directory: PathBuf,
    partition: i32,
    /// What the names of finished output end in.
    extension: &'static str,
}

/// The manifest that holds.
struct Last {
    manifest: Option<Manifest>,
    /// Of the manifests that are there, damaged ones included; 0 without any.
    highest: u64,
    damage: Option<String>,
}

impl Folder {
    /// The folder of a partition, created when absent. `place` is that of the group, in the directory.
    pub fn open(directory: &Path, place: &Path, partition: i32, extension: &'static str) -> Result<Self, SinkError> {
        let path = place.join(partition.to_string());
        disk::create_folder(&path)?;
        Ok(Self { path, directory: directory.to_owned(), partition, extension })
    }

    /// Takes the partition over: finishes or discards what others left, and leaves them no next number.
    pub fn claim(&self, owner: &str) -> Result<Manifest, SinkError> {
        for _ in 0..ATTEMPTS {
            let numbers = self.numbers()?;
            let last = self.last(&numbers);
            if self.numbers()? != numbers {
                // Somebody is at work here: what was found may have been removed under our eyes.
                continue;
            }
            let last = last?;
            let mut claim = match &last.manifest {
                Some(manifest) => manifest.next(owner),
                None => {
                    Manifest { number: 0, owner: owner.to_owned(), checkpoint: None, output: None, segments: vec![] }
                }
            };
            claim.number = last.highest + 1;
            // It is committed, whoever owns the partition next, and no later manifest names it.
            if let Some(manifest) = &last.manifest {
                self.check_output(manifest)?;
                self.publish(manifest)?;
            }
            if !self.put(&claim)? {
                continue;
            }
            if let Some(damage) = last.damage {
                tracing::warn!("{damage}");
            }
            self.clean(last.manifest.as_ref(), &claim)?;
            return Ok(claim);
        }
        Err(self.fenced())
    }

    /// Commits a manifest: the next one of its partition. Its files are durable before it is there.
    pub fn commit(&self, before: &Manifest, next: &Manifest) -> Result<(), SinkError> {
        disk::sync(&self.path)?;
        if !self.put(next)? {
            return Err(self.fenced());
        }
        self.publish(next)?;
        self.clean(Some(before), next)
    }

    /// Why something failed that needs what `last` names: whoever took over may have removed it.
    pub fn explain(&self, last: &Manifest, error: SinkError) -> SinkError {
        match self.numbers() {
            Ok(numbers) if numbers.last() != Some(&last.number) => self.fenced(),
            _ => error,
        }
    }

    /// Writes a manifest whose number must be free. Says whether it holds.
    fn put(&self, manifest: &Manifest) -> Result<bool, SinkError> {
        let encode = |path: &Path| manifest.encode().map_err(|error| at(path)(error.into()));
        let (path, temporary) = (self.manifest(manifest.number), self.path.join(manifest.name("tmp")));
        let mut file = NewFile::create(temporary.clone())?;
        file.buffer = encode(&temporary)?;
        file.finish()?;
        // A link, unlike a rename, never replaces what is there.
        let linked = match fs::hard_link(&temporary, &path) {
            // What FAT and some network file systems answer. There a crash can leave a cut manifest, which is then seen
            // to be damaged, beside its part file, which shows that its output is not visible.
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
                let bytes = encode(&path)?;
                File::create_new(&path).and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
            }
            linked => linked,
        };
        disk::remove(&temporary)?;
        match linked {
            // Our own was removed before it got its name: somebody has this number, or a higher one.
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => return Ok(false),
            linked => linked.map_err(at(&path))?,
        }
        disk::sync(&self.path)?;
        let numbers = self.numbers()?;
        let is_after = manifest.number == 1 || numbers.contains(&(manifest.number - 1));
        Ok(is_after && numbers.last() == Some(&manifest.number))
    }

    /// Gives a manifest's output its final name, which must be free (Invariant 5), unless that was done: before a
    /// crash, or by whoever took over.
    fn publish(&self, manifest: &Manifest) -> Result<(), SinkError> {
        let Some(output) = &manifest.output else { return Ok(()) };
        let (part, path) = (self.path.join(manifest.name(PART)), self.directory.join(&output.name));
        // In this order: whoever else is at it at this moment takes the part away as they make the name.
        if !path.exists() {
            match fs::rename(&part, &path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                renamed => renamed.map_err(at(&path))?,
            }
        } else if part.exists() {
            return Err(self.refuse(format!(
                "{} is in the way of a finished file of this group, which waits as {}; move it elsewhere and run again",
                path.display(),
                part.display()
            )));
        }
        disk::sync(&self.directory)
    }

    /// Whether output that is not visible yet is as it was written.
    fn check_output(&self, manifest: &Manifest) -> Result<(), SinkError> {
        let Some(output) = &manifest.output else { return Ok(()) };
        let part = self.path.join(manifest.name(PART));
        match disk::check(&part, output.content) {
            // Visible already, or taken away by its reader.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == ErrorKind::InvalidData => Err(self.refuse(format!(
                "{} was finished, and {error}; bring back an undamaged copy, or start anew under another `group`",
                part.display()
            ))),
            checked => checked.map_err(at(&part)),
        }
    }

    /// Removes what neither of the last two manifests needs.
    fn clean(&self, before: Option<&Manifest>, last: &Manifest) -> Result<(), SinkError> {
        let named: BTreeSet<&str> =
            before.into_iter().chain([last]).flat_map(|m| &m.segments).map(|segment| segment.name.as_str()).collect();
        for (name, number) in self.names()? {
            let manifest = name == Manifest::file_name(number);
            let needed = if manifest { number + 1 >= last.number } else { named.contains(name.as_str()) };
            if number <= last.number && !needed {
                disk::remove(&self.path.join(name))?;
            }
        }
        Ok(())
    }

    /// The highest manifest that is whole, with whole segments.
    fn last(&self, numbers: &[u64]) -> Result<Last, SinkError> {
        let Some(&highest) = numbers.last() else { return Ok(Last { manifest: None, highest: 0, damage: None }) };
        match self.load(highest)? {
            Ok(manifest) => Ok(Last { manifest: Some(manifest), highest, damage: None }),
            Err(damage) => self.earlier(highest, &damage),
        }
    }

    /// The manifest before a damaged one. What the damaged one made visible would be written again from there: so not
    /// while it is to be seen, because it may not change any more (Invariant 5), and only its owner can tell who has
    /// read it.
    fn earlier(&self, highest: u64, damage: &str) -> Result<Last, SinkError> {
        let anew = "bring back an undamaged copy, or start anew under another `group`";
        let manifest = match highest {
            // The first one is a claim, before which there was nothing.
            1 => None,
            _ => {
                let both = |earlier| self.refuse(format!("{damage}; {earlier}; {anew}"));
                Some(self.load(highest - 1)?.map_err(both)?)
            }
        };
        let next = manifest.as_ref().and_then(|manifest| Some(manifest.checkpoint.as_ref()?.next));
        let whence = next.map_or("the beginning".to_owned(), |next| format!("offset {next}"));
        if let Some(path) = self.visible(highest, next.unwrap_or(i64::MIN))? {
            return Err(self.refuse(format!(
                "{damage}; the checkpoint before it is whole, but {} was finished since: move it away, and {whence} and \
                 what follows is read and written again; or {anew}",
                path.display()
            )));
        }
        let damage = format!(
            "{damage}; going on from the checkpoint before it, at {whence}. If a finished file of a later offset was \
             taken away, then its rows come again"
        );
        Ok(Last { manifest, highest, damage: Some(damage) })
    }

    /// Output of a damaged manifest that has its final name, where nothing before it has an offset from `next` on.
    fn visible(&self, damaged: u64, next: i64) -> Result<Option<PathBuf>, SinkError> {
        // Its part file loses that name in the step in which it gets its final one.
        if self.names()?.iter().any(|(name, number)| *number == damaged && name.ends_with(PART)) {
            return Ok(None);
        }
        if let Ok(manifest) = self.read(damaged)? {
            let Some(output) = manifest.output else { return Ok(None) };
            let path = self.directory.join(output.name);
            return Ok(path.try_exists().map_err(at(&path))?.then_some(path));
        }
        // Which one it was can only be told by its name.
        for entry in fs::read_dir(&self.directory).map_err(at(&self.directory))? {
            let path = entry.map_err(at(&self.directory))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if first_offset(&name, self.partition, self.extension).is_some_and(|first| first >= next) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// A manifest with segments that are as they were written, or what is damaged.
    fn load(&self, number: u64) -> Result<Result<Manifest, String>, SinkError> {
        let manifest = match self.read(number)? {
            Ok(manifest) => manifest,
            Err(damage) => return Ok(Err(damage)),
        };
        for segment in &manifest.segments {
            match segment.check(&self.path) {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::NotFound) => {
                    return Ok(Err(format!("{}: {error}", self.path.join(&segment.name).display())));
                }
                Err(error) => return Err(at(&self.path.join(&segment.name))(error)),
            }
        }
        Ok(Ok(manifest))
    }

    fn read(&self, number: u64) -> Result<Result<Manifest, String>, SinkError> {
        let path = self.manifest(number);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(MANIFEST).read_to_end(&mut bytes)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Err(format!("{} is missing", path.display())));
            }
            read => read.map_err(at(&path))?,
        };
        let manifest = Manifest::decode(&bytes, number).map_err(|damage| format!("{}: {damage}", path.display()));
        let checkpoint = manifest.as_ref().ok().and_then(|manifest| manifest.checkpoint.as_ref());
        match checkpoint.map(|checkpoint| checkpoint.partition).filter(|&partition| partition != self.partition) {
            Some(other) => Err(self.refuse(format!(
                "{} is of partition {other}: it was copied here; put back what was here, or start anew under another \
                 `group`",
                path.display()
            ))),
            None => Ok(manifest),
        }
    }

    /// The numbers of the manifests, in order.
    fn numbers(&self) -> Result<Vec<u64>, SinkError> {
        let names = self.names()?.into_iter();
        Ok(names.filter(|(name, number)| *name == Manifest::file_name(*number)).map(|(_, number)| number).collect())
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

    fn fenced(&self) -> SinkError {
        SinkError::Fenced {
            place: self.path.display().to_string(),
            what: format!(
                "another host has taken over partition {}, or the checkpoints were removed; nothing is lost: what is \
                 not in a finished file is read again",
                self.partition
            ),
        }
    }

    fn refuse(&self, what: String) -> SinkError {
        SinkError::Checkpoint { place: format!("partition {}", self.partition), what }
    }
}

/// What a file of output is called: when it was started (UTC), the partition, and the first offset in it.
pub fn output_name(started: jiff::Timestamp, partition: i32, first: i64, extension: &str) -> String {
    format!("{}-{partition}-{first}.{extension}", started.strftime("%Y%m%dT%H%M%S%.3fZ"))
}

/// The offset in the name of a file of output of this partition.
fn first_offset(name: &str, partition: i32, extension: &str) -> Option<i64> {
    let (_started, rest) = name.strip_suffix(extension)?.strip_suffix('.')?.split_once('-')?;
    let (of, first) = rest.split_once('-')?;
    (of == partition.to_string()).then(|| first.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_read_from_the_names_of_ones_own_partition_only() {
        let started = "2026-11-21T15:56:05.120Z".parse().unwrap();
        let name = output_name(started, 3, 500, "csv");
        assert_eq!(name, "20261121T155605.120Z-3-500.csv");
        assert_eq!(first_offset(&name, 3, "csv"), Some(500));
        for (name, partition, extension) in
            [(&*name, 30, "csv"), (&name, 3, "parquet"), ("notes.csv", 3, "csv"), ("a-3-b.csv", 3, "csv")]
        {
            assert_eq!(first_offset(name, partition, extension), None);
        }
    }
}
