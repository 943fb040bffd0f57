//! A file that has its final name only when it is complete (Invariant 5).

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::sink::SinkError;

/// What a file is called while it is being written: hidden, and ending in this.
const PART: &str = ".apogee-part";

/// A file under a name of its own, on its way to its final name. Dropped before, it is removed.
pub struct PartFile {
    part: PathBuf,
    name: PathBuf,
    writer: BufWriter<File>,
    written: u64,
    finished: bool,
}

impl PartFile {
    /// Starts `directory/name`, creating the directory when absent. The lock that the file holds tells a living
    /// writer's file from one that a killed process left behind.
    pub fn create(directory: &Path, name: &str) -> Result<Self, SinkError> {
        fs::create_dir_all(directory).map_err(|error| at(directory, error))?;
        let part = directory.join(format!(".{name}{PART}"));
        let file = OpenOptions::new().write(true).create_new(true).open(&part).map_err(|error| at(&part, error))?;
        file.try_lock().map_err(|error| at(&part, error.into()))?;
        Ok(Self {
            part,
            name: directory.join(name),
            writer: BufWriter::with_capacity(64 << 10, file),
            written: 0,
            finished: false,
        })
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.written += bytes.len() as u64;
        self.writer.write_all(bytes).map_err(|error| at(&self.part, error))
    }

    /// Makes the content durable, then gives the file its final name, which must be free.
    pub fn finish(mut self) -> Result<(), SinkError> {
        self.writer.flush().map_err(|error| at(&self.part, error))?;
        self.writer.get_ref().sync_all().map_err(|error| at(&self.part, error))?;
        // A link, unlike a rename, never replaces a file that is there; some file systems have none.
        match fs::hard_link(&self.part, &self.name) {
            Err(error) if no_links(&error) && !self.name.exists() => {
                fs::rename(&self.part, &self.name).map_err(|error| at(&self.name, error))?;
                self.finished = true;
            }
            linked => {
                linked.map_err(|error| at(&self.name, error))?;
                self.finished = true;
                fs::remove_file(&self.part).map_err(|error| at(&self.part, error))?;
            }
        }
        let directory = self.name.parent().unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| at(directory, error))
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_file(&self.part);
        }
    }
}

/// Removes what killed processes left unfinished in `directory`. Says how many files there were.
pub fn remove_abandoned(directory: &Path) -> Result<usize, SinkError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(|error| at(directory, error))?,
    };
    let mut removed = 0;
    for entry in entries {
        let path = entry.map_err(|error| at(directory, error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !(name.starts_with('.') && name.ends_with(PART)) {
            continue;
        }
        let abandoned = File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
        if abandoned {
            fs::remove_file(&path).map_err(|error| at(&path, error))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// What FAT and some network file systems answer to a link.
fn no_links(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::Unsupported | std::io::ErrorKind::PermissionDenied)
}

fn at(path: &Path, error: std::io::Error) -> SinkError {
    SinkError::File { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_has_its_name_only_when_complete() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = PartFile::create(directory.path(), "a.csv").unwrap();
        file.write(b"1\n").unwrap();
        assert_eq!(names(directory.path()), [".a.csv.apogee-part"]);
        file.finish().unwrap();
        assert_eq!(names(directory.path()), ["a.csv"]);
        assert_eq!(fs::read(directory.path().join("a.csv")).unwrap(), b"1\n");
    }

    #[test]
    fn a_dropped_file_leaves_nothing_and_a_finished_one_is_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        drop(PartFile::create(directory.path(), "a.csv").unwrap());
        assert!(names(directory.path()).is_empty());
        fs::write(directory.path().join("a.csv"), "old").unwrap();
        let mut file = PartFile::create(directory.path(), "a.csv").unwrap();
        file.write(b"new").unwrap();
        let error = file.finish().unwrap_err().to_string();
        assert!(error.contains("a.csv: File exists"), "{error}");
        assert_eq!(fs::read(directory.path().join("a.csv")).unwrap(), b"old");
        assert_eq!(names(directory.path()), ["a.csv"]);
    }

    #[test]
    fn only_abandoned_parts_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(".dead.csv.apogee-part"), "torn").unwrap();
        let living = PartFile::create(directory.path(), "b.csv").unwrap();
        assert_eq!(remove_abandoned(directory.path()).unwrap(), 1);
        assert_eq!(names(directory.path()), [".b.csv.apogee-part"]);
        drop(living);
    }
}
