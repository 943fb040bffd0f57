//! A directory: files that are durable before anybody counts on them, and that get their final name in one step.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::place::{self, NewFile, Place, Target};
use crate::sink::SinkError;

/// Files below a directory.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new(path: &Path) -> Result<Self, SinkError> {
        std::path::absolute(path).map(Self).map_err(at(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.0.clone() } else { self.0.join(name) }
    }
}

impl Place for Directory {
    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn at_a_time(&self) -> usize {
        1
    }

    fn create_folder(&self, folder: &str) -> Result<(), SinkError> {
        create_folder(&self.path(folder))
    }

    fn names(&self, folder: &str) -> Result<Vec<String>, SinkError> {
        let path = self.path(folder);
        let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        fs::read_dir(&path).and_then(|entries| entries.map(name).collect()).map_err(at(&path))
    }

    fn finished(&self) -> Result<Vec<String>, SinkError> {
        let (mut names, mut folders) = (Vec::new(), vec![String::new()]);
        while let Some(folder) = folders.pop() {
            for name in self.names(&folder)?.into_iter().filter(|name| !name.starts_with('.')) {
                let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if self.path(&name).is_dir() { folders.push(name) } else { names.push(name) }
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(self.path(name))?))
    }

    fn exists(&self, name: &str) -> Result<bool, SinkError> {
        let path = self.path(name);
        path.try_exists().map_err(at(&path))
    }

    fn remove(&self, name: &str) -> Result<(), SinkError> {
        remove(&self.path(name))
    }

    fn put_new(&self, name: &str, temporary: &str, bytes: &[u8]) -> Result<bool, SinkError> {
        let (path, temporary) = (self.path(name), self.path(temporary));
        let mut file = NewFile::new(DiskFile::create(temporary.clone())?);
        file.buffer.extend_from_slice(bytes);
        file.finish()?;
        // A link, unlike a rename, never replaces what is there.
        let linked = match fs::hard_link(&temporary, &path) {
            // What FAT and some network file systems answer. There a crash can leave a cut manifest, which is then seen
            // to be damaged, before its output is visible.
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
                File::create_new(&path).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            }
            linked => linked,
        };
        remove(&temporary)?;
        match linked {
            // Our own was removed before it got its name: somebody has this number, or a higher one.
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => return Ok(false),
            linked => linked.map_err(at(&path))?,
        }
        sync(path.parent().unwrap_or(&self.0)).map(|()| true)
    }

    fn create(&self, name: &str) -> Result<NewFile, SinkError> {
        DiskFile::create(self.path(name)).map(NewFile::new)
    }

    fn sync(&self, folder: &str) -> Result<(), SinkError> {
        sync(&self.path(folder))
    }

    fn publish(&self, part: &str, name: &str) -> Result<(), SinkError> {
        let (from, path) = (self.path(part), self.path(name));
        // In this order: whoever else is at it at this moment takes the part away as they make the name.
        if !path.exists() {
            let folder = path.parent().unwrap_or(&self.0);
            if from.exists() {
                create_folder(folder)?;
            }
            match fs::rename(&from, &path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                renamed => renamed.map_err(at(&path))?,
            }
        } else if from.exists() {
            let what = format!(
                "{} is in the way of a finished file of this group, which waits as {}; move it elsewhere and run again",
                path.display(),
                from.display()
            );
            return Err(SinkError::Checkpoint { place: self.shown(""), what });
        }
        match sync(path.parent().unwrap_or(&self.0)) {
            // Published, and taken away with its folder.
            Err(SinkError::File { error, .. }) if error.kind() == ErrorKind::NotFound => Ok(()),
            synced => synced,
        }
    }
}

/// A file that is removed when it is dropped before it is finished.
struct DiskFile {
    path: PathBuf,
    file: File,
    finished: bool,
}

impl DiskFile {
    /// Creates a file that is not there yet.
    fn create(path: PathBuf) -> Result<Self, SinkError> {
        let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(at(&path))?;
        Ok(Self { path, file, finished: false })
    }
}

impl Target for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.file.write_all(bytes).map_err(at(&self.path))
    }

    /// The name is durable only after the folder's [`Place::sync`].
    fn finish(&mut self) -> Result<(), SinkError> {
        self.file.sync_all().map_err(at(&self.path))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for DiskFile {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed now is removed when its partition is opened again.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn sync(folder: &Path) -> Result<(), SinkError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

/// Creates a folder with all above it, durably.
fn create_folder(path: &Path) -> Result<(), SinkError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    create_folder(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        created => created.map_err(at(path)).and_then(|()| sync(parent)),
    }
}

fn remove(path: &Path) -> Result<(), SinkError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(at(path)),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SinkError + use<> {
    place::at(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::place::check;
    use super::*;

    fn directory() -> (tempfile::TempDir, Directory) {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::new(folder.path()).unwrap();
        (folder, directory)
    }

    #[test]
    fn a_file_is_known_again_and_a_damaged_one_is_not() {
        let (folder, directory) = directory();
        let mut file = directory.create("a").unwrap();
        file.buffer.extend_from_slice(b"some text");
        let content = file.finish().unwrap();
        check(&directory, "a", content).unwrap();
        for wrong in [&b"some texT"[..], b"some tex", b"some text.", b""] {
            fs::write(folder.path().join("a"), wrong).unwrap();
            assert_eq!(check(&directory, "a", content).unwrap_err().kind(), ErrorKind::InvalidData, "{wrong:?}");
        }
    }

    #[test]
    fn a_dropped_file_leaves_nothing_and_one_that_is_there_is_never_replaced() {
        let (folder, directory) = directory();
        let path = folder.path().join("a");
        drop(directory.create("a").unwrap());
        assert!(!path.exists());
        fs::write(&path, "old").unwrap();
        assert!(directory.create("a").err().unwrap().to_string().contains("a: File exists"));
        assert!(!directory.put_new("a", "b", b"new").unwrap());
        assert_eq!((fs::read(path).unwrap(), directory.names("").unwrap()), (b"old".to_vec(), vec!["a".to_owned()]));
    }

    #[test]
    fn folders_are_made_with_all_above_them_and_a_file_in_the_way_is_named() {
        let (folder, directory) = directory();
        directory.create_folder("a/b/c").unwrap();
        directory.create_folder("a/b/c").unwrap();
        fs::write(folder.path().join("a/b/c/file"), "").unwrap();
        assert_eq!(directory.finished().unwrap(), ["a/b/c/file"]);
        let error = directory.create_folder("a/b/c/file/d").unwrap_err().to_string();
        assert!(error.contains("a/b/c/file: File exists"), "{error}");
    }
}
