//! Builds the plugins and leaves their components in `plugins/*.wasm`. A file that would not change is not touched.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use xtask::{command, root, target};

use crate::setup;

pub const TARGET: &str = "wasm32-wasip2";

/// The profile in the workspace's `Cargo.toml`, and the folder where cargo puts what it builds with it.
const PROFILE: &str = "plugin";

/// Crates in `plugins/` whose library is a component.
const CRATES: &[&str] =
    &["flatten", "hostile", "hostile_socket", "max-altitude", "routes", "turnstiles", "window-counts"];

/// The examples of `plugins/versions`, each a component.
const VERSIONS: &[&str] = &["flatten-changed", "stamp-1", "stamp-2", "stamp-3", "stamp-trap", "window-counts-1"];

/// Builds the plugins in Rust; with `all` also the one in JavaScript.
pub fn build(all: bool) -> Result<()> {
    setup::wasm_target(TARGET)?;
    let mut cargo = command::cargo();
    cargo.args(["build", "--profile", PROFILE, "--target", TARGET, "--lib", "--examples"]);
    for name in CRATES.iter().chain(&["versions"]) {
        cargo.args(["--package", name]);
    }
    command::run(&mut cargo)?;
    let folder = target().join(TARGET).join(PROFILE);
    let libraries = CRATES.iter().map(|name| (folder.clone(), name));
    let examples = VERSIONS.iter().map(|name| (folder.join("examples"), name));
    for (folder, name) in libraries.chain(examples) {
        let built = folder.join(format!("{}.wasm", name.replace('-', "_")));
        replace(&built, &root().join("plugins").join(format!("{name}.wasm")))?;
    }
    if all { javascript() } else { Ok(()) }
}

/// Runs the JavaScript plugin's own tests and builds it, when something that it is made of has changed.
fn javascript() -> Result<()> {
    let folder = root().join("plugins/javascript");
    let npm = |args: &[&str]| command::run(Command::new("npm").args(args).current_dir(&folder));
    // npm writes this file last.
    if newer(&folder.join("package-lock.json"), &folder.join("node_modules/.package-lock.json")) {
        npm(&["ci", "--no-audit", "--no-fund"])?;
    }
    npm(&["test", "--silent"])?;
    let component = root().join("plugins/hemisphere.wasm");
    let made_of = [
        "hemisphere.js",
        "build.mjs",
        "package-lock.json",
        "../../wit/messages.wit",
        "../../wit/transform.wit",
        "../../wit/worlds.wit",
    ];
    if made_of.iter().any(|source| newer(&folder.join(source), &component)) {
        npm(&["run", "build", "--silent"])?;
    }
    Ok(())
}

/// Whether `made` is missing or older than `source`.
fn newer(source: &Path, made: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    time(made).is_none_or(|made| time(source).is_some_and(|source| source > made))
}

/// Copies a file that differs, so that a reader sees the old one or the new one, whole.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let part = to.with_extension("wasm.new");
    fs::write(&part, new)?;
    fs::rename(&part, to).with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_replaced_only_when_it_differs() {
        let folder = target().join("tmp").join(format!("replace-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let [from, to] = [folder.join("built.wasm"), folder.join("kept.wasm")];
        let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());

        fs::write(&from, "one").unwrap();
        replace(&from, &to).unwrap();
        let first = inode(&to);
        replace(&from, &to).unwrap();
        assert_eq!(inode(&to), first, "the same content was written again");

        fs::write(&from, "two").unwrap();
        replace(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"two");
        assert!(newer(&from, &folder.join("missing")));
        fs::remove_dir_all(folder).unwrap();
    }
}
