//! A Delta table, as its sink and its source see it: a folder of Parquet files, and a log with one entry for each version,
//! which names the files that the version adds. An entry is put where there is none, and never changes.
//!
//! Nothing here decides what is written or read. A table that needs more of a writer or a reader than this host knows is
//! refused.

mod local;

use std::future::Future;
use std::sync::Arc;

use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::transaction::TransactionError;
use deltalake_core::kernel::{
    Action, Add, EagerSnapshot, Metadata, Protocol, Snapshot, StructType, Transaction, new_metadata,
};
use deltalake_core::logstore::{CommitOrBytes, LogStoreRef, ObjectStoreRef, StorageConfig, default_logstore};
use deltalake_core::{DeltaTable, DeltaTableError, checkpoints};
use object_store::ObjectStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use tokio::runtime::{Builder, Runtime};

use self::local::Local;
use crate::objects::{self, Bucket, Trouble};
use crate::sink::SinkError;
use crate::source::SourceError;
use crate::uri::Location;

/// Of a table that we create: after so many versions its log is summed up in a checkpoint.
const CHECKPOINT_INTERVAL: u64 = 10;

/// The table features that ask nothing of a writer that only appends, or of a reader of what was appended.
const FEATURES: [&str; 5] = ["appendOnly", "invariants", "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"];

/// Where a table is, or is to be.
pub struct Table {
    /// As a URI, which is the same in every run.
    pub place: String,
    log: LogStoreRef,
    /// Of a table on a disk. The others share that of the clients of buckets.
    own: Option<Runtime>,
}

/// Why nothing can be done with a table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It is not there, not ours, or not of this shape; the text says what, and what to do.
    #[error("{place}: {what}")]
    Refused { place: String, what: String },
    /// The bucket that it is in.
    #[error(transparent)]
    Bucket(#[from] Trouble),
    /// The disk that it is on.
    #[error("{}: {error}", path.display())]
    Disk { path: std::path::PathBuf, error: std::io::Error },
}

impl From<TableError> for SinkError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Refused { place, what } => Self::Place { place, what },
            TableError::Bucket(trouble) => trouble.into(),
            TableError::Disk { path, error } => Self::File { path, error },
        }
    }
}

impl From<TableError> for SourceError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Refused { .. } => Self::Unreachable(error.to_string()),
            TableError::Bucket(trouble) => trouble.into(),
            TableError::Disk { path, error } => Self::File { path: path.display().to_string(), error },
        }
    }
}

impl Table {
    /// Nothing is read or created.
    pub fn new(location: &Location, s3: &objects::Options) -> Result<Self, TableError> {
        let refused = |what: String| TableError::Refused { place: format!("delta:{location}"), what };
        let (root, prefix, url, place): (ObjectStoreRef, _, _, _) = match location {
            Location::Directory(directory) => {
                let disk = |error| TableError::Disk { path: directory.clone(), error };
                let directory = std::path::absolute(directory).map_err(disk)?;
                let url = url::Url::from_directory_path(&directory);
                let prefix = Path::from_absolute_path(&directory).map_err(|error| refused(error.to_string()))?;
                (
                    Arc::new(Local::new().map_err(|error| refused(error.to_string()))?),
                    prefix,
                    url,
                    format!("delta:{}", directory.display()),
                )
            }
            Location::Bucket { bucket, prefix } => {
                let Bucket { store, prefix, .. } = Bucket::open(s3, bucket, prefix)?;
                let url = url::Url::parse(&format!("s3://{bucket}/")).map_err(|error| refused(error.to_string()));
                let mut url = url?;
                url.set_path(&format!("/{prefix}/"));
                (store, prefix, Ok(url), format!("delta:{location}"))
            }
        };
        let url = url.map_err(|()| refused("it is no absolute path".to_owned()))?;
        let table: ObjectStoreRef = Arc::new(PrefixStore::new(root.clone(), prefix));
        let log = default_logstore(table, root, &url, &StorageConfig::default());
        // What is written to a disk is written on the thread that asks for it.
        let own = match location {
            Location::Directory(_) => {
                Some(Builder::new_current_thread().build().map_err(|error| refused(format!("no runtime: {error}")))?)
            }
            Location::Bucket { .. } => None,
        };
        Ok(Self { place, log, own })
    }

    /// Waits for what is done with the table.
    pub fn wait<T, E: Into<DeltaTableError>>(
        &self,
        doing: impl Future<Output = Result<T, E>>,
    ) -> Result<T, TableError> {
        self.runtime().block_on(doing).map_err(|error| self.failed(&error.into()))
    }

    /// For what has to be called where something may be left to do in the background.
    pub fn runtime(&self) -> &Runtime {
        self.own.as_ref().unwrap_or_else(|| objects::runtime())
    }

    pub fn log(&self) -> &LogStoreRef {
        &self.log
    }

    /// The files, by their paths in the table.
    pub fn files(&self) -> Arc<dyn ObjectStore> {
        self.log.object_store(None)
    }

    /// The table as of a version, or as of the last one; `None` where there is none.
    pub fn snapshot(&self, version: Option<u64>) -> Result<Option<Snapshot>, TableError> {
        let log = self.log.as_ref();
        self.wait(async {
            if !log.is_delta_table_location().await? {
                return Ok(None);
            }
            match Snapshot::try_new(log, version).await {
                // Another process is creating it.
                Err(DeltaTableError::NotATable(_)) => Ok(None),
                snapshot => snapshot.map(Some),
            }
        })
    }

    /// How far applications have come as of a version, in the order that they are asked for.
    pub fn transactions(&self, version: u64, apps: &[String]) -> Result<Vec<Option<i64>>, TableError> {
        let log = self.log.as_ref();
        self.wait(async {
            let snapshot = EagerSnapshot::try_new(log, Some(version)).await?;
            let mut versions = Vec::new();
            for app in apps {
                versions.push(snapshot.transaction_version(log, app).await?);
            }
            Ok::<_, DeltaTableError>(versions)
        })
    }

    /// What a version changed; `None` where its entry is not there.
    pub fn entry(&self, version: u64) -> Result<Option<Vec<Action>>, TableError> {
        self.bytes(version)?.map(|bytes| self.actions(version, &bytes)).transpose()
    }

    /// The entry of a version as it is.
    pub fn bytes(&self, version: u64) -> Result<Option<bytes::Bytes>, TableError> {
        self.wait(self.log.read_commit_entry(version))
    }

    pub fn actions(&self, version: u64, entry: &bytes::Bytes) -> Result<Vec<Action>, TableError> {
        let actions = deltalake_core::logstore::get_actions(version, entry);
        actions.map_err(|error| self.refused(format!("version {version} cannot be read: {error}")))
    }

    /// Puts a version where there is none, durably. Says whether it was free. After an error it may be there.
    pub fn put(&self, version: u64, entry: bytes::Bytes) -> Result<bool, TableError> {
        let operation = Default::default();
        let put = self.log.write_commit_entry(version, CommitOrBytes::LogBytes(entry), operation);
        match self.runtime().block_on(put) {
            Ok(()) => Ok(true),
            Err(TransactionError::VersionAlreadyExists(_)) => Ok(false),
            Err(error) => Err(self.failed(&error.into())),
        }
    }

    /// Sums up the log as of this version where its turn has come, so that it opens quickly, and removes entries that the
    /// table no longer keeps, unless it says that they stay. What is committed is so whether or not this works.
    pub fn tidy(&self, version: u64, metadata: &Metadata) {
        if version == 0 || !version.is_multiple_of(checkpoint_interval(metadata)) {
            return;
        }
        let stays =
            metadata.configuration().get("delta.enableExpiredLogCleanup").is_some_and(|cleans| cleans == "false");
        let tidied = self.wait(async {
            let mut table = DeltaTable::new(self.log.clone());
            table.load_version(version).await?;
            checkpoints::create_checkpoint(&table, None).await?;
            if stays { Ok(0) } else { checkpoints::cleanup_metadata(&table, None).await }
        });
        if let Err(error) = tidied {
            tracing::warn!("{error}; the log of the table has no checkpoint of version {version}, and is read without");
        }
    }

    pub fn refused(&self, what: impl Into<String>) -> TableError {
        TableError::Refused { place: self.place.clone(), what: what.into() }
    }

    /// An error by who has to do something about it.
    pub fn failed(&self, error: &DeltaTableError) -> TableError {
        let what = error.to_string();
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(found) = cause {
            if let Some(SinkError::File { path, error }) = found.downcast_ref() {
                let error = std::io::Error::new(error.kind(), error.to_string());
                return TableError::Disk { path: path.clone(), error };
            }
            if found.is::<object_store::Error>() && self.own.is_none() {
                return Trouble::new(&self.place, generic(found)).into();
            }
            cause = found.source();
        }
        self.refused(what)
    }
}

/// The same with all that its causes say.
fn generic(error: &(dyn std::error::Error + 'static)) -> object_store::Error {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join("\n");
    object_store::Error::Generic { store: "S3", source: text.into() }
}

/// The first entry of a table with these columns.
pub fn creation(schema: &StructType, partition_by: &[String]) -> Result<Vec<Action>, DeltaTableError> {
    let interval = ("delta.checkpointInterval", CHECKPOINT_INTERVAL.to_string());
    let protocol: Protocol = serde_json::from_value(serde_json::json!({"minReaderVersion": 1, "minWriterVersion": 2}))?;
    Ok(vec![Action::Protocol(protocol), Action::Metadata(new_metadata(schema, partition_by, [interval])?)])
}

/// The columns of a table in its own types.
pub fn columns(schema: &arrow::datatypes::Schema) -> Result<StructType, DeltaTableError> {
    Ok(schema.try_into_kernel()?)
}

/// After how many versions the table wants a checkpoint.
fn checkpoint_interval(metadata: &Metadata) -> u64 {
    let asked = metadata.configuration().get("delta.checkpointInterval").and_then(|interval| interval.parse().ok());
    asked.filter(|&interval| interval > 0).unwrap_or(CHECKPOINT_INTERVAL)
}

/// What a table asks of its readers that this host does not know.
pub fn unknown_reading(protocol: &Protocol) -> Option<String> {
    unknown(protocol, ["minReaderVersion", "readerFeatures"], [1, 3])
}

/// What a table asks of its writers that this host does not know.
pub fn unknown_writing(protocol: &Protocol, metadata: &Metadata) -> Option<String> {
    let constraint = metadata.configuration().keys().find(|key| key.starts_with("delta.constraints."));
    let constraint = constraint.map(|key| format!("constraint {key:?}"));
    constraint.or_else(|| unknown(protocol, ["minWriterVersion", "writerFeatures"], [2, 7]))
}

/// `plain` is the last version that asks for nothing, and `listing` the one from which on features are listed.
fn unknown(protocol: &Protocol, [version, features]: [&str; 2], [plain, listing]: [i64; 2]) -> Option<String> {
    let said = serde_json::to_value(protocol).ok()?;
    let listed = said[features].as_array().map(Vec::as_slice).unwrap_or_default();
    let unknown = listed.iter().filter_map(|feature| feature.as_str()).find(|feature| !FEATURES.contains(feature));
    let version = said[version].as_i64().unwrap_or_default();
    let unlisted = || (version > plain && version != listing).then(|| format!("protocol version {version}"));
    unknown.map(|feature| format!("feature {feature:?}")).or_else(unlisted)
}

/// An application's transaction in a version.
pub fn transaction(app: &str, version: u64) -> Transaction {
    Transaction::new(app, version as i64)
}

/// Where the file is that an entry names, in the table.
pub fn path(add: &Add) -> Path {
    // What is encoded in a name belongs to the name.
    Path::parse(&add.path).unwrap_or_else(|_| Path::from(add.path.as_str()))
}
