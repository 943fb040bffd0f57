//! The part of a file that is in memory: grows at its end, is used up at its start.

use std::fs::{File, Metadata};
use std::io::{Error, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::reader::file_error;
use crate::source::SourceError;

/// Least bytes that are read at a time.
const CHUNK: usize = 64 * 1024;

/// Bytes of one open file, from where reading has got to.
pub struct Window {
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
    /// How much of `bytes` is used up.
    used: usize,
    /// Where in the file `bytes` starts.
    base: u64,
    /// Nothing is read from this byte on.
    stop: u64,
    modified: i64,
}

impl Window {
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let path = path.to_path_buf();
        let (file, metadata) = open_regular(&path).map_err(|error| file_error(&path, error))?;
        let modified = modified(&metadata);
        Ok(Self { path, file, bytes: Vec::new(), used: 0, base: 0, stop: u64::MAX, modified })
    }

    /// What is there and not used up.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    /// Where in the file [`Window::bytes`] starts.
    pub fn position(&self) -> i64 {
        i64::try_from(self.base + self.used as u64).unwrap_or(i64::MAX)
    }

    /// When the file was modified before its last bytes were read, in milliseconds since the Unix epoch.
    pub fn modified(&self) -> i64 {
        self.modified
    }

    /// Uses up the first `bytes` bytes.
    pub fn consume(&mut self, bytes: usize) {
        self.used += bytes;
    }

    /// Reads on, at least as much again as is there; false at the end of the file.
    pub fn grow(&mut self) -> Result<bool, SourceError> {
        self.bytes.drain(..self.used);
        self.base += self.used as u64;
        self.used = 0;
        self.modified = modified(&self.metadata()?);
        let most = self.stop.saturating_sub(self.base + self.bytes.len() as u64);
        let chunk = most.min(CHUNK.max(self.bytes.len()) as u64);
        let read = Read::by_ref(&mut self.file).take(chunk).read_to_end(&mut self.bytes);
        Ok(read.map_err(|error| file_error(&self.path, error))? > 0)
    }

    /// Goes on at byte `position` of the file.
    pub fn seek(&mut self, position: u64) -> Result<(), SourceError> {
        self.file.seek(SeekFrom::Start(position)).map_err(|error| file_error(&self.path, error))?;
        self.bytes.clear();
        (self.used, self.base) = (0, position);
        Ok(())
    }

    pub fn length(&self) -> Result<u64, SourceError> {
        Ok(self.metadata()?.len())
    }

    pub fn stop_at_the_end_of_now(&mut self) -> Result<(), SourceError> {
        self.stop = self.length()?;
        Ok(())
    }

    /// An error when the path no longer names this file, or when it is shorter than what was read.
    pub fn check(&self) -> Result<(), SourceError> {
        let changed = |what: &str| {
            let text = format!(
                "it was {what} while it was followed; run again to read it from its start, under another `group` if \
                 the sink keeps checkpoints"
            );
            Err(file_error(&self.path, Error::new(ErrorKind::InvalidData, text)))
        };
        let open = self.metadata()?;
        let read = self.base + self.bytes.len() as u64;
        match std::fs::metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => changed("removed"),
            Err(error) => Err(file_error(&self.path, error)),
            Ok(named) if (named.dev(), named.ino()) != (open.dev(), open.ino()) => changed("replaced"),
            Ok(_) if open.len() < read => changed(&format!("cut from {read} bytes or more to {}", open.len())),
            Ok(_) => Ok(()),
        }
    }

    fn metadata(&self) -> Result<Metadata, SourceError> {
        self.file.metadata().map_err(|error| file_error(&self.path, error))
    }
}

fn open_regular(path: &Path) -> std::io::Result<(File, Metadata)> {
    // Looked at before it is opened: opening a pipe would wait for a writer.
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            Error::new(ErrorKind::NotFound, "there is no such file; check the path, or create the file first")
        }
        _ => error,
    })?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "is a directory" } else { "is not a regular file" };
        return Err(Error::new(ErrorKind::InvalidInput, format!("it {what}; name a file of CSV or JSON lines")));
    }
    Ok((File::open(path)?, metadata))
}

/// 0 where the file system keeps no times.
fn modified(metadata: &Metadata) -> i64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}
