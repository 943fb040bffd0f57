//! What is kept of components, in both logs.

use std::sync::Arc;

use host::log::Log;
use host::message::{Batch, Header};
use host::store::{MAX_COMPONENT, Store};

use super::Topic;

/// The topic's own name is no more than a name of a group that nobody else has.
struct Given {
    log: Arc<dyn Log>,
    topic: Topic,
}

impl Given {
    fn group(&self) -> &str {
        &self.topic.name
    }

    fn store(&self) -> Store {
        Store::new(Arc::clone(&self.log), self.group())
    }

    fn end(&self) -> i64 {
        self.log.describe(&format!("{}.plugins", self.group())).unwrap().partitions[0].1
    }

    /// A chunk as somebody else might write it.
    fn write(&self, key: &str, value: &[u8], size: &str) {
        let mut batch = Batch::new();
        batch.push(Some(key.as_bytes()), Some(value), 1_700_000_000_000);
        batch.headers.push(Header { message: 0, name: "size".to_owned(), value: size.as_bytes().to_vec() });
        let mut writer = self.log.writer(&format!("{}.plugins", self.group())).unwrap();
        writer.append(&batch).unwrap();
        writer.flush().unwrap();
    }
}

#[test]
fn components_are_kept_once_in_the_embedded_log() {
    let topic = Topic::embedded();
    let file = topic._folder.as_ref().unwrap().path().join("log.sqlite");
    keeps_components(&Given { log: Arc::new(host::log::embedded::Embedded::open(&file).unwrap()), topic });
}

#[test]
fn components_are_kept_once_in_kafka() {
    let log = host::log::kafka::Kafka::connect(&crate::kafka::brokers(), &Default::default()).unwrap();
    keeps_components(&Given { log: Arc::new(log), topic: Topic::kafka() });
}

fn keeps_components(given: &Given) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut component = |length: usize| -> Vec<u8> { (0..length).map(|_| random.u8(..)).collect() };
    let (small, large) = (component(1_000), component(9 << 20));
    let store = given.store();
    assert_eq!(store.list().unwrap(), []);
    let error = store.get("00").unwrap_err().to_string();
    assert!(error.contains("component 00 is not there, or damaged; swap it in again"), "{error}");

    let hashes = [&small, &large].map(|component| store.put(component).unwrap());
    let end = given.end();
    assert_eq!(given.store().put(&large).unwrap(), hashes[1]);
    assert_eq!(given.end(), end, "it is written again");
    let mut kept = vec![(hashes[0].clone(), small.len()), (hashes[1].clone(), large.len())];
    kept.sort();
    assert_eq!(given.store().list().unwrap(), kept);
    assert!(given.store().get(&hashes[1]).unwrap() == large);
    assert!(given.store().get(&hashes[0]).unwrap() == small);

    // What somebody else wrote there is no chunk; and what they wrote over one is found out, and mended.
    let half = "ab".repeat(32);
    for (key, size) in [("no key", "3"), ("ab/0", "3"), (&*format!("{half}/x"), "3"), (&*format!("{half}/0"), "many")] {
        given.write(key, b"abc", size);
    }
    given.write(&format!("{half}/1"), b"abc", "600000");
    given.write(&format!("{half}/128"), b"abc", "3");
    assert_eq!(store.list().unwrap(), kept);
    given.write(&format!("{}/2", hashes[1]), &large[..512 << 10], &large.len().to_string());
    assert!(store.get(&hashes[1]).unwrap_err().to_string().contains("is not there, or damaged"));
    store.put(&large).unwrap();
    assert!(store.get(&hashes[1]).unwrap() == large);

    let error = store.put(&vec![0; MAX_COMPONENT + 1]).unwrap_err().to_string();
    assert!(error.contains("a component of 67108865 bytes is larger than is kept (67108864)"), "{error}");
}
