//! Where the Unix sockets of the hosts of one user are: a directory that is theirs alone, with one socket for each process.
//! A directory that somebody else has made, or may look into, is not used, neither to serve nor to ask.

use std::fs::{DirBuilder, Permissions, set_permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A socket that is removed in the end.
pub(super) struct Socket {
    pub path: PathBuf,
    pub listener: UnixListener,
}

impl Socket {
    /// Makes the socket of this process, and clears away those that nobody listens on any more.
    pub fn bind() -> io::Result<Self> {
        let directory = directory();
        if let Err(error) = DirBuilder::new().mode(0o700).create(&directory)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(named(&directory, &error));
        }
        for path in sockets()? {
            if UnixStream::connect(&path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
                std::fs::remove_file(&path).map_err(|error| named(&path, &error))?;
            }
        }
        let path = directory.join(format!("{}.sock", std::process::id()));
        // It gets its name when it can be connected to: before, another host might clear it away.
        let new = path.with_extension("new");
        let _ = std::fs::remove_file(&new);
        let listener = UnixListener::bind(&new).map_err(|error| named(&new, &error))?;
        set_permissions(&new, Permissions::from_mode(0o600))?;
        std::fs::rename(&new, &path).map_err(|error| named(&path, &error))?;
        listener.set_nonblocking(true)?;
        Ok(Self { path, listener })
    }
}

/// The sockets of the hosts of this user, in the order of their process numbers.
pub(super) fn sockets() -> io::Result<Vec<PathBuf>> {
    let directory = directory();
    let about = match std::fs::symlink_metadata(&directory) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(named(&directory, &error)),
    };
    let user = rustix::process::getuid().as_raw();
    if !about.is_dir() || about.uid() != user || about.mode() & 0o077 != 0 {
        let why = format!("{}: not a directory of user {user} alone (mode 0700); remove it", directory.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&directory).map_err(|error| named(&directory, &error))? {
        let path = entry?.path();
        if let Some(process) = process(&path) {
            found.push((process, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Whether a host listens there.
pub(super) fn is_served(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

/// Whose socket it is, if it is one.
fn process(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_suffix(".sock")?.parse().ok()
}

pub(super) fn directory() -> PathBuf {
    // Of one that is not absolute, the host and those who look for it would make different things.
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|directory| directory.is_absolute()) {
        Some(directory) => directory.join("apogee"),
        None => PathBuf::from(format!("/tmp/apogee-{}", rustix::process::getuid().as_raw())),
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
