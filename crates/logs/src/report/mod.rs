//! The report: everything that a reader of the log wants to know, as data. `docs/reference` documents it as `pawang.logs.report/1`.
//!
//! All instants are microseconds since 1970-01-01 UTC, all durations microseconds, all sizes bytes. Lists are bounded and say how many
//! there were in all. Equal events give an equal report, whatever the format, the number of threads or the size of the pieces read; only
//! [`Source`] differs.

mod activity;
mod server;
mod statements;

pub use activity::*;
pub use server::*;
pub use statements::*;

use std::collections::BTreeMap;

use pawang_core::Level;
use serde::{Deserialize, Serialize};

use crate::format::Remarks;
use crate::severity::Severity;
use crate::time::{ZONES_MAX, Zone};

/// The whole report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Where the bytes came from and how they were read; the only part that differs between formats.
    pub source: Source,
    /// What span of time it covers and how many records there were.
    pub totals: Totals,
    /// What was found wrong with the log itself.
    pub integrity: Integrity,
    /// Kinds of events, most severe and most frequent first.
    pub kinds: Vec<KindCount>,
    /// Records that no rule knows, by normalised text.
    pub unclassified: Top<Text>,
    /// Errors, by SQLSTATE and normalised text, most frequent first.
    pub errors: Top<ErrorText>,
    /// Statements with a duration.
    pub statements: Statements,
    /// Temporary files.
    pub temp_files: TempFiles,
    /// Lock waits and deadlocks.
    pub locks: Locks,
    /// Sessions and logins.
    pub sessions: Sessions,
    /// Checkpoints and restartpoints.
    pub checkpoints: Checkpoints,
    /// Vacuum and analyze by autovacuum.
    pub vacuums: Vacuums,
    /// Starts, stops, crashes and other events of the whole server, in order of time.
    pub server: Server,
    /// Plans of auto_explain.
    pub plans: Plans,
    /// pgaudit.
    pub audit: Audit,
    /// PgBouncer.
    pub pgbouncer: PgBouncer,
    /// PgBouncer and the server on one time line; empty unless both wrote.
    pub timeline: Timeline,
    /// What to change, with its numbers.
    pub advice: Vec<Advice>,
}

/// Where the bytes came from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// The files, in the order in which they were read.
    pub files: Vec<SourceFile>,
    /// Bytes read, after decompression.
    pub bytes: u64,
}

/// One file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceFile {
    /// Its name as given; `-` for standard input.
    pub name: String,
    /// Format, as people say it: `stderr`, `csvlog`, `jsonlog`, `syslog`, ...
    pub format: String,
    /// The prefixes that were used, for stderr and syslog.
    pub prefixes: Vec<String>,
    /// Share of lines that the prefixes match, where they were guessed.
    pub match_rate: Option<f64>,
    /// Compression: `gz`, `zst`, ...; none when plain.
    pub compression: Option<String>,
    /// Bytes read, after decompression.
    pub bytes: u64,
    /// Records.
    pub records: u64,
    /// Why not all of it was read.
    pub trouble: Option<String>,
    /// The zones in which its times are written.
    pub zones: Vec<Zone>,
    /// Lines or entries of other programs, which were left out.
    pub foreign: u64,
}

impl SourceFile {
    /// Adds what a scanner of it remarked.
    pub(crate) fn remark(&mut self, remarks: Remarks) {
        self.foreign += remarks.foreign;
        self.zones.extend(remarks.zones);
        self.zones.sort();
        self.zones.dedup();
        self.zones.truncate(ZONES_MAX);
    }
}

/// The span and the numbers of records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Time of the first record.
    pub first_at: Option<i64>,
    /// Time of the last record.
    pub last_at: Option<i64>,
    /// Records in all.
    pub records: u64,
    /// Records by severity; severities without a record are absent.
    pub severities: BTreeMap<Severity, u64>,
    /// Records per bucket of time, by severity; see [`Series`].
    pub series: BTreeMap<Severity, Series>,
    /// Records that no rule knows.
    pub unclassified: u64,
}

/// Numbers over time in equal buckets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Series {
    /// Start of the first bucket, in seconds since 1970-01-01 UTC, a multiple of `step`.
    pub start: i64,
    /// Length of a bucket in seconds.
    pub step: i64,
    /// One number per bucket.
    pub values: Vec<u64>,
}

/// The first of a list, and how many there were.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Top<T> {
    /// The first, best first.
    pub items: Vec<T>,
    /// How many there were in all.
    pub total: u64,
    /// Whether all of them were kept; else `total` and the last items are a lower bound.
    pub complete: bool,
}

impl<T> Default for Top<T> {
    fn default() -> Top<T> {
        Top {
            items: Vec::new(),
            total: 0,
            complete: true,
        }
    }
}

/// A normalised text and how often it came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Text {
    /// The text with numbers and quoted names as `?`.
    pub text: String,
    /// How often.
    pub count: u64,
    /// When it came first.
    pub first_at: Option<i64>,
    /// When it came last.
    pub last_at: Option<i64>,
    /// The message of the earliest record, redacted.
    pub sample: String,
}

/// One kind of event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KindCount {
    /// Its id.
    pub kind: String,
    /// How bad one is.
    pub level: Level,
    /// How often.
    pub count: u64,
    /// When it came first.
    pub first_at: Option<i64>,
    /// When it came last.
    pub last_at: Option<i64>,
    /// The message of the earliest record, redacted.
    pub sample: String,
}

/// What was found wrong with the log itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Integrity {
    /// Lines that pretend to be records; never counted.
    pub forged: Top<OddLine>,
    /// Lines outside of any record.
    pub raw: Top<OddLine>,
    /// Bytes that are no log.
    pub malformed: Top<OddLine>,
    /// Holes in the line numbers of a session: records that are missing.
    pub gaps: Top<Gap>,
    /// Records whose texts were cut for their length.
    pub cut: u64,
    /// Records without a time, which no window of time can hold.
    pub timeless: u64,
}

/// A line that is no record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OddLine {
    /// Its beginning, printable.
    pub text: String,
    /// How often that very beginning came.
    pub count: u64,
}

/// Records missing in a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gap {
    /// The process.
    pub pid: u32,
    /// Time of the first record after the hole.
    pub at: Option<i64>,
    /// Numbers of lines that are missing.
    pub lines: u64,
}

/// A recommendation, with the numbers that it follows from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Advice {
    /// Kebab-case name: `checkpoint-max-wal-size`.
    pub id: String,
    /// How much it matters.
    pub level: Level,
    /// What to change, in one sentence.
    pub title: String,
    /// The numbers that it follows from.
    pub because: String,
    /// The statement or setting, where there is one.
    pub remedy: String,
}
