//! Dead letters in a file, a line of JSON each. Several workers, and several hosts, may share it.
//!
//! A letter is whole or not there: what a crash cut is of letters that were not durable yet, whose messages come again,
//! and is removed before anything is appended. Whatever else there is in the file stays, and a new line begins behind it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::message::Batch;

/// How each letter begins, by which the start of one is told from what others have written.
const BEGINNING: &[u8] = b"{\"pipeline\":";

/// Bytes that are looked through at once for the end of the last whole line.
const STEP: u64 = 64 << 10;

pub(super) struct Lines(PathBuf);

impl Lines {
    /// The file is created with the first letter.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Appends letters, which are durable when this returns. The file is opened anew each time: somebody may have put it
    /// away in between.
    pub fn append(&mut self, letters: &Batch) -> anyhow::Result<()> {
        let Self(path) = self;
        let what = || format!("{}: cannot be written; mend it and run again, nothing is lost", path.display());
        open(path).and_then(|mut file| append(&mut file, letters)).with_context(what)
    }
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

/// Sees to it that a line begins at the end: the start of a letter is cut off, and after anything else the line is ended.
fn mend(file: &mut File) -> io::Result<()> {
    let length = file.seek(SeekFrom::End(0))?;
    let end = last_line(file, length)?;
    if end == length {
        return Ok(());
    }
    file.seek(SeekFrom::Start(end))?;
    let mut start = Vec::new();
    Read::by_ref(file).take(BEGINNING.len() as u64).read_to_end(&mut start)?;
    if BEGINNING.starts_with(&start) { file.set_len(end) } else { file.write_all(b"\n") }
}

/// Where the last line begins that is not ended; the length, where there is none.
fn last_line(file: &mut File, length: u64) -> io::Result<u64> {
    let (mut end, mut bytes) = (length, Vec::new());
    while end > 0 {
        // In a file that is whole, the last byte is enough.
        let start = if end == length { end - 1 } else { end.saturating_sub(STEP) };
        file.seek(SeekFrom::Start(start))?;
        bytes.clear();
        Read::by_ref(file).take(end - start).read_to_end(&mut bytes)?;
        if let Some(at) = memchr::memrchr(b'\n', &bytes) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::Letter;

    fn letters(values: &[&str]) -> Batch {
        let mut batch = Batch::new();
        values.iter().for_each(|value| batch.push(None, Some(value.as_bytes()), 0));
        batch
    }

    #[test]
    fn what_a_crash_cut_is_removed_wherever_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/dead.jsonl");
        let [one, two, three] = ["one", "two", "three"].map(|name| format!("{{\"pipeline\":\"{name}\"}}"));
        let long = format!("{{\"pipeline\":\"{}\"}}", "x".repeat(3 * STEP as usize));
        let whole = format!("{one}\n{long}\n");
        let first = one.len();
        let cuts = [0, 1, 12, first, first + 1, first + 2, first + STEP as usize, whole.len() - 1, whole.len()];
        for cut in cuts {
            let mut lines = Lines::new(path.clone());
            lines.append(&letters(&[&one, &long])).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
            std::fs::write(&path, &whole[..cut]).unwrap();
            // Whoever has written to it finds it out as well as whoever comes new.
            lines.append(&letters(&[&two])).unwrap();
            Lines::new(path.clone()).append(&letters(&[&three])).unwrap();
            let kept = whole[..cut].rfind('\n').map_or(0, |end| end + 1);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}{two}\n{three}\n", &whole[..kept]), "{cut}");
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn what_others_have_written_stays() {
        let letter = Letter::new("p", "kafka:///in", 0, 7, "trap", "it gave up").to_json().unwrap();
        assert!(letter.starts_with(BEGINNING));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        for theirs in ["notes", "notes\nmore", "{\"pipe\":", &"x".repeat(3 * STEP as usize), "\0\0", "notes\n"] {
            std::fs::write(&path, theirs).unwrap();
            Lines::new(path.clone()).append(&letters(&["one"])).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\none\n", theirs.trim_end()));
        }
    }

    #[test]
    fn a_file_that_was_put_away_is_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dead.jsonl");
        let mut lines = Lines::new(path.clone());
        lines.append(&letters(&["one"])).unwrap();
        std::fs::remove_file(&path).unwrap();
        lines.append(&letters(&["two"])).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
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
