//! Jars: fetched once by Maven into the user's cache, whole or not at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::LOGGING;
use crate::command;

const VERSION: &str = "4.3.1";
const POM: &str = include_str!("../../kafka/pom.xml");

/// The folder with the jars and `log4j2.properties`; fetched when it is not there.
pub fn folder() -> Result<PathBuf> {
    let folder = fetched(&format!("kafka-{VERSION}"), &fetch)?;
    let logging = folder.join("log4j2.properties");
    if fs::read_to_string(&logging).ok().as_deref() != Some(LOGGING) {
        fs::write(logging, LOGGING)?;
    }
    Ok(folder)
}

/// The folder `name` of the cache, which `fetch` fills when it is not there.
pub fn fetched(name: &str, fetch: &dyn Fn(&Path) -> Result<()>) -> Result<PathBuf> {
    fetched_in(&cache()?, name, fetch)
}

fn cache() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache"))) {
        Some(cache) => Ok(cache.join("apogee")),
        None => {
            bail!("neither XDG_CACHE_HOME nor HOME is set: there is no place to keep jars")
        }
    }
}

/// `.complete` is the last file written. The lock lets one process fetch while the others wait for it.
fn fetched_in(cache: &Path, name: &str, fetch: &dyn Fn(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = cache.join(name);
    fs::create_dir_all(cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let lock = File::create(cache.join(format!("{name}.lock")))?;
    lock.lock()?;
    if !folder.join(".complete").exists() {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir(&folder)?;
        fetch(&folder)?;
        File::create(folder.join(".complete"))?;
    }
    Ok(folder)
}

fn fetch(folder: &Path) -> Result<()> {
    eprintln!("fetching Apache Kafka {VERSION} with Maven (55 MB, once)");
    let pom = folder.join("pom.xml");
    fs::write(&pom, POM)?;
    let mut maven = Command::new("mvn");
    maven
        .args(["--quiet", "--batch-mode", "--file"])
        .arg(&pom)
        .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", folder.display()));
    command::output(&mut maven)
        .map(drop)
        .context("Kafka's jars cannot be fetched; see whether Maven Central is reachable, or set KAFKA_BROKERS to a broker of your own")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn empty(name: &str) -> PathBuf {
        let folder = crate::target().join("tmp").join(format!("jars-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn many_at_once_fetch_once() {
        let cache = empty("once");
        let fetched = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let folder = fetched_in(&cache, "jars", &|folder| {
                        fetched.fetch_add(1, Ordering::SeqCst);
                        Ok(fs::write(folder.join("a.jar"), "")?)
                    });
                    assert!(folder.unwrap().join("a.jar").exists());
                });
            }
        });
        assert_eq!(fetched.into_inner(), 1);
        fs::remove_dir_all(cache).unwrap();
    }

    #[test]
    fn what_an_interrupted_fetch_left_is_fetched_anew() {
        let cache = empty("cut");
        let cut = |folder: &Path| {
            fs::write(folder.join("half.jar"), "")?;
            bail!("cut")
        };
        assert!(fetched_in(&cache, "jars", &cut).is_err());
        let folder = fetched_in(&cache, "jars", &|_| Ok(())).unwrap();
        assert!(!folder.join("half.jar").exists() && folder.join(".complete").exists());
        fs::remove_dir_all(cache).unwrap();
    }
}
