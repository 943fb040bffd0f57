//! Who a worker is among the others of its group: a name that it keeps over restarts, and that no other living
//! worker has.
//!
//! With it a worker that comes back after a crash is known to its group at once, and whatever its former self left
//! under way is ended by it. The names lie in files beside the embedded log; a lock on each, which the system frees
//! however its holder ends, says that it is taken.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// More workers of one group in one directory than this are a mistake.
const MOST: usize = 1_000;

/// A name among the workers of a group; free for others when dropped.
#[derive(Debug)]
pub struct Member {
    pub name: String,
    _lock: File,
}

impl Member {
    /// The first name of `group` beside `log` that nobody has.
    pub fn claim(log: &Path, group: &str) -> anyhow::Result<Self> {
        let mut folder = log.as_os_str().to_owned();
        folder.push(".members");
        let folder = PathBuf::from(folder);
        let hash: String = Sha256::digest(group)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let context = |error: std::io::Error| {
            anyhow::Error::from(error).context(format!(
                "cannot claim a name in {}; give this user the right to write there",
                folder.display()
            ))
        };
        std::fs::create_dir_all(&folder).map_err(context)?;
        for number in 0..MOST {
            let path = folder.join(format!("{hash}-{number}"));
            let mut file =
                File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(context)?;
            match file.try_lock() {
                Ok(()) => return Ok(Self { name: name(&mut file).map_err(context)?, _lock: file }),
                Err(std::fs::TryLockError::WouldBlock) => {}
                Err(std::fs::TryLockError::Error(error)) => return Err(context(error)),
            }
        }
        anyhow::bail!("{MOST} workers of group {group:?} run in {}; end some", folder.display())
    }
}

/// The name in a file that is ours; written where there is none yet.
fn name(file: &mut File) -> std::io::Result<String> {
    let mut name = String::new();
    file.take(100).read_to_string(&mut name)?;
    let name = name.trim();
    if name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(name.to_owned());
    }
    let name = format!("{:016x}", fastrand::u64(..));
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{name}")?;
    file.sync_all()?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_and_nobody_else_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let claim = |group: &str| Member::claim(&folder.path().join("apogee.db"), group).unwrap();
        let (first, second, other) = (claim("g"), claim("g"), claim("h"));
        assert!(first.name != second.name && first.name != other.name);
        let names = [first.name.clone(), second.name.clone(), other.name.clone()];
        drop((other, second, first));
        let again = [claim("g"), claim("g"), claim("h")];
        assert_eq!(again.each_ref().map(|member| member.name.clone()), names);
    }
}
