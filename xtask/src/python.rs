//! A Python with readers of Parquet, Delta and CSV that are not ours (`python/requirements.txt`).
//!
//! It is an environment of its own in cargo's target folder, made by whoever asks first; or what `APOGEE_PYTHON` names, an
//! interpreter that has them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{command, root, target};

/// The interpreter to run.
pub fn interpreter() -> Result<PathBuf> {
    match std::env::var_os("APOGEE_PYTHON") {
        Some(python) if !python.is_empty() => Ok(python.into()),
        _ => environment(&target().join("python")),
    }
}

/// The environment in `folder`, made anew where it is not there, not complete or of other versions.
fn environment(folder: &Path) -> Result<PathBuf> {
    let list = root().join("xtask/python/requirements.txt");
    let wanted = fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    fs::create_dir_all(target()).context("cargo's target folder")?;
    let lock = File::create(folder.with_extension("lock")).context("the lock of Python's environment")?;
    // Freed with the file: one makes it, and the others wait.
    lock.lock().context("the lock of Python's environment")?;
    let (python, complete) = (folder.join("bin/python"), folder.join("complete"));
    if fs::read_to_string(&complete).is_ok_and(|there| there == wanted) {
        return Ok(python);
    }
    eprintln!("making a Python environment in {}", folder.display());
    command::output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--requirement"]).arg(&list);
    command::output(&mut install)
        .context("the readers cannot be installed; APOGEE_PYTHON may name a Python that has them")?;
    fs::write(&complete, wanted).with_context(|| complete.display().to_string())?;
    Ok(python)
}
