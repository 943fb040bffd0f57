//! Components by content, kept in a topic: so that a version that was swapped in is there after a restart, and wherever
//! its partitions go.
//!
//! A component is cut into chunks, because brokers take messages of 1 MiB: each is a message with the key `HASH/NUMBER`
//! and the component's size in a header. What is not whole, or not what its hash says, counts as not there (Invariant 3).

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::log::{Log, LogError};
use crate::message::{Batch, Fetch, Header};

/// The largest component, in bytes.
pub const MAX_COMPONENT: usize = 64 << 20;
/// Bytes of a chunk.
const CHUNK: usize = 512 << 10;
/// The header that says how large the whole component is.
const SIZE: &str = "size";

/// The components of one group, in the compacted topic `GROUP.plugins` of the log that it reads.
pub struct Store {
    log: Arc<dyn Log>,
    topic: String,
}

impl Store {
    /// Nothing is created before the first [`put`](Self::put).
    pub fn new(log: Arc<dyn Log>, group: &str) -> Self {
        Self { log, topic: format!("{group}.plugins") }
    }

    /// Keeps a component, durably, and gives its hash (SHA-256, in hexadecimal). One that is there is not written again.
    pub fn put(&self, component: &[u8]) -> Result<String, LogError> {
        if component.len() > MAX_COMPONENT {
            return Err(self.broken(format!(
                "a component of {} bytes is larger than is kept ({MAX_COMPONENT}); build it for release, without what is \
                 there for debugging (wasm-tools strip)",
                component.len()
            )));
        }
        let hash = hash(component);
        self.log.create_compacted(&self.topic, 1)?;
        if self.find(&hash)?.is_some() {
            return Ok(hash);
        }
        let mut writer = self.log.writer(&self.topic)?;
        let now = jiff::Timestamp::now().as_millisecond();
        for (number, chunk) in component.chunks(CHUNK).enumerate() {
            let mut batch = Batch::new();
            batch.push(Some(format!("{hash}/{number}").as_bytes()), Some(chunk), now);
            let size = component.len().to_string().into_bytes();
            batch.headers.push(Header { message: 0, name: SIZE.to_owned(), value: size });
            writer.append(&batch)?;
        }
        writer.flush()?;
        Ok(hash)
    }

    /// A component that was kept; its content is checked against its hash.
    pub fn get(&self, hash: &str) -> Result<Vec<u8>, LogError> {
        self.find(hash)?.ok_or_else(|| {
            self.broken(format!(
                "component {hash} is not there, or damaged; swap it in again where it was, or say another component in \
                 the pipeline file"
            ))
        })
    }

    /// The hashes and sizes of all that is kept.
    pub fn list(&self) -> Result<Vec<(String, usize)>, LogError> {
        let mut found = BTreeMap::<String, Chunks>::new();
        self.scan(|hash, number, size, chunk| {
            found.entry(hash.to_owned()).or_default().add(number, size, chunk.len());
        })?;
        Ok(found.into_iter().filter_map(|(hash, chunks)| Some((hash, chunks.size()?))).collect())
    }

    fn find(&self, wanted: &str) -> Result<Option<Vec<u8>>, LogError> {
        let mut chunks = BTreeMap::new();
        self.scan(|hash, number, _, chunk| {
            if hash == wanted {
                chunks.insert(number, chunk.to_vec());
            }
        })?;
        let component = chunks.into_values().collect::<Vec<_>>().concat();
        Ok(Some(component).filter(|component| hash(component) == wanted))
    }

    /// Shows the chunks that are kept, in the order in which they were, each with its component's hash and size and its
    /// number; the last one of a number counts.
    fn scan(&self, mut each: impl FnMut(&str, usize, usize, &[u8])) -> Result<(), LogError> {
        let mut next = 0;
        loop {
            let fetch = match self.log.read(&self.topic, 0, next, usize::MAX) {
                Err(LogError::NoTopic { .. }) => return Ok(()),
                fetch => fetch?,
            };
            if fetch.batch.is_empty() {
                return Ok(());
            }
            next = fetch.next;
            chunks(&fetch).for_each(|(hash, number, size, chunk)| each(hash, number, size, chunk));
        }
    }

    fn broken(&self, error: String) -> LogError {
        LogError::Broken { log: format!("topic {:?}", self.topic), error }
    }
}

/// What is known of a component without its content.
#[derive(Default)]
struct Chunks {
    size: usize,
    bytes: BTreeMap<usize, usize>,
}

impl Chunks {
    fn add(&mut self, number: usize, size: usize, bytes: usize) {
        self.size = size;
        self.bytes.insert(number, bytes);
    }

    /// The component's size, where all of it is there.
    fn size(&self) -> Option<usize> {
        let bytes: usize = self.bytes.values().sum();
        (bytes == self.size).then_some(bytes)
    }
}

/// What is a chunk among these messages: somebody else may have written there, too.
fn chunks(fetch: &Fetch) -> impl Iterator<Item = (&str, usize, usize, &[u8])> {
    let mut sizes = BTreeMap::new();
    for header in fetch.batch.headers.iter().filter(|header| header.name == SIZE) {
        sizes.insert(header.message, number(str::from_utf8(&header.value).ok()));
    }
    let messages = (0..).zip(fetch.batch.keys.iter().zip(&fetch.batch.values));
    messages.filter_map(move |(message, (key, value))| {
        let (hash, place) = str::from_utf8(key?).ok()?.split_once('/')?;
        let (place, size) = (number(Some(place))?, (*sizes.get(&message)?)?);
        let fits = hash.len() == 64 && place < MAX_COMPONENT / CHUNK && size <= MAX_COMPONENT;
        value.filter(|chunk| fits && chunk.len() <= CHUNK).map(|chunk| (hash, place, size, chunk))
    })
}

fn number(text: Option<&str>) -> Option<usize> {
    text?.parse().ok()
}

fn hash(component: &[u8]) -> String {
    Sha256::digest(component).iter().map(|byte| format!("{byte:02x}")).collect()
}
