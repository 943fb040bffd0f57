//! A folder of a bucket. A manifest is put on condition that there is none; a file of output is uploaded in parts to the
//! place where it is to be seen, and is there, whole, when the upload is completed.
//!
//! Before an upload begins, the object `….part` in the partition's folder says for which name; so whoever finds that
//! object without a manifest that names it can end the upload, and none stays behind. The manifest itself holds what it
//! takes to complete it. An answer that is lost costs nothing: a manifest is read back, and is ours if it is so byte for
//! byte, because it names its owner; an upload that is not known any more was completed if its object is there, which
//! nobody else can have put, because its name holds its owner's.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use tokio::task::JoinHandle;

use super::manifest::Output;
use super::place::{NewFile, Place, Target, Upload, Wrong};
use crate::objects::{Bucket, Trouble, block_on, runtime};
use crate::sink::SinkError;

/// Bytes of a part; all but the last one have so many.
const PART: usize = 8 << 20;

/// Parts that are under way at a time, of one file.
const UNDER_WAY: usize = 2;

/// Files that are finished or published at a time.
const FILES: usize = 8;

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
            Err(Error::NotFound { source, .. }) if !is_bucket(&*source) => Ok(None),
            read => read.map(|bytes| Some(bytes.into())).map_err(self.at(name)),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, SinkError> {
        let prefix = if folder.is_empty() { self.0.prefix.clone() } else { self.path(folder)? };
        let found = block_on(self.0.store.list(Some(&prefix)).try_collect::<Vec<_>>()).map_err(self.at(folder))?;
        let names = found.iter().filter_map(|object| object.location.as_ref().strip_prefix(prefix.as_ref()));
        Ok(names.map(|name| name.trim_start_matches('/').to_owned()).collect())
    }

    fn upload(&self, name: &str, record: String, publish: bool) -> Result<NewFile, SinkError> {
        let (path, record) = (self.path(name)?, self.path(&record)?);
        let (bucket, shown) = (self.0.clone(), self.shown(name));
        let (id, pending, parts) = (None, Vec::new(), VecDeque::new());
        Ok(NewFile::new(Object {
            bucket,
            path,
            record,
            shown,
            publish,
            id,
            pending,
            parts,
            tags: Vec::new(),
            finished: false,
        }))
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
            Err(Error::NotFound { source, .. }) if !is_bucket(&*source) => return Err(ErrorKind::NotFound.into()),
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
        let path = self.path(name)?;
        match block_on(self.0.store.delete(&path)) {
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
        self.upload(name, format!("{name}.part"), true)
    }

    fn begin(&self, part: &str, output: &str) -> Result<NewFile, SinkError> {
        self.upload(output, part.to_owned(), false)
    }

    fn sync(&self, _folder: &str) -> Result<(), SinkError> {
        Ok(())
    }

    /// The service compares the parts with their tags when the upload is completed.
    fn check(&self, _part: &str, _output: &Output) -> Result<(), Wrong> {
        Ok(())
    }

    fn publish(&self, part: &str, output: &Output) -> Result<(), Wrong> {
        if !self.exists(part)? {
            return Ok(());
        }
        let path = self.path(&output.name)?;
        let Some(upload) = &output.upload else {
            return Err(Wrong::Refused(format!(
                "{} is not of a bucket: it was copied here; start anew under another `group`",
                self.shown(part)
            )));
        };
        match complete(&self.0, &path, upload) {
            Err(Error::NotFound { source, .. }) if !is_bucket(&*source) => {
                if !self.exists(&output.name)? {
                    return Err(Wrong::Refused(format!(
                        "{} was uploaded, and the upload was ended by somebody else, or the object was taken away before \
                         that was noted; if it was taken away, remove {}; else start anew under another `group`",
                        self.shown(&output.name),
                        self.shown(part)
                    )));
                }
            }
            completed => completed.map_err(self.at(&output.name))?,
        }
        // One that was begun twice, because the first answer was lost.
        block_on(self.0.abort_uploads(&path)).map_err(self.at(&output.name))?;
        Ok(self.remove(part)?)
    }

    fn discard(&self, part: &str) -> Result<(), SinkError> {
        let Some(record) = self.read(part)? else { return Ok(()) };
        let path = Path::parse(String::from_utf8_lossy(&record)).map_err(|error| self.at(part)(error.into()))?;
        block_on(self.0.abort_uploads(&path)).map_err(self.at(part))?;
        self.remove(part)
    }
}

/// An object that is being uploaded; what was uploaded is discarded when it is dropped before it is finished.
struct Object {
    bucket: Bucket,
    path: Path,
    /// Says, as long as it is there, that there may be an upload, and for which path.
    record: Path,
    shown: String,
    /// Whether it is to be seen when it is finished.
    publish: bool,
    /// The upload, once it has begun.
    id: Option<String>,
    /// What is not in a part yet.
    pending: Vec<u8>,
    parts: VecDeque<JoinHandle<object_store::Result<PartId>>>,
    tags: Vec<String>,
    finished: bool,
}

impl Object {
    /// Sends what is pending, at most as much as one part.
    fn send(&mut self) -> object_store::Result<()> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => {
                let record = PutPayload::from(self.path.to_string());
                let (store, path) = (&self.bucket.store, &self.path);
                block_on(store.put(&self.record, record))?;
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
            self.tags.push(block_on(part)??.content_id);
        }
        Ok(())
    }

    fn end(&mut self) -> object_store::Result<Option<Upload>> {
        let store = &self.bucket.store;
        if self.publish && self.id.is_none() {
            block_on(store.put(&self.path, PutPayload::from(std::mem::take(&mut self.pending))))?;
            return Ok(None);
        }
        if !self.pending.is_empty() || self.id.is_none() {
            self.send()?;
        }
        while !self.parts.is_empty() {
            self.arrive()?;
        }
        let Some(id) = self.id.clone() else { return Ok(None) };
        let upload = Upload { id, parts: std::mem::take(&mut self.tags) };
        if !self.publish {
            return Ok(Some(upload));
        }
        match complete(&self.bucket, &self.path, &upload) {
            // Of which the answer was lost.
            Err(Error::NotFound { .. }) => block_on(self.bucket.store.head(&self.path)).map(drop)?,
            completed => completed?,
        }
        block_on(self.bucket.abort_uploads(&self.path))?;
        block_on(self.bucket.store.delete(&self.record))?;
        Ok(None)
    }

    fn trouble(&self, error: Error) -> SinkError {
        Trouble::new(&self.shown, error).into()
    }
}

impl Target for Object {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.pending.extend_from_slice(bytes);
        while self.pending.len() >= PART {
            self.send().map_err(|error| self.trouble(error))?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<Upload>, SinkError> {
        let upload = self.end().map_err(|error| self.trouble(error))?;
        self.finished = true;
        Ok(upload)
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        if self.finished || self.id.is_none() {
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

fn complete(bucket: &Bucket, path: &Path, upload: &Upload) -> object_store::Result<()> {
    let parts = upload.parts.iter().map(|tag| PartId { content_id: tag.clone() }).collect();
    block_on(bucket.store.complete_multipart(path, &upload.id, parts)).map(drop)
}

/// Whether what is not there is the bucket itself.
fn is_bucket(error: &(dyn std::error::Error + Send + Sync)) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    let mut text = error.to_string();
    while let Some(error) = cause {
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.contains("NoSuchBucket")
}
