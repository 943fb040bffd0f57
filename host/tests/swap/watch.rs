//! The loop of a plugin's author: a file that changes is a new version.

use std::fs::File;
use std::process::Stdio;

use sha2::{Digest, Sha256};

use super::lasting::other_bytes;
use super::{Live, SOON, assert_stamped};
use crate::program::{Running, host, plugin, wait_for};

#[test]
fn a_file_that_changes_is_swapped_in_and_one_that_is_broken_is_not() {
    let live = Live::of("stamp-1", "");
    let (file, told) = (live.path().join("mine.wasm"), live.path().join("told"));
    std::fs::copy(plugin("stamp-2"), &file).unwrap();
    let mut watch = host(live.path(), &[&["swap", "p", "mine.wasm", "--watch"][..], &SOON].concat());
    watch.stdout(Stdio::null()).stderr(File::create(&told).unwrap());
    let mut watching = Running::start(watch);
    let runs = |component: &[u8]| {
        let hash: String = Sha256::digest(component).iter().map(|byte| format!("{byte:02x}")).collect();
        wait_for("the file's version to be at work", || (live.status().plugins[0].hash == hash).then_some(()));
    };
    runs(&std::fs::read(plugin("stamp-2")).unwrap());
    let other = other_bytes(&plugin("stamp-2"));
    std::fs::write(&file, &other).unwrap();
    runs(&other);
    live.send(10);
    live.out();
    std::fs::write(&file, "half of a component").unwrap();
    wait_for("a broken file to be told of", || {
        std::fs::read_to_string(&told).unwrap().contains("error: ").then_some(())
    });
    runs(&other);
    std::fs::copy(plugin("stamp-1"), &file).unwrap();
    runs(&std::fs::read(plugin("stamp-1")).unwrap());
    live.send(10);
    assert_stamped(&live.out(), &[(10, "1.0.1"), (20, "1.0.0")]);
    assert!(watching.is_running());
}
