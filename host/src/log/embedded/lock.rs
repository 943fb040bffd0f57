//! One reader for each group and source (Invariant 6): a lock on a file beside the log, which the system frees when its
//! holder ends, whatever way it ends.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::file::Shared;
use crate::log::LogError;

/// A process that was just started has our locks, too, until it has become the program that it is to be: so one that was
/// given back may seem to be held by ourselves for a moment.
const STARTING: Duration = Duration::from_millis(500);

/// Takes the lock of a group and a source, which is a topic or a URI; `shown` is what a person calls it. The file is
/// named by a hash, because a group may have any name, and stays when the lock goes: to delete it would let two readers
/// hold two files of the same name.
pub(super) fn take(shared: &Shared, group: &str, source: &str, shown: &str) -> Result<File, LogError> {
    let mut folder = shared.path().as_os_str().to_owned();
    folder.push(".readers");
    let hash = Sha256::new().chain_update(source).chain_update([0]).chain_update(group).finalize();
    let name: String = hash[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    let path = Path::new(&folder).join(name);
    let failed = |e: std::io::Error| {
        shared.broken(format!("cannot lock {}: {e}; give this user the right to write there", path.display()))
    };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = file.map_err(failed)?;
    let since = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        let mut holder = String::new();
        // Only to name the holder: what is there is short, and ours.
        let _ = file.rewind().and_then(|()| (&mut file).take(20).read_to_string(&mut holder));
        let holder = holder.trim();
        if holder != std::process::id().to_string() || since.elapsed() >= STARTING {
            return Err(shared.broken(format!(
                "group {group:?} already reads {shown}, in process {holder}; end that one, name another group, \
                 or use Kafka, where a group spreads over processes"
            )));
        }
        std::thread::sleep(STARTING / 100);
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}
