//! Files that are durable before anybody counts on them, and that are known again when they are read. Every error
//! names its path.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::sink::SinkError;

/// Bytes that wait in memory before they are written.
const SPILL: usize = 64 << 10;

/// What a file is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub bytes: u64,
    pub xxh3: u64,
}

/// A file that is being written; removed when it is dropped before it is finished.
pub struct NewFile {
    path: PathBuf,
    file: File,
    /// What is to be written next: appended to by whoever has something to write.
    pub buffer: Vec<u8>,
    written: u64,
    hash: Xxh3,
    finished: bool,
}

impl NewFile {
    /// Creates a file that is not there yet.
    pub fn create(path: PathBuf) -> Result<Self, SinkError> {
        let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(at(&path))?;
        Ok(Self { path, file, buffer: Vec::new(), written: 0, hash: Xxh3::new(), finished: false })
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Writes what is in the buffer once it is worth it.
    pub fn spill(&mut self) -> Result<(), SinkError> {
        if self.buffer.len() < SPILL { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<(), SinkError> {
        self.file.write_all(&self.buffer).map_err(at(&self.path))?;
        self.hash.update(&self.buffer);
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes the content durable. The name is so only after the folder's [`sync`].
    pub fn finish(mut self) -> Result<Content, SinkError> {
        self.write()?;
        self.file.sync_all().map_err(at(&self.path))?;
        self.finished = true;
        Ok(Content { bytes: self.written, xxh3: self.hash.digest() })
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed now is removed when its partition is opened again.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Reads a file of known content. At its end comes [`io::ErrorKind::InvalidData`] unless it was that (Invariant 3).
pub struct Checked {
    file: File,
    expected: Content,
    read: u64,
    hash: Xxh3,
}

impl Checked {
    pub fn open(path: &Path, expected: Content) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, expected, read: 0, hash: Xxh3::new() })
    }
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.read += read as u64;
        if read == 0 && !buffer.is_empty() && (Content { bytes: self.read, xxh3: self.hash.digest() }) != self.expected
        {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is damaged: its checksum is wrong"));
        }
        Ok(read)
    }
}

/// Whether a file is there and as it was written.
pub fn check(path: &Path, expected: Content) -> io::Result<()> {
    io::copy(&mut io::BufReader::with_capacity(SPILL, Checked::open(path, expected)?), &mut io::sink()).map(|_| ())
}

pub fn hash(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Makes the names in a folder durable.
pub fn sync(folder: &Path) -> Result<(), SinkError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

/// Creates a folder with all above it, durably.
pub fn create_folder(path: &Path) -> Result<(), SinkError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    create_folder(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        created => created.map_err(at(path)).and_then(|()| sync(parent)),
    }
}

/// Removes a file; that somebody else has done so is no error.
pub fn remove(path: &Path) -> Result<(), SinkError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(at(path)),
    }
}

/// Gives an error its path.
pub fn at(path: &Path) -> impl FnOnce(io::Error) -> SinkError {
    let path = path.to_owned();
    |error| SinkError::File { path, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_again_and_a_damaged_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut file = NewFile::create(path.clone()).unwrap();
        file.buffer.extend_from_slice(b"some text");
        let content = file.finish().unwrap();
        check(&path, content).unwrap();
        for wrong in [&b"some texT"[..], b"some tex", b"some text.", b""] {
            fs::write(&path, wrong).unwrap();
            assert_eq!(check(&path, content).unwrap_err().kind(), io::ErrorKind::InvalidData, "{wrong:?}");
        }
    }

    #[test]
    fn a_dropped_file_leaves_nothing_and_one_that_is_there_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        drop(NewFile::create(path.clone()).unwrap());
        assert!(!path.exists());
        fs::write(&path, "old").unwrap();
        assert!(NewFile::create(path.clone()).err().unwrap().to_string().contains("a: File exists"));
        assert_eq!(fs::read(path).unwrap(), b"old");
    }

    #[test]
    fn folders_are_made_with_all_above_them_and_a_file_in_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        create_folder(&deep).unwrap();
        create_folder(&deep).unwrap();
        fs::write(deep.join("file"), "").unwrap();
        let error = create_folder(&deep.join("file/d")).unwrap_err().to_string();
        assert!(error.contains("a/b/c/file: File exists"), "{error}");
    }
}
