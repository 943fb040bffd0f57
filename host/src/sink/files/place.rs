//! Where the folders of partitions and their finished files are: a directory, or a folder of a bucket. What both do is
//! here; one algorithm (`folder.rs`) works over it. Names are below the place, their parts separated by `/`; every error
//! names the whole of it.
//!
//! What is promised, and what the algorithm builds on: what [`Place::put_new`] and [`NewFile::finish`] have answered for
//! is durable; who lists after that sees it; a name is put new by one only; nothing is ever seen half written.

use std::io::{self, Read};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::ScopedJoinHandle;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::bucket::Objects;
use super::disk::Directory;
use crate::objects::{self, Bucket, Trouble};
use crate::sink::SinkError;
use crate::uri::Location;

/// Bytes that wait in memory before they are handed on.
const SPILL: usize = 64 << 10;

/// Opens the place of a location. Nothing is created or asked yet.
pub fn place(location: &Location, s3: &objects::Options) -> Result<Arc<dyn Place>, SinkError> {
    Ok(match location {
        Location::Directory(path) => Arc::new(Directory::new(path)?),
        Location::Bucket { bucket, prefix } => Arc::new(Objects(Bucket::open(s3, bucket, prefix)?)),
    })
}

/// A directory, or a folder of a bucket.
pub trait Place: Send + Sync {
    /// The whole of a name, for a person; that of an empty name is the place's own.
    fn shown(&self, name: &str) -> String;

    /// How many files are finished or published at a time.
    fn at_a_time(&self) -> usize;

    /// Creates a folder with all above it, durably, where there are folders.
    fn create_folder(&self, folder: &str) -> Result<(), SinkError>;

    /// The names of the files in a folder, without those of the folders above.
    fn names(&self, folder: &str) -> Result<Vec<String>, SinkError>;

    /// The names of all files but the hidden ones.
    fn finished(&self) -> Result<Vec<String>, SinkError>;

    /// Opens a file, which can be read to its end also when it is removed meanwhile.
    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>>;

    fn exists(&self, name: &str) -> Result<bool, SinkError>;

    /// Removes a file, with what was begun for it; that somebody else has done so is no error.
    fn remove(&self, name: &str) -> Result<(), SinkError>;

    /// Puts a file, whole and durable, where there is none. Says whether it is ours that is there. `temporary` is a name
    /// that nobody else uses.
    fn put_new(&self, name: &str, temporary: &str, bytes: &[u8]) -> Result<bool, SinkError>;

    /// Begins a file that is there when it is finished; half written it is seen by nobody who looks for its name.
    fn create(&self, name: &str) -> Result<NewFile, SinkError>;

    /// Makes the names in a folder durable.
    fn sync(&self, folder: &str) -> Result<(), SinkError>;

    /// Gives a finished file, known as `part`, the name under which it is to be seen, durably, unless that was done before
    /// or is being done by somebody else.
    fn publish(&self, part: &str, name: &str) -> Result<(), SinkError>;
}

/// Does something with each of these, so many at a time. Gives the results in order, or the first error in order.
pub fn each<T: Send, R: Send, E: Send>(
    at_a_time: usize,
    items: Vec<T>,
    work: impl Fn(T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    if at_a_time == 1 || items.len() < 2 {
        return items.into_iter().map(work).collect();
    }
    let share = items.len().div_ceil(at_a_time);
    let (mut items, work) = (items.into_iter(), &work);
    let mut shares = Vec::new();
    while items.len() > 0 {
        shares.push(items.by_ref().take(share).collect::<Vec<T>>());
    }
    let done = std::thread::scope(|scope| {
        let work = |share: Vec<T>| move || share.into_iter().map(work).collect::<Result<Vec<R>, E>>();
        let threads: Vec<_> = shares.into_iter().map(|share| scope.spawn(work(share))).collect();
        let join = |thread: ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        threads.into_iter().map(join).collect::<Result<Vec<_>, E>>()
    });
    Ok(done?.into_iter().flatten().collect())
}

/// What a file is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub bytes: u64,
    pub xxh3: u64,
}

/// Where the content of a new file goes. Dropped unfinished, it leaves nothing.
pub trait Target: Send {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError>;

    /// Makes it durable.
    fn finish(&mut self) -> Result<(), SinkError>;
}

/// A file that is being written.
pub struct NewFile {
    target: Box<dyn Target>,
    /// What is to be written next: appended to by whoever has something to write.
    pub buffer: Vec<u8>,
    written: u64,
    hash: Xxh3,
}

impl NewFile {
    pub fn new(target: impl Target + 'static) -> Self {
        Self { target: Box::new(target), buffer: Vec::new(), written: 0, hash: Xxh3::new() }
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Hands on what is in the buffer once it is worth it.
    pub fn spill(&mut self) -> Result<(), SinkError> {
        if self.buffer.len() < SPILL { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<(), SinkError> {
        self.target.write(&self.buffer)?;
        self.hash.update(&self.buffer);
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes the content durable.
    pub fn finish(mut self) -> Result<Content, SinkError> {
        self.write()?;
        self.target.finish()?;
        Ok(Content { bytes: self.written, xxh3: self.hash.digest() })
    }
}

/// Reads a file of known content. At its end comes [`io::ErrorKind::InvalidData`] unless it was that (Invariant 3).
pub struct Checked {
    file: Box<dyn Read + Send>,
    expected: Content,
    read: u64,
    hash: Xxh3,
}

impl Checked {
    pub fn open(place: &dyn Place, name: &str, expected: Content) -> io::Result<Self> {
        Ok(Self { file: place.open(name)?, expected, read: 0, hash: Xxh3::new() })
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
pub fn check(place: &dyn Place, name: &str, expected: Content) -> io::Result<()> {
    let file = Checked::open(place, name, expected)?;
    io::copy(&mut io::BufReader::with_capacity(SPILL, file), &mut io::sink()).map(|_| ())
}

pub fn hash(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Gives an error of reading or writing its place; what is behind one of a bucket is told as such.
pub fn at(shown: &str) -> impl FnOnce(io::Error) -> SinkError + use<> {
    let shown = shown.to_owned();
    |error| match error.downcast::<Trouble>() {
        Ok(trouble) => trouble.into(),
        Err(error) => SinkError::File { path: PathBuf::from(shown), error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_done_at_a_time_the_results_are_in_order_and_the_first_error_is_told() {
        for (at_a_time, items) in [(1, 5), (2, 5), (8, 0), (8, 1), (8, 8), (8, 30)] {
            let double = |item: usize| Ok::<_, usize>(2 * item);
            assert_eq!(each(at_a_time, (0..items).collect(), double), Ok((0..items).map(|item| 2 * item).collect()));
        }
        let odd = |item: usize| if item == 7 || item == 29 { Err(item) } else { Ok(item) };
        assert_eq!(each(8, (0..30).collect(), odd), Err(7));
    }
}
