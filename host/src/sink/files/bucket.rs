//! A folder of a bucket. A manifest is put on condition that there is none. A finished file of output is an object in the
//! partition's folder, and the service copies it to the name under which it is to be seen: of a copy nothing is seen
//! before it is whole, and it can be made again as long as the first object is there.
//!
//! An upload in parts ends before anything counts on it: one whose end is cut off may be lost for good (MinIO takes the
//! parts apart before the object is there). Before one begins, an object `….upload` says for which name; so whoever finds
//! that object can end what is left of it, and none stays behind. An answer that is lost costs nothing: a manifest is
//! read back, and is ours if it is so byte for byte, because it names its owner; an upload that is not known any more was
//! completed if its object is there, which nobody else can have put, because its name holds its owner's.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use tokio::task::JoinHandle;

use super::place::{NewFile, Place, Target};
use crate::objects::{Bucket, Trouble, block_on, code, runtime};
use crate::sink::SinkError;

/// Bytes of a part; all but the last one have so many. What is no longer than one is put at once.
const PART: usize = 8 << 20;

/// Parts that are under way at a time, of one file.
const UNDER_WAY: usize = 2;

/// Files that are finished or published at a time.
const FILES: usize = 8;

/// What the name of an object ends in that tells of an upload.
const UPLOAD: &str = ".upload";

/// How long what is dropped is cleared away; what is left then is cleared away when its partition is opened again.
const CLEARING: Duration = Duration::from_secs(2);

/// Objects below a folder of a bucket.
pub struct Objects(pub Bucket);

impl Objects {
    fn path(&self, name: &str) -> Result<Path, SinkError> {
        self.0.path(name).map_err(self.at(name))
    }

    fn at(&self, name: &str) -> impl FnOnce(Error) -> SinkError {
        let shown = self.shown(name);
        move |error| Trouble::new(&shown, error).into()
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, SinkError> {
        let path = self.path(name)?;
        match block_on(async { self.0.store.get(&path).await?.bytes().await }) {
            Err(error @ Error::NotFound { .. }) if !is_bucket(&error) => Ok(None),
            read => read.map(|bytes| Some(bytes.into())).map_err(self.at(name)),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, SinkError> {
        let prefix = if folder.is_empty() { self.0.prefix.clone() } else { self.path(folder)? };
        let found = block_on(self.0.store.list(Some(&prefix)).try_collect::<Vec<_>>()).map_err(self.at(folder))?;
        let names = found.iter().filter_map(|object| object.location.as_ref().strip_prefix(prefix.as_ref()));
        Ok(names.map(|name| name.trim_start_matches('/').to_owned()).collect())
    }
}

impl Place for Objects {
    fn shown(&self, name: &str) -> String {
        if name.is_empty() { self.0.to_string() } else { format!("{}/{name}", self.0) }
    }

    fn at_a_time(&self) -> usize {
        FILES
    }

    fn create_folder(&self, _folder: &str) -> Result<(), SinkError> {
        Ok(())
    }

    fn names(&self, folder: &str) -> Result<Vec<String>, SinkError> {
        Ok(self.list(folder)?.into_iter().filter(|name| !name.contains('/')).collect())
    }

    fn finished(&self) -> Result<Vec<String>, SinkError> {
        let hidden = |name: &String| name.split('/').any(|part| part.starts_with('.'));
        Ok(self.list("")?.into_iter().filter(|name| !hidden(name)).collect())
    }

    /// What is read is held here, in a file without a name where it is large.
    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        let path = self.0.path(name).map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
        let mut file = tempfile::spooled_tempfile(PART);
        let copied = block_on(async {
            let mut chunks = self.0.store.get(&path).await?.into_stream();
            while let Some(chunk) = chunks.try_next().await? {
                if let Err(error) = file.write_all(&chunk) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        });
        match copied {
            Err(error @ Error::NotFound { .. }) if !is_bucket(&error) => return Err(ErrorKind::NotFound.into()),
            Err(error) => return Err(io::Error::other(Trouble::new(&self.shown(name), error))),
            Ok(written) => written?,
        }
        file.rewind()?;
        Ok(Box::new(file))
    }

    fn exists(&self, name: &str) -> Result<bool, SinkError> {
        let path = self.path(name)?;
        match block_on(self.0.store.head(&path)) {
            Err(Error::NotFound { .. }) => Ok(false),
            found => found.map(|_| true).map_err(self.at(name)),
        }
    }

    fn remove(&self, name: &str) -> Result<(), SinkError> {
        if let Some(uploaded) = name.strip_suffix(UPLOAD) {
            block_on(self.0.abort_uploads(&self.path(uploaded)?)).map_err(self.at(uploaded))?;
        }
        match block_on(self.0.store.delete(&self.path(name)?)) {
            Err(Error::NotFound { .. }) => Ok(()),
            removed => removed.map_err(self.at(name)),
        }
    }

    fn put_new(&self, name: &str, _temporary: &str, bytes: &[u8]) -> Result<bool, SinkError> {
        let path = self.path(name)?;
        let payload = PutPayload::from(bytes.to_vec());
        let Err(error) = block_on(self.0.store.put_opts(&path, payload, PutMode::Create.into())) else {
            return Ok(true);
        };
        let exists = matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. });
        let trouble = Trouble::new(&self.shown(name), error);
        if !exists && !trouble.interrupted {
            return Err(trouble.into());
        }
        // Our own first try may be what is in the way; or it was put and the answer was lost.
        match self.read(name)? {
            Some(found) => Ok(found == bytes),
            // It was, and is removed: somebody has a higher number.
            None if exists => Ok(false),
            None => Err(trouble.into()),
        }
    }

    fn create(&self, name: &str) -> Result<NewFile, SinkError> {
        Ok(NewFile::new(Object {
            bucket: self.0.clone(),
            path: self.path(name)?,
            record: self.path(&format!("{name}{UPLOAD}"))?,
            shown: self.shown(name),
            id: None,
            pending: Vec::new(),
            parts: VecDeque::new(),
            tags: Vec::new(),
        }))
    }

    fn sync(&self, _folder: &str) -> Result<(), SinkError> {
        Ok(())
    }

    fn publish(&self, part: &str, name: &str) -> Result<(), SinkError> {
        match block_on(self.0.copier.copy(&self.path(part)?, &self.path(name)?)) {
            // It was published.
            Err(error @ Error::NotFound { .. }) if !is_bucket(&error) => return Ok(()),
            copied => copied.map_err(self.at(name))?,
        }
        self.remove(part)
    }
}

/// An object that is being put. What was uploaded of it is ended when it is dropped before it is finished.
struct Object {
    bucket: Bucket,
    path: Path,
    /// Says, as long as it is there, that there may be an upload.
    record: Path,
    shown: String,
    /// The upload, while there is one.
    id: Option<String>,
    /// What is not in a part yet.
    pending: Vec<u8>,
    parts: VecDeque<JoinHandle<object_store::Result<PartId>>>,
    tags: Vec<PartId>,
}

impl Object {
    /// Sends what is pending, at most as much as one part.
    fn send(&mut self) -> object_store::Result<()> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => {
                let (store, path) = (&self.bucket.store, &self.path);
                block_on(store.put(&self.record, PutPayload::new()))?;
                self.id.insert(block_on(store.create_multipart(path))?).clone()
            }
        };
        if self.parts.len() == UNDER_WAY {
            self.arrive()?;
        }
        let rest = self.pending.split_off(PART.min(self.pending.len()));
        let part = PutPayload::from(std::mem::replace(&mut self.pending, rest));
        let (store, path, number) = (self.bucket.store.clone(), self.path.clone(), self.tags.len() + self.parts.len());
        self.parts.push_back(runtime().spawn(async move { store.put_part(&path, &id, number, part).await }));
        Ok(())
    }

    /// Waits for the first part that is under way.
    fn arrive(&mut self) -> object_store::Result<()> {
        if let Some(part) = self.parts.pop_front() {
            self.tags.push(block_on(part)??);
        }
        Ok(())
    }

    fn end(&mut self) -> object_store::Result<()> {
        let store = self.bucket.store.clone();
        if self.id.is_none() {
            let content = PutPayload::from(std::mem::take(&mut self.pending));
            return block_on(store.put(&self.path, content)).map(drop);
        }
        if !self.pending.is_empty() {
            self.send()?;
        }
        while !self.parts.is_empty() {
            self.arrive()?;
        }
        let Some(id) = &self.id else { return Ok(()) };
        match block_on(store.complete_multipart(&self.path, id, std::mem::take(&mut self.tags))) {
            // Of which the answer was lost.
            Err(Error::NotFound { .. }) => block_on(store.head(&self.path)).map(drop)?,
            completed => completed.map(drop)?,
        }
        // One that was begun twice, because the first answer was lost.
        block_on(self.bucket.abort_uploads(&self.path))?;
        block_on(store.delete(&self.record))?;
        self.id = None;
        Ok(())
    }

    fn trouble(&self, error: Error) -> SinkError {
        Trouble::new(&self.shown, error).into()
    }
}

impl Target for Object {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.pending.extend_from_slice(bytes);
        while self.pending.len() > PART {
            self.send().map_err(|error| self.trouble(error))?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.end().map_err(|error| self.trouble(error))
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        if self.id.is_none() {
            return;
        }
        for part in &self.parts {
            part.abort();
        }
        let clear = async {
            self.bucket.abort_uploads(&self.path).await?;
            self.bucket.store.delete(&self.record).await
        };
        let cleared = block_on(async { tokio::time::timeout(CLEARING, clear).await });
        if !matches!(cleared, Ok(Ok(()))) {
            tracing::debug!("{} is cleared away when its partition is opened again", self.shown);
        }
    }
}

/// Whether what is not there is the bucket itself.
fn is_bucket(error: &Error) -> bool {
    code(error).as_deref() == Some("NoSuchBucket")
}
