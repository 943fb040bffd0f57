//! Objects in a bucket: S3, or any service that speaks like it.
//!
//! Keys come from files, from the environment or from a profile (`keys.rs`); they are on no command line and in no
//! pipeline file, and nothing here shows them. Every call has an end: a request is given up after `ANSWER`, and tried
//! again for `RETRY` where that does no harm. What becomes of an error is said in one place (`trouble.rs`).
//!
//! The client is asynchronous and the workers are not: they wait for it with [`block_on`], on a runtime of its own.

mod keys;
mod trouble;
mod uploads;

use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredential, S3ConditionalPut};
use object_store::client::{HttpClient, HttpConnector, ReqwestConnector};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use tokio::runtime::{Builder, Runtime};

use crate::uri::Location;
use keys::Keys;
pub use trouble::{Trouble, code};

/// How long a request may take, from its beginning to the end of its answer.
const ANSWER: Duration = Duration::from_secs(15);

/// How long the service may take to copy an object.
const COPY: Duration = Duration::from_secs(120);

/// How long a request is tried again that is not answered, or with an error of the service.
const RETRY: Duration = Duration::from_secs(20);

/// Which service, and by which right. What is not said is taken from the environment and the profile, under the names
/// that AWS's own tools use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// `None` is AWS itself.
    pub endpoint: Option<url::Url>,
    pub region: Option<String>,
    /// A section of the credentials file.
    pub profile: Option<String>,
    /// A file of profiles, as AWS's tools keep it.
    pub credentials: Option<PathBuf>,
    /// Files that hold one key each, and nothing else.
    pub access_key_file: Option<PathBuf>,
    pub secret_key_file: Option<PathBuf>,
}

/// A folder of a bucket, and the right to it.
#[derive(Clone)]
pub struct Bucket {
    pub store: Arc<AmazonS3>,
    /// The same, for copies of large objects, which the service answers when they are made.
    pub copier: Arc<AmazonS3>,
    /// Where all that is meant is below; empty for the whole bucket.
    pub prefix: Path,
    name: String,
    /// The bucket's address, without a slash at its end.
    address: String,
    region: String,
    credential: Arc<AwsCredential>,
    /// For what `store` cannot ask.
    client: HttpClient,
}

impl Bucket {
    /// Finds the keys; asks nobody yet.
    pub fn open(options: &Options, name: &str, prefix: &str) -> Result<Self, Trouble> {
        let place = if prefix.is_empty() { format!("s3://{name}") } else { format!("s3://{name}/{prefix}") };
        let Keys { access, secret, token, region, endpoint } = Keys::find(options, &place)?;
        let prefix = Path::parse(prefix).map_err(|error| Trouble::new(&place, error.into()))?;
        let service = endpoint.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
        let service = service.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let backoff = BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() };
        let builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_region(&region)
            .with_access_key_id(&access)
            .with_secret_access_key(&secret)
            .with_endpoint(&service)
            .with_virtual_hosted_style_request(false)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(RetryConfig { backoff, max_retries: 20, retry_timeout: RETRY });
        let builder = match &token {
            Some(token) => builder.with_token(token),
            None => builder,
        };
        let build = |options: ClientOptions| {
            let store = builder.clone().with_client_options(options).build();
            store.map(Arc::new).map_err(|error| Trouble::new(&place, error))
        };
        let options = client(&service);
        let (store, copier) = (build(options.clone())?, build(options.clone().with_timeout(COPY))?);
        let client = ReqwestConnector::default().connect(&options).map_err(|error| Trouble::new(&place, error))?;
        let credential = Arc::new(AwsCredential { key_id: access, secret_key: secret, token });
        let (name, address) = (name.to_owned(), format!("{service}/{name}"));
        Ok(Self { store, prefix, name, address, region, credential, client, copier })
    }

    /// Whether the bucket is there and the keys are good, before anything depends on it.
    pub fn check(&self) -> Result<(), Trouble> {
        let first = async { self.store.list(Some(&self.prefix)).try_next().await };
        block_on(first).map(drop).map_err(|error| Trouble::new(&self.to_string(), error))
    }

    /// The path of a name below the prefix. Nothing in it is encoded or decoded.
    pub fn path(&self, name: &str) -> object_store::Result<Path> {
        let separator = if self.prefix.as_ref().is_empty() { "" } else { "/" };
        Ok(Path::parse(format!("{}{separator}{name}", self.prefix))?)
    }
}

impl std::fmt::Display for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Location::Bucket { bucket: self.name.clone(), prefix: self.prefix.to_string() }.fmt(f)
    }
}

/// Checks what a run is to write to, or to read from, where that is a bucket.
pub fn check(options: &Options, location: &Location) -> Result<(), Trouble> {
    match location {
        Location::Directory(_) => Ok(()),
        Location::Bucket { bucket, prefix } => Bucket::open(options, bucket, prefix)?.check(),
    }
}

/// Whether a service can be asked at this URL, which is one of a host, and shown.
pub(crate) fn check_endpoint(url: &url::Url) -> Result<(), &'static str> {
    let is_service = matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none();
    if is_service && url.username().is_empty() && url.password().is_none() {
        Ok(())
    } else {
        Err("an S3 service is asked over http or https, such as \"http://localhost:9000\"")
    }
}

fn client(service: &str) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(service.starts_with("http://"))
        .with_timeout(ANSWER)
        .with_connect_timeout(Duration::from_secs(5))
}

/// Waits for what a client does. Not to be called from within a runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}

/// The runtime of all clients of the process.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("objects").enable_all().build();
        runtime.expect("threads for the clients of buckets")
    })
}
