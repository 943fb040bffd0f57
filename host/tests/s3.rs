//! The S3 service that the tests share: `S3_ENDPOINT`, else a MinIO that is started when the first test asks; and what a
//! reader finds in places.

mod faults;
mod proxy;
mod refusals;
mod tables;

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use futures_util::TryStreamExt;
use host::objects::{Bucket, Options, block_on};
use host::uri::Location;
use object_store::{ObjectStore, ObjectStoreExt};
use xtask::minio::{ACCESS_KEY, BUCKET, Minio, SECRET_KEY};

/// The service's address. Its bucket holds other tests' objects too: see [`location`].
pub fn endpoint() -> String {
    static STARTED: OnceLock<Minio> = OnceLock::new();
    match std::env::var("S3_ENDPOINT") {
        Ok(endpoint) if !endpoint.is_empty() => endpoint,
        // Never dropped: it ends with the process.
        _ => STARTED
            .get_or_init(|| Minio::scratch(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a MinIO to test on"))
            .endpoint(),
    }
}

/// How the shared service is reached, and by which right.
pub fn options() -> Options {
    options_at(&endpoint())
}

/// The same, of another service that has the same keys, or behind a proxy.
pub fn options_at(endpoint: &str) -> Options {
    let (access, secret) = keys();
    Options {
        endpoint: Some(endpoint.parse().expect("a URL")),
        access_key_file: Some(access),
        secret_key_file: Some(secret),
        ..Options::default()
    }
}

/// Files of the two keys.
pub fn keys() -> (PathBuf, PathBuf) {
    static WRITTEN: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = WRITTEN.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("access"), ACCESS_KEY).expect("a file");
        std::fs::write(folder.path().join("secret"), SECRET_KEY).expect("a file");
        folder
    });
    (folder.path().join("access"), folder.path().join("secret"))
}

/// A folder of the bucket that nobody else uses.
pub fn location() -> Location {
    Location::Bucket { bucket: BUCKET.to_owned(), prefix: format!("test-{:016x}", fastrand::u64(..)) }
}

/// The location of this URI in the bucket.
pub fn location_of(uri: &str) -> Location {
    let prefix = uri.strip_prefix(&format!("s3://{BUCKET}/")).expect("a folder of the bucket").to_owned();
    Location::Bucket { bucket: BUCKET.to_owned(), prefix }
}

/// Sees what is in a directory, or in a folder of a bucket.
pub struct Reader {
    pub location: Location,
    pub options: Options,
}

impl Reader {
    pub fn of(location: Location) -> Self {
        let options = if matches!(location, Location::Directory(_)) { Options::default() } else { options() };
        Self { location, options }
    }

    pub fn with(location: Location, options: Options) -> Self {
        Self { location, options }
    }

    /// The bucket, and the right to it.
    pub fn bucket(&self) -> Bucket {
        let Location::Bucket { bucket, prefix } = &self.location else { panic!("a bucket") };
        Bucket::open(&self.options, bucket, prefix).expect("a bucket")
    }

    /// All files but the hidden ones, by their names below the place.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        self.all().into_iter().filter(|(name, _)| !name.split('/').any(|name| name.starts_with('.'))).collect()
    }

    /// All files.
    pub fn all(&self) -> Vec<(String, Vec<u8>)> {
        match &self.location {
            Location::Directory(path) => below(path),
            Location::Bucket { prefix, .. } => {
                let bucket = self.bucket();
                let found = block_on(bucket.store.list(Some(&bucket.prefix)).try_collect::<Vec<_>>()).expect("a list");
                let read = |object: object_store::ObjectMeta| {
                    let name = object.location.as_ref().strip_prefix(prefix).expect("the prefix").trim_matches('/');
                    // What is not there any more was never to stay.
                    let bytes = block_on(async { bucket.store.get(&object.location).await?.bytes().await }).ok()?;
                    Some((name.to_owned(), bytes.to_vec()))
                };
                found.into_iter().filter_map(read).collect()
            }
        }
    }
}

fn below(path: &Path) -> Vec<(String, Vec<u8>)> {
    let (mut files, mut folders) = (Vec::new(), vec![path.to_owned()]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for path_found in entries.map(|entry| entry.expect("an entry").path()) {
            if path_found.is_dir() {
                folders.push(path_found);
            } else if let Ok(bytes) = std::fs::read(&path_found) {
                let name = path_found.strip_prefix(path).expect("below").to_str().expect("a name");
                files.push((name.to_owned(), bytes));
            }
        }
    }
    files
}

/// The content of a file, which is one whole member of gzip where its name says so.
pub fn unpacked(name: &str, bytes: &[u8]) -> Cursor<Vec<u8>> {
    if !name.ends_with(".gz") {
        return Cursor::new(bytes.to_vec());
    }
    let mut text = Vec::new();
    let mut member = flate2::bufread::GzDecoder::new(bytes);
    member.read_to_end(&mut text).unwrap_or_else(|error| panic!("{name} is torn: {error}"));
    assert!(member.into_inner().is_empty(), "{name} goes on after its end");
    Cursor::new(text)
}
