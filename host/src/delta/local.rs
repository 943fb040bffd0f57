//! A local disk as an object store whose writes are durable, and whole or not there, when they return: the one that comes
//! with the crate leaves that to chance. A file has another name until then, one that listings leave out; a process that is
//! killed leaves it behind. Reading is the crate's own.
//!
//! Writes happen on the thread that asks for them.

use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use crate::sink::SinkError;
use crate::sink::files::disk::Directory;
use crate::sink::files::place::{NewFile, Place, at};

/// The whole file system.
pub struct Local {
    reads: LocalFileSystem,
    writes: Arc<Directory>,
}

impl Local {
    pub fn new() -> Result<Self, SinkError> {
        Ok(Self { reads: LocalFileSystem::new(), writes: Arc::new(Directory::new(FilePath::new("/"))?) })
    }

    fn begin(&self, location: &Path) -> Result<Writing> {
        Writing::begin(self.writes.clone(), self.reads.path_to_filesystem(location)?)
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Local")
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the local file system")
    }
}

#[async_trait]
impl ObjectStore for Local {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let mut file = self.begin(location)?;
        file.append(&payload)?;
        file.finish(options.mode == PutMode::Create)
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload(Some(self.begin(location)?))))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.reads.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.reads.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.reads.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.reads.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.reads.copy_opts(from, to, options).await
    }
}

/// A file that has not got its name yet.
struct Writing {
    place: Arc<Directory>,
    path: PathBuf,
    temporary: PathBuf,
    file: NewFile,
}

impl Writing {
    fn begin(place: Arc<Directory>, path: PathBuf) -> Result<Self> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        // A name like that is in no listing of an object store over a disk.
        name.push(format!("#{}", fastrand::u64(..)));
        let temporary = path.with_file_name(name);
        let begin = || {
            place.create_folder(&folder(&path))?;
            place.create(&temporary.to_string_lossy())
        };
        let file = begin().map_err(failed)?;
        Ok(Self { place, path, temporary, file })
    }

    fn append(&mut self, payload: &PutPayload) -> Result<()> {
        for bytes in payload {
            self.file.buffer.extend_from_slice(bytes);
            self.file.spill().map_err(failed)?;
        }
        Ok(())
    }

    /// Makes it durable, and then seen; unless, when it is to be `new`, there is one.
    fn finish(self, new: bool) -> Result<PutResult> {
        let Self { place, path, temporary, file } = self;
        file.finish().map_err(failed)?;
        let named = if new {
            // A link, unlike a rename, never replaces what is there.
            let linked = std::fs::hard_link(&temporary, &path);
            place.remove(&temporary.to_string_lossy()).map_err(failed)?;
            linked
        } else {
            std::fs::rename(&temporary, &path)
        };
        match named {
            Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                let path = path.display().to_string();
                return Err(Error::AlreadyExists { path, source: source.into() });
            }
            named => named.map_err(|error| failed(at(&path.display().to_string())(error)))?,
        }
        place.sync(&folder(&path)).map_err(failed)?;
        Ok(PutResult { e_tag: None, version: None })
    }
}

/// A file that comes in parts; forgotten when it is dropped before it is complete.
struct Upload(Option<Writing>);

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upload").field(&self.0.as_ref().map(|writing| &writing.path)).finish()
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let put = self.0.as_mut().map_or_else(|| Err(ended()), |writing| writing.append(&data));
        Box::pin(std::future::ready(put))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.0.take().ok_or_else(ended)?.finish(false)
    }

    async fn abort(&mut self) -> Result<()> {
        self.0 = None;
        Ok(())
    }
}

fn folder(path: &FilePath) -> String {
    path.parent().unwrap_or(FilePath::new("/")).to_string_lossy().into_owned()
}

/// An error that names its path, for the one who asks to find again.
fn failed(error: SinkError) -> Error {
    Error::Generic { store: "disk", source: error.into() }
}

fn ended() -> Error {
    Error::Generic { store: "disk", source: "a file was written to after its end; please report it".into() }
}
