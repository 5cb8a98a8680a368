//! Names, directories and patterns to files, each once and in the order of their content.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Input, is_archive, peel};
use crate::error::cause;

/// Most files that names may stand for.
pub const FILES_MAX: usize = 100_000;

/// Bytes of a file, after decompression, in which its first time is looked for.
const LOOK_BYTES: usize = 16 * 1024;

/// What names stand for.
#[derive(Debug, Default)]
pub struct Found {
    /// What to read, earliest content first, standard input last.
    pub inputs: Vec<Input>,
    /// What was left out, and why.
    pub skipped: Vec<Skipped>,
}

/// A file that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: String,
}

struct Candidate {
    path: PathBuf,
    first: i64,
    identity: Option<(u64, u64)>,
}

/// Returns the files that names stand for: files, directories (their logs, without those of directories in them), patterns of `*`, `?`
/// and `[]`, and `-` for the given reader.
///
/// A file that is missing or cannot be opened is in the list all the same, since the reading states its trouble. A log that the server
/// wrote in several formats side by side (one name, endings `.json`, `.csv`, `.log`) is read once, in the first of these.
pub fn expand(names: &[String], mut standard_input: Option<Box<dyn Read + Send>>) -> Found {
    let mut found = Found::default();
    let mut candidates = Vec::new();
    let mut last = Vec::new();
    for name in names {
        if name == "-" {
            match standard_input.take() {
                Some(reader) => last.push(Input::reader("-", reader)),
                None => skip(&mut found, name, "standard input can be read once only"),
            }
            continue;
        }
        let path = Path::new(name);
        if path.is_dir() {
            directory(path, &mut candidates, &mut found);
        } else if !path.exists() && name.contains(['*', '?', '[']) {
            pattern(name, &mut candidates, &mut found);
        } else {
            candidates.push(candidate(path.to_owned()));
        }
    }
    if candidates.len() > FILES_MAX {
        let why = format!("there are more than {FILES_MAX} files");
        for left in candidates.drain(FILES_MAX..) {
            skip(&mut found, &left.path.display().to_string(), &why);
        }
    }
    candidates.sort_by(|a, b| a.first.cmp(&b.first).then_with(|| a.path.cmp(&b.path)));
    for kept in once(candidates, &mut found) {
        found.inputs.push(Input::file(kept.path));
    }
    found.inputs.append(&mut last);
    found
}

fn skip(found: &mut Found, name: &str, why: &str) {
    found.skipped.push(Skipped {
        name: name.to_owned(),
        why: why.to_owned(),
    });
}

fn directory(path: &Path, candidates: &mut Vec<Candidate>, found: &mut Found) {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => {
            let why = format!("could not read the directory: {}", cause(&error));
            return skip(found, &path.display().to_string(), &why);
        }
    };
    let mut paths = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => paths.push(entry.path()),
            Err(error) => {
                let why = format!("could not read all of the directory: {}", cause(&error));
                skip(found, &path.display().to_string(), &why);
                break;
            }
        }
    }
    paths.sort();
    for path in paths {
        match no_log(&path) {
            None => candidates.push(candidate(path)),
            Some(why) => skip(found, &path.display().to_string(), why),
        }
    }
}

fn pattern(name: &str, candidates: &mut Vec<Candidate>, found: &mut Found) {
    let paths = match glob::glob(name) {
        Ok(paths) => paths,
        Err(error) => return skip(found, name, &format!("the pattern cannot be read: {error}")),
    };
    let before = candidates.len();
    for path in paths.take(FILES_MAX + 1) {
        match path {
            Ok(path) if path.is_dir() => {}
            Ok(path) => candidates.push(candidate(path)),
            Err(error) => skip(
                found,
                &error.path().display().to_string(),
                &cause(error.error()),
            ),
        }
    }
    if candidates.len() == before {
        skip(found, name, "no file has such a name");
    }
}

/// Returns why an entry of a directory is no log.
fn no_log(path: &Path) -> Option<&'static str> {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())?;
    match std::fs::metadata(path) {
        Ok(facts) if !facts.is_file() => return Some("it is no file"),
        Ok(facts) if facts.len() == 0 => return Some("it is empty"),
        _ => {}
    }
    if name.starts_with('.') || name == "current_logfiles" {
        return Some("it is no log by its name");
    }
    let mut head = Vec::new();
    let (archive, readable) = look(path, &mut head);
    let named = name.contains("log") || stem(path).is_some();
    let told = instant(&head).is_some();
    if readable && !archive && (head.contains(&0) || !(named || told)) {
        return Some("it does not look like a log");
    }
    None
}

/// Reads the beginning of a file, and returns whether it is an archive and whether it could be opened.
fn look(path: &Path, head: &mut Vec<u8>) -> (bool, bool) {
    // Opening a pipe would wait for its writer.
    let Some(file) = File::open(path).ok().filter(|_| path.is_file()) else {
        return (false, false);
    };
    let Ok((mut peeked, _)) = peel(Box::new(file)) else {
        return (false, true);
    };
    let archive = is_archive(&mut peeked);
    head.extend_from_slice(peeked.peek(LOOK_BYTES));
    (archive, true)
}

fn candidate(path: PathBuf) -> Candidate {
    let facts = std::fs::metadata(&path).ok();
    let mut head = Vec::new();
    look(&path, &mut head);
    Candidate {
        first: instant(&head)
            .or_else(|| facts.as_ref().map(MetadataExt::mtime))
            .unwrap_or(i64::MAX),
        identity: facts.as_ref().map(|facts| (facts.dev(), facts.ino())),
        path,
    }
}

/// Returns the candidates without those that hold the same log as another.
fn once(candidates: Vec<Candidate>, found: &mut Found) -> Vec<Candidate> {
    let forms: BTreeSet<(PathBuf, u8)> = candidates
        .iter()
        .filter_map(|candidate| stem(&candidate.path))
        .collect();
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    for candidate in candidates {
        let name = candidate.path.display().to_string();
        if candidate
            .identity
            .is_some_and(|identity| !seen.insert(identity))
        {
            skip(found, &name, "it was named twice");
            continue;
        }
        let better = stem(&candidate.path).and_then(|(stem, rank)| {
            (0..rank).find(|&better| forms.contains(&(stem.clone(), better)))
        });
        match better {
            Some(better) => {
                let why = format!(
                    "the same log is read from its {} file",
                    ENDINGS[usize::from(better)]
                );
                skip(found, &name, &why);
            }
            None => kept.push(candidate),
        }
    }
    kept
}

/// Endings of the formats that a server writes side by side, best first.
const ENDINGS: [&str; 3] = ["json", "csv", "log"];

/// Returns a path without the ending of its format, and the rank of the format.
pub(crate) fn stem(path: &Path) -> Option<(PathBuf, u8)> {
    let mut path = path.to_owned();
    let ending = path.extension()?.to_string_lossy().to_lowercase();
    if matches!(ending.as_str(), "gz" | "zst" | "xz" | "bz2" | "lz4") {
        path.set_extension("");
    }
    let ending = path.extension()?.to_string_lossy().to_lowercase();
    let rank = ENDINGS.iter().position(|known| *known == ending)?;
    path.set_extension("");
    Some((path, u8::try_from(rank).expect("there are three")))
}

/// Returns the first time that a text shows, in seconds, as if it were UTC: good enough to sort files.
fn instant(head: &[u8]) -> Option<i64> {
    const SHAPE: &[u8; 19] = b"0000-00-00 00:00:00";
    let fits = |window: &[u8]| {
        window.iter().zip(SHAPE).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            b' ' => matches!(byte, b' ' | b'T'),
            _ => byte == shape,
        })
    };
    head.windows(SHAPE.len())
        .filter(|window| window[4] == b'-' && fits(window))
        .find_map(|window| {
            let text = str::from_utf8(window).ok()?;
            let at: jiff::civil::DateTime = text.parse().ok()?;
            Some(
                at.to_zoned(jiff::tz::TimeZone::UTC)
                    .ok()?
                    .timestamp()
                    .as_second(),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_is_found_wherever_it_stands() {
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(instant(text.as_bytes()), expected, "{text}")
        };
        check(
            "user=x 1970-01-02 00:00:01.123 WIB [1] LOG:  x",
            Some(86_401),
        );
        check("{\"timestamp\":\"1970-01-01T00:00:05Z\"", Some(5));
        check("raw 9999-99-99 99:99:99\n1970-01-01 00:00:07", Some(7));
        check("Nov 21 21:00:00 host postgres[1]: x", None);
    }

    #[test]
    fn a_stem_has_no_format_and_no_compression() {
        let check = |name: &str, expected: Option<(&str, u8)>| {
            assert_eq!(
                stem(Path::new(name)),
                expected.map(|(stem, rank)| (PathBuf::from(stem), rank)),
                "{name}"
            );
        };
        check("log/pg.csv.gz", Some(("log/pg", 1)));
        check("log/pg.log", Some(("log/pg", 2)));
        check("log/pg.log.1", None);
        check("log/pg", None);
    }
}
