//! Dead letters in a file, a line of JSON each. Several workers, and several hosts, may share it.
//!
//! A line is whole or not there: what a crash cut is of letters that were not durable yet, whose messages come again,
//! and is removed before anything is appended.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::message::Batch;

/// Bytes that are looked through at once for the end of the last whole line.
const STEP: u64 = 64 << 10;

pub(super) struct Lines {
    path: PathBuf,
    file: Option<File>,
}

impl Lines {
    /// The file is created with the first letter.
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// Appends letters, which are durable when this returns.
    pub fn append(&mut self, letters: &Batch) -> anyhow::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(open(&self.path).with_context(|| told(&self.path))?),
        };
        append(file, letters).with_context(|| told(&self.path))
    }
}

fn told(path: &Path) -> String {
    format!("{}: cannot be written; mend it and run again, nothing is lost", path.display())
}

fn open(path: &Path) -> io::Result<File> {
    let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(beside)?;
    let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    // That it is there is to be as durable as what is in it.
    File::open(beside)?.sync_all()?;
    Ok(file)
}

fn append(file: &mut File, letters: &Batch) -> io::Result<()> {
    let mut lines = Vec::with_capacity(letters.values.bytes.len() + letters.len());
    for letter in letters.values.iter().flatten() {
        lines.extend_from_slice(letter);
        lines.push(b'\n');
    }
    file.lock()?;
    let written = mend(file).and_then(|()| file.write_all(&lines)).and_then(|()| file.sync_data());
    file.unlock()?;
    written
}

/// Cuts off what follows the last whole line.
fn mend(file: &mut File) -> io::Result<()> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let length = end;
    let mut bytes = Vec::new();
    while end > 0 {
        // In a file that is whole, the last byte is enough.
        let start = if end == length { end - 1 } else { end.saturating_sub(STEP) };
        file.seek(SeekFrom::Start(start))?;
        bytes.clear();
        (&mut *file).take(end - start).read_to_end(&mut bytes)?;
        if let Some(at) = memchr::memrchr(b'\n', &bytes) {
            end = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    if end == length { Ok(()) } else { file.set_len(end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters(values: &[&str]) -> Batch {
        let mut batch = Batch::new();
        values.iter().for_each(|value| batch.push(None, Some(value.as_bytes()), 0));
        batch
    }

    #[test]
    fn what_a_crash_cut_is_removed_wherever_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/dead.jsonl");
        let long = "x".repeat(3 * STEP as usize);
        let whole = format!("one\n{long}\n");
        for cut in [0, 1, 2, 4, 5, STEP as usize + 4, whole.len() - 1, whole.len()] {
            let mut lines = Lines::new(path.clone());
            lines.append(&letters(&["one", &long])).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
            std::fs::write(&path, &whole[..cut]).unwrap();
            // Whoever has it open finds it out as well as whoever opens it.
            lines.append(&letters(&["two"])).unwrap();
            Lines::new(path.clone()).append(&letters(&["three"])).unwrap();
            let kept = whole[..cut].rfind('\n').map_or(0, |end| end + 1);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}two\nthree\n", &whole[..kept]), "{cut}");
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn lines_of_several_writers_are_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dead.jsonl");
        let write = |who: usize| {
            let mut lines = Lines::new(path.clone());
            let line = who.to_string().repeat(10_000);
            (0..20).for_each(|_| lines.append(&letters(&[&line, &line])).unwrap());
        };
        std::thread::scope(|scope| (0..4).for_each(|who| drop(scope.spawn(move || write(who)))));
        let text = std::fs::read_to_string(&path).unwrap();
        let mut counts = [0; 4];
        for line in text.lines() {
            let who = usize::from(line.as_bytes()[0] - b'0');
            assert_eq!(line, who.to_string().repeat(10_000));
            counts[who] += 1;
        }
        assert_eq!(counts, [40; 4]);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let error = Lines::new(directory.path().to_owned()).append(&letters(&["one"])).unwrap_err();
        assert!(format!("{error:#}").starts_with(&format!("{}: cannot be written", directory.path().display())));
    }
}
