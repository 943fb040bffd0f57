//! The loop of a plugin's author: a file that changes is a new version.

use std::process::Stdio;

use super::lasting::other_bytes;
use super::{Live, SOON, assert_stamped};
use crate::program::{Running, host, plugin, wait_for};

#[test]
fn a_file_that_changes_is_swapped_in_and_one_that_is_broken_is_not() {
    let live = Live::of("stamp-1", "");
    let file = live.path().join("mine.wasm");
    std::fs::copy(plugin("stamp-2"), &file).unwrap();
    let mut watch = host(live.path(), &[&["swap", "p", "mine.wasm", "--watch"][..], &SOON].concat());
    watch.stdout(Stdio::null()).stderr(Stdio::null());
    let mut watching = Running::start(watch);
    let runs = |hash: &dyn Fn(&str) -> bool| {
        wait_for("the file's version to be at work", || {
            let hash_now = live.status().plugins[0].hash.clone();
            hash(&hash_now).then_some(hash_now)
        })
    };
    let first = live.status().plugins[0].hash.clone();
    // Whether or not the file is swapped in at once, what it becomes is.
    std::fs::write(&file, other_bytes(&plugin("stamp-2"))).unwrap();
    let hash = {
        use sha2::{Digest, Sha256};
        let bytes = Sha256::digest(other_bytes(&plugin("stamp-2")));
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert_ne!(hash, first);
    runs(&|now| now == hash);
    live.send(10);
    live.out();
    std::fs::write(&file, "half of a component").unwrap();
    std::fs::copy(plugin("stamp-1"), &file).unwrap();
    runs(&|now| now == first);
    live.send(10);
    assert_stamped(&live.out(), &[(10, "1.0.1"), (20, "1.0.0")]);
    assert!(watching.is_running());
    drop(watching);
}
