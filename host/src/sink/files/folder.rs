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
//!
//! In a bucket it is the same. There a request may also arrive late, when whoever sent it has long given it up:
//! - A manifest that arrives late finds its number taken; or removed, and then it is lower than the one that holds.
//! - Output is copied to its name by those only who have seen the manifest that names it, and it does not matter how
//!   often: the object's name and content are always the same. What is put late bears a number that is cleared away.
//!
//! The name of a file of output holds its owner's, so that nobody else gives the same: where the name is, the file is.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read};
use std::sync::Arc;

use super::manifest::{Manifest, Output, number};
use super::place::{Place, at, check, each};
use crate::sink::SinkError;

/// Most bytes of a manifest that are read.
const MANIFEST: u64 = 64 << 20;

/// How often a partition is claimed while others claim it too.
const ATTEMPTS: usize = 10;

/// How many characters of an owner's name are in the names of output.
const OWNER: usize = 8;

/// The folder of one partition.
pub struct Folder {
    /// Where finished output goes, and the folder is.
    pub place: Arc<dyn Place>,
    /// Its name there.
    pub path: String,
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
    /// The folder of a partition, created when absent, in the folder of its group.
    pub fn open(
        place: &Arc<dyn Place>,
        group: &str,
        partition: i32,
        extension: &'static str,
    ) -> Result<Self, SinkError> {
        let path = format!("{group}/{partition}");
        place.create_folder(&path)?;
        Ok(Self { place: place.clone(), path, partition, extension })
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
                    Manifest { number: 0, owner: owner.to_owned(), checkpoint: None, output: vec![], segments: vec![] }
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
        self.place.sync(&self.path)?;
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

    /// The name of a file in this folder, from the place on.
    pub fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// Writes a manifest whose number must be free. Says whether it holds.
    fn put(&self, manifest: &Manifest) -> Result<bool, SinkError> {
        let name = self.name(&Manifest::file_name(manifest.number));
        let bytes = manifest.encode().map_err(|error| at(&self.place.shown(&name))(error.into()))?;
        if !self.place.put_new(&name, &self.name(&manifest.name("tmp")), &bytes)? {
            return Ok(false);
        }
        let numbers = self.numbers()?;
        let is_after = manifest.number == 1 || numbers.contains(&(manifest.number - 1));
        Ok(is_after && numbers.last() == Some(&manifest.number))
    }

    /// Gives a manifest's output its final names (Invariant 5), unless that was done: before a crash, or by whoever took
    /// over.
    fn publish(&self, manifest: &Manifest) -> Result<(), SinkError> {
        let publish = |output: &Output| self.place.publish(&self.name(&manifest.part(output)), &output.name);
        each(self.place.at_a_time(), manifest.output.iter().collect(), publish).map(drop)
    }

    /// Whether output that is not visible yet is as it was written.
    fn check_output(&self, manifest: &Manifest) -> Result<(), SinkError> {
        let check = |output: &Output| {
            let name = self.name(&manifest.part(output));
            let shown = self.place.shown(&name);
            match check(&*self.place, &name, output.content) {
                // Visible already, or taken away by its reader.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) if error.kind() == ErrorKind::InvalidData => Err(self.refuse(format!(
                    "{shown} was finished, and {error}; bring back an undamaged copy, or start anew under another `group`"
                ))),
                checked => checked.map_err(at(&shown)),
            }
        };
        let names = self.names()?;
        let waits = |output: &&Output| names.contains_key(&manifest.part(output));
        each(self.place.at_a_time(), manifest.output.iter().filter(waits).collect(), check).map(drop)
    }

    /// Removes what neither of the last two manifests needs.
    fn clean(&self, before: Option<&Manifest>, last: &Manifest) -> Result<(), SinkError> {
        let named: BTreeSet<&str> =
            before.into_iter().chain([last]).flat_map(|m| &m.segments).map(|segment| segment.name.as_str()).collect();
        for (name, number) in self.names()? {
            let manifest = name == Manifest::file_name(number);
            let needed = if manifest { number + 1 >= last.number } else { named.contains(name.as_str()) };
            if number <= last.number && !needed {
                self.place.remove(&self.name(&name))?;
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
        if let Some(name) = self.visible(highest, next.unwrap_or(i64::MIN))? {
            return Err(self.refuse(format!(
                "{damage}; the checkpoint before it is whole, but {} was finished since: move it away, and {whence} and \
                 what follows is read and written again; or {anew}",
                self.place.shown(&name)
            )));
        }
        let damage = format!(
            "{damage}; going on from the checkpoint before it, at {whence}. If a finished file of a later offset was \
             taken away, then its rows come again"
        );
        Ok(Last { manifest, highest, damage: Some(damage) })
    }

    /// Output of a damaged manifest that has its final name, where nothing before it has an offset from `next` on.
    fn visible(&self, damaged: u64, next: i64) -> Result<Option<String>, SinkError> {
        if let Ok(manifest) = self.read(damaged)? {
            for output in manifest.output {
                if self.place.exists(&output.name)? {
                    return Ok(Some(output.name));
                }
            }
            return Ok(None);
        }
        // Which ones they were can only be told by their names. Others may be of another group, whose owners are not the
        // one whose files are here beside the manifest.
        let names = self.names()?;
        let beside = names.iter().filter(|(_, number)| **number == damaged).map(|(name, _)| name);
        let owners: Vec<&str> = beside.filter_map(|name| name.split(['-', '.']).nth(1)?.get(..OWNER)).collect();
        Ok(self.place.finished()?.into_iter().find(|name| {
            let name = name.rsplit('/').next().unwrap_or_default();
            first_offset(name, self.partition, self.extension)
                .is_some_and(|(first, owner)| first >= next && (owners.is_empty() || owners.contains(&owner)))
        }))
    }

    /// A manifest with segments that are as they were written, or what is damaged.
    fn load(&self, number: u64) -> Result<Result<Manifest, String>, SinkError> {
        let manifest = match self.read(number)? {
            Ok(manifest) => manifest,
            Err(damage) => return Ok(Err(damage)),
        };
        for segment in &manifest.segments {
            let shown = self.place.shown(&self.name(&segment.name));
            match segment.check(&*self.place, &self.path) {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::NotFound) => {
                    return Ok(Err(format!("{shown}: {error}")));
                }
                Err(error) => return Err(at(&shown)(error)),
            }
        }
        Ok(Ok(manifest))
    }

    fn read(&self, number: u64) -> Result<Result<Manifest, String>, SinkError> {
        let name = self.name(&Manifest::file_name(number));
        let shown = self.place.shown(&name);
        let mut bytes = Vec::new();
        match self.place.open(&name).and_then(|file| file.take(MANIFEST).read_to_end(&mut bytes)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Err(format!("{shown} is missing"))),
            read => read.map_err(at(&shown))?,
        };
        let manifest = Manifest::decode(&bytes, number).map_err(|damage| format!("{shown}: {damage}"));
        let checkpoint = manifest.as_ref().ok().and_then(|manifest| manifest.checkpoint.as_ref());
        match checkpoint.map(|checkpoint| checkpoint.partition).filter(|&partition| partition != self.partition) {
            Some(other) => Err(self.refuse(format!(
                "{shown} is of partition {other}: it was copied here; put back what was here, or start anew under another \
                 `group`"
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
        let names = self.place.names(&self.path)?;
        Ok(names.into_iter().filter_map(|name| number(&name).map(|number| (name, number))).collect())
    }

    fn fenced(&self) -> SinkError {
        SinkError::Fenced {
            place: self.place.shown(&self.path),
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

/// What a file of output is called: when it was started (UTC), the partition, the first offset in it, and its owner.
pub fn output_name(started: jiff::Timestamp, partition: i32, first: i64, owner: &str, extension: &str) -> String {
    let owner = owner.get(..OWNER).unwrap_or(owner);
    format!("{}-{partition}-{first}-{owner}.{extension}", started.strftime("%Y%m%dT%H%M%S%.3fZ"))
}

/// The offset in the name of a file of output of this partition, and the owner, which was not there in earlier versions.
fn first_offset<'a>(name: &'a str, partition: i32, extension: &str) -> Option<(i64, &'a str)> {
    let (_started, rest) = name.strip_suffix(extension)?.strip_suffix('.')?.split_once('-')?;
    let (of, rest) = rest.split_once('-')?;
    let (first, owner) = rest.split_once('-').unwrap_or((rest, ""));
    (of == partition.to_string()).then(|| Some((first.parse().ok()?, owner))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_read_from_the_names_of_ones_own_partition_only() {
        let started = "2026-11-21T15:56:05.120Z".parse().unwrap();
        let name = output_name(started, 3, 500, "0123456789abcdef", "csv.gz");
        assert_eq!(name, "20261121T155605.120Z-3-500-01234567.csv.gz");
        assert_eq!(first_offset(&name, 3, "csv.gz"), Some((500, "01234567")));
        assert_eq!(first_offset("20261121T155605.120Z-3-500.csv", 3, "csv"), Some((500, "")));
        for (name, partition, extension) in
            [(&*name, 30, "csv.gz"), (&name, 3, "parquet"), ("notes.csv", 3, "csv"), ("a-3-b.csv", 3, "csv")]
        {
            assert_eq!(first_offset(name, partition, extension), None);
        }
    }
}
