//! Finds single records in the files of a log, newest first: what is behind a number of a report, and what was written last.
//!
//! It reads files from their ends, so that the newest records cost little however large a file is. Compressed files are read from their
//! beginning, within the same limits; what of them was not searched is named.

mod file;
mod matching;
mod needle;
mod packed;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::engine::Choose;
use crate::record::{Odd, Record, Sink};
use crate::render::Masked;
use crate::severity::Severity;
use crate::statement::fingerprint;
use matching::Matcher;

pub use matching::Line;
pub use needle::Needle;

/// Files that are looked into at most; the newest ones.
pub const FILES_MAX: usize = 1_000;

/// Which records are asked for; what is empty asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Written at this instant or later, in microseconds since 1970-01-01 UTC.
    pub since: Option<i64>,
    /// Written before this instant.
    pub until: Option<i64>,
    /// Id of the kind.
    pub kind: Option<String>,
    /// What [`error_id`] says of an error of a report.
    pub error: Option<String>,
    /// Id of the shape of the statement, as a report has it.
    pub shape: Option<String>,
    /// This bad or worse.
    pub severity: Option<Severity>,
    /// Within what is shown of message or statement, whatever the case.
    pub text: String,
}

/// How much may be read.
pub struct Limits<'a> {
    /// Records that are found at most.
    pub records: usize,
    /// Bytes of files that are read at most; what compressed ones unpack to may be more, by a factor that is bounded too.
    pub bytes: u64,
    /// Says whether time is up.
    pub stop: &'a dyn Fn() -> bool,
}

/// Why older records were not looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    /// As many as were asked for have been found.
    Records,
    /// As many bytes as are allowed were read.
    Bytes,
    /// Time was up.
    Time,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The records, newest first.
    pub records: Vec<Line>,
    /// Bytes of the log that were searched, unpacked.
    pub bytes: u64,
    /// Why older ones were not looked for; none when all files were read as far as asked for.
    pub cut: Option<Cut>,
    /// Files that were not searched, or not whole, with why.
    pub left_out: Vec<(PathBuf, String)>,
    /// Files that may have older records and were not opened, since the search was cut before.
    pub unopened: usize,
}

/// Returns 16 hexadecimal digits that mean an error of a report whose secrets were removed: its SQLSTATE and its text.
pub fn error_id(sqlstate: &str, text: &str) -> String {
    format!("{:016x}", fingerprint(&format!("{sqlstate} {text}")))
}

/// Finds records in files, which are in any order.
pub fn search(
    files: &[PathBuf],
    choose: &Choose<'_>,
    wanted: &Wanted,
    masked: Masked,
    limits: &Limits<'_>,
) -> Found {
    let mut search = Search {
        matcher: Matcher::new(wanted, masked),
        wanted,
        limits,
        found: Found::default(),
        read_bytes: 0,
    };
    for path in newest_first(files, wanted) {
        if search.found.cut.is_none() {
            search.limit();
        }
        if search.found.cut.is_some() {
            search.found.unopened += 1;
            continue;
        }
        if let Err(why) = search.file(&path, choose) {
            search.found.left_out.push((path, why));
        }
    }
    let mut found = search.found;
    if found.records.len() > limits.records {
        found.cut = Some(Cut::Records);
    }
    found.records.sort_by_key(|line| std::cmp::Reverse(line.at));
    found.records.truncate(limits.records);
    found
}

/// Returns the files that may have what is wanted.
fn newest_first(files: &[PathBuf], wanted: &Wanted) -> Vec<PathBuf> {
    let changed = |path: &Path| {
        let facts = std::fs::metadata(path).ok()?;
        let since = facts.modified().ok()?;
        let since = since.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_micros()).ok()
    };
    let mut all: Vec<(i64, &PathBuf)> = files
        .iter()
        .map(|path| (changed(path).unwrap_or(i64::MAX), path))
        .filter(|(at, _)| wanted.since.is_none_or(|since| *at >= since))
        .collect();
    all.sort_by(|a, b| b.cmp(a));
    let paths = all.into_iter().map(|(_, path)| path.clone());
    paths.take(FILES_MAX).collect()
}

/// One search on its way.
struct Search<'a> {
    matcher: Matcher<'a>,
    wanted: &'a Wanted,
    limits: &'a Limits<'a>,
    found: Found,
    /// Bytes of files that were read.
    read_bytes: u64,
}

/// What one stretch of a file has, in its order: the last ones that match.
struct Stretch<'a, 'b> {
    matcher: &'a mut Matcher<'b>,
    most: usize,
    lines: VecDeque<Line>,
    /// Whether there were more of them.
    dropped: bool,
    /// Time of the first record that has one.
    first_at: Option<i64>,
}

impl Sink for Stretch<'_, '_> {
    fn record(&mut self, _: u64, record: &Record<'_>) {
        self.first_at = self.first_at.or(record.at);
        if let Some(line) = self.matcher.line(record) {
            if self.lines.len() >= self.most {
                self.lines.pop_front();
                self.dropped = true;
            }
            self.lines.push_back(line);
        }
    }

    fn odd(&mut self, _: u64, _: Odd<'_>) {}
}
