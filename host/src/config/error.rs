//! What is wrong with a pipeline file or the command line, where exactly, and what to do about it.

use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use crate::config::text::{did_you_mean, excerpt, nearest};

/// A pipeline file of more bytes is something else, given by mistake.
const LARGEST: u64 = 1 << 20;

/// Characters of the line that an error shows.
const WIDTH: usize = 100;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// In a pipeline file.
    #[error("{0}")]
    Mistake(Box<Mistake>),
    /// A file is not there or cannot be read.
    #[error("{0}")]
    File(String),
    /// On the command line.
    #[error("{0}")]
    Arguments(String),
}

/// A mistake in a file, shown with its line.
#[derive(Debug)]
pub struct Mistake {
    pub file: String,
    /// `None` where something is missing from the file as a whole.
    pub place: Option<Place>,
    /// What is wrong and what to do.
    pub what: String,
}

/// A place in a file; lines and columns (in characters) count from 1.
#[derive(Debug)]
pub struct Place {
    pub line: usize,
    pub column: usize,
    /// The line, bounded and escaped.
    excerpt: String,
    /// Where in `excerpt` the carets go.
    marked: Range<usize>,
}

/// A mistake before it is known which file it is in.
#[derive(Debug)]
pub(super) struct Fault {
    /// Bytes of the file; `None` where something is missing.
    pub span: Option<Range<usize>>,
    pub what: String,
}

pub(super) fn fault(span: Option<Range<usize>>, what: impl Into<String>) -> Fault {
    Fault { span, what: what.into() }
}

impl Error {
    pub(super) fn mistake(path: &Path, text: &str, fault: Fault) -> Self {
        let place = fault.span.map(|span| Place::new(text, span));
        Self::Mistake(Box::new(Mistake { file: show(path), place, what: fault.what }))
    }
}

/// The text of a pipeline file.
pub(super) fn read(path: &Path) -> Result<String, Error> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Error::File(format!("{}: more than 1 MiB; this is no pipeline file", show(path))));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        Error::mistake(path, &text, fault(Some(good..good + 1), "not UTF-8; save the file as UTF-8"))
    })
}

/// That a file cannot be read; where it is absent, with the nearest name of its kind beside it.
pub fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let shown = show(path);
    if error.kind() != std::io::ErrorKind::NotFound {
        return Error::File(format!("{shown}: {error}"));
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names: Vec<String> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| Path::new(&entry.file_name()).extension() == path.extension())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let near = nearest(&name, names.iter().map(String::as_str)).map(|near| show(&path.with_file_name(near)));
    Error::File(format!("{shown}: no such file{}", did_you_mean(near)))
}

fn show(path: &Path) -> String {
    excerpt(&path.display().to_string(), 200)
}

impl Place {
    fn new(text: &str, span: Range<usize>) -> Self {
        let start = text.floor_char_boundary(span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let end = text.floor_char_boundary(span.end.clamp(start, line_end.max(start)));
        let column = text[line_start..start].chars().count();
        // A long line is shown from a little before the mistake.
        let skipped = if column < WIDTH / 2 { 0 } else { column - WIDTH / 4 };
        let line: Vec<char> = text[line_start..line_end].trim_end().chars().collect();
        let show = |chars: &[char]| -> String {
            excerpt(&chars.iter().map(|c| if *c == '\t' { ' ' } else { *c }).collect::<String>(), WIDTH)
        };
        let before = show(&line[skipped.min(line.len())..column.min(line.len())]);
        let rest = show(&line[column.min(line.len())..]);
        let marked = before.chars().count();
        let length = show(&text[start..end].chars().collect::<Vec<_>>()).chars().count().max(1);
        Self {
            line: text[..start].matches('\n').count() + 1,
            column: column + 1,
            excerpt: format!("{before}{rest}"),
            marked: marked..marked + length,
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(place) = &self.place else {
            return write!(f, "{}: {}", self.file, self.what);
        };
        let number = place.line.to_string();
        writeln!(f, "{}:{number}:{}: {}", self.file, place.column, self.what)?;
        writeln!(f, "  {number} | {}", place.excerpt)?;
        let (margin, indent) = (number.len(), place.marked.start);
        write!(f, "  {:margin$} | {:indent$}{}", "", "", "^".repeat(place.marked.len()))
    }
}
