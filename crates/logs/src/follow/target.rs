//! Which file a target means now.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most entries of a directory that are looked at.
const ENTRIES_MAX: usize = 10_000;

/// Most bytes of `current_logfiles`.
const CURRENT_BYTES_MAX: u64 = 16 * 1024;

/// What to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file by its name, whichever file has it.
    File(PathBuf),
    /// The file of a directory that was written last.
    Newest(PathBuf),
    /// The log that a server writes now, by `current_logfiles` in its data directory: jsonlog before csvlog before stderr.
    DataDirectory(PathBuf),
}

impl Target {
    /// Returns the path that was given.
    pub fn path(&self) -> &Path {
        match self {
            Target::File(path) | Target::Newest(path) | Target::DataDirectory(path) => path,
        }
    }

    /// Returns the file that it means now.
    pub(super) fn resolve(&self) -> io::Result<PathBuf> {
        match self {
            Target::File(path) => Ok(path.clone()),
            Target::Newest(path) => newest(path),
            Target::DataDirectory(path) => current(path),
        }
    }
}

fn newest(directory: &Path) -> io::Result<PathBuf> {
    let mut best = None;
    for entry in std::fs::read_dir(directory)?.take(ENTRIES_MAX) {
        let entry = entry?;
        let name = entry.file_name();
        let hidden = name.to_string_lossy().starts_with('.') || name == "current_logfiles";
        // A file may go away between its name and its facts.
        let Some(facts) = entry
            .metadata()
            .ok()
            .filter(|facts| facts.is_file() && !hidden)
        else {
            continue;
        };
        best = best.max(Some((facts.mtime(), facts.mtime_nsec(), entry.path())));
    }
    let none = || io::Error::other("the directory has no file");
    best.map(|(_, _, path)| path).ok_or_else(none)
}

fn current(data: &Path) -> io::Result<PathBuf> {
    let mut text = String::new();
    let file = std::fs::File::open(data.join("current_logfiles"))?;
    file.take(CURRENT_BYTES_MAX).read_to_string(&mut text)?;
    let named = |wanted: &str| {
        text.lines()
            .find_map(|line| line.split_once(' ').filter(|(format, _)| *format == wanted))
            .map(|(_, path)| data.join(path))
    };
    let none = || io::Error::other("\"current_logfiles\" names no log");
    named("jsonlog")
        .or_else(|| named("csvlog"))
        .or_else(|| named("stderr"))
        .ok_or_else(none)
}
