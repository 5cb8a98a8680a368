//! The logs of servers: sums of kept hours, and single records.

use std::collections::BTreeMap;

use pawang_core::{Blind, Timestamp};
use pawang_logs::report::{ErrorText, KindCount, OddLine, Report, Shape, Top};
use pawang_logs::search::{Line, error_id};
use pawang_store::live::{LogPosition, LogStatus};
use schemars::JsonSchema;
use serde::Serialize;

use super::estate::Unseen;
use super::reply;
use crate::logs;
use crate::page;
use crate::problem::Problem;
use crate::routes::{Look, Reply};

/// What the log of a server adds up to.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Log {
    /// How reading goes; absent when nobody reads.
    reading: Option<Reading>,
    /// Begin of the first whole hour that is summed.
    from: Timestamp,
    /// End of the last one.
    to: Timestamp,
    /// Since when hours are kept; absent when there are none.
    kept_since: Option<Timestamp>,
    /// Why there are no numbers.
    blind: Option<Unseen>,
    /// Records.
    records: u64,
    /// Records by severity, as PostgreSQL writes it.
    severities: BTreeMap<String, u64>,
    /// Records that no rule knows.
    unclassified: u64,
    /// Lines that pretend to be records, never counted as such.
    forged: u64,
    /// Lines outside of any record, and bytes that are no log.
    odd: u64,
    /// Sessions whose line numbers have holes: records are missing there.
    gaps: u64,
    /// Kinds of events, most severe and most frequent first.
    kinds: Vec<Kind>,
    /// Errors by SQLSTATE and normalised text, most frequent first.
    errors: Vec<Error>,
    /// How many errors there are in all.
    errors_total: u64,
    /// Statements with a duration, most time first.
    statements: Vec<Statement>,
    /// How many statements there are in all.
    statements_total: u64,
}

/// How reading a log goes.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Reading {
    /// Where its files are.
    directory: Option<String>,
    /// When it was looked for something new last.
    read_at: Option<Timestamp>,
    /// Bytes that were read since the daemon started.
    bytes: u64,
    /// Records that were read since the daemon started.
    records: u64,
    /// Bytes that are there and were not read yet.
    behind_bytes: u64,
    /// Why it is not read.
    blind: Option<Unseen>,
    /// Files of which something was not read, with why.
    troubles: Vec<String>,
    /// How far each file was read, the newest ones last.
    files: Vec<Position>,
    /// Files that were gone before all of them was read.
    lost_files: usize,
    /// At least so many bytes of them were not read.
    lost_bytes: u64,
    /// What went wrong last, also when it is right again.
    last_error: Option<LastError>,
}

/// How far a file was read.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct Position {
    /// Its name.
    name: String,
    /// Its bytes on disk.
    bytes: u64,
    /// Where the next record begins, in what it unpacks to.
    read_to: u64,
    /// Whether it is compressed.
    compressed: bool,
    /// Whether nothing of it is left to be read.
    whole: bool,
}

/// What went wrong, and when it was so last.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct LastError {
    /// When.
    at: Timestamp,
    /// What.
    what: String,
}

impl From<&LogStatus> for Reading {
    fn from(status: &LogStatus) -> Reading {
        let directory = status.directory.as_ref();
        Reading {
            directory: directory.map(|path| path.display().to_string()),
            read_at: status.read_at,
            bytes: status.bytes,
            records: status.records,
            behind_bytes: status.behind_bytes,
            blind: status.blind.as_ref().map(Unseen::from),
            troubles: status.troubles.clone(),
            files: status.positions.iter().map(position).collect(),
            lost_files: status.lost_files,
            lost_bytes: status.lost_bytes,
            last_error: status.last_error.as_ref().map(|error| LastError {
                at: error.at,
                what: error.what.clone(),
            }),
        }
    }
}

fn position(position: &LogPosition) -> Position {
    Position {
        name: position.name.clone(),
        bytes: position.bytes,
        read_to: position.read_to,
        compressed: position.compressed,
        whole: position.whole,
    }
}

/// A kind of event.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct Kind {
    /// Its id.
    kind: String,
    /// How bad one is: `ok`, `info`, `unknown`, `warning` or `critical`.
    level: String,
    /// How often.
    count: u64,
    /// When it came first.
    first_at: Option<Timestamp>,
    /// When it came last.
    last_at: Option<Timestamp>,
}

/// An error.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct Error {
    /// What `error` of the records takes.
    id: String,
    /// Its kind.
    kind: String,
    /// The worst severity that it came with.
    severity: String,
    /// SQLSTATE; empty when the log does not say.
    sqlstate: String,
    /// The message with numbers and quoted names as `?`.
    text: String,
    /// How often.
    count: u64,
    /// When it came last.
    last_at: Option<Timestamp>,
    /// How often by role.
    users: BTreeMap<String, u64>,
    /// How often by database.
    databases: BTreeMap<String, u64>,
}

/// A statement without its constants.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct Statement {
    /// What `statement` of the records takes.
    id: String,
    /// The normalised text.
    text: String,
    /// Executions whose duration was logged.
    calls: u64,
    /// Time of all of them, in milliseconds.
    total_ms: f64,
    /// Time of one, in milliseconds.
    mean_ms: f64,
    /// 95 of 100 took at most this, in milliseconds.
    p95_ms: f64,
    /// The slowest, in milliseconds.
    max_ms: f64,
    /// When it ran last.
    last_at: Option<Timestamp>,
}

/// Records of a log, newest first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Records {
    /// The records.
    records: Vec<Record>,
    /// Bytes of the log that were searched, unpacked.
    bytes: u64,
    /// Why older ones were not looked for: `records`, `bytes` or `time`; absent when all were.
    cut: Option<String>,
    /// Files that were not searched, or not whole, with why.
    left_out: BTreeMap<String, String>,
    /// Files that may have older records and were not opened, since the search was cut before.
    unopened: usize,
    /// Why the log is not read.
    blind: Option<Unseen>,
}

/// A record, without secrets.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct Record {
    /// When it was written.
    at: Option<Timestamp>,
    /// As PostgreSQL writes it.
    severity: String,
    /// Its kind.
    kind: String,
    /// SQLSTATE; empty when the log does not say.
    sqlstate: String,
    /// The process; 0 when the log does not say.
    pid: u32,
    /// Role.
    user: String,
    /// Database.
    database: String,
    /// Application.
    application: String,
    /// Client host.
    host: String,
    /// The message.
    message: String,
    /// DETAIL.
    detail: String,
    /// HINT.
    hint: String,
    /// CONTEXT.
    context: String,
    /// What the session was running.
    statement: String,
}

/// Answers with what the log of an instance adds up to.
pub(crate) fn log(look: &Look<'_>) -> Result<Reply, Problem> {
    let name = look.arguments.get("name");
    look.visit.instance(name)?;
    let summary = logs::summary(&look.visit, name);
    let reading = summary.status.as_deref().map(Reading::from);
    let nothing = Report::default();
    let report = summary.report.as_deref().unwrap_or(&nothing);
    let (totals, integrity) = (&report.totals, &report.integrity);
    let severities = totals.severities.iter();
    reply(&Log {
        reading,
        from: summary.from,
        to: summary.to,
        kept_since: summary.kept_since,
        blind: summary.report.as_ref().err().map(Unseen::from),
        records: totals.records,
        severities: severities
            .map(|(severity, count)| (severity.as_str().to_owned(), *count))
            .collect(),
        unclassified: totals.unclassified,
        forged: lines(&integrity.forged),
        odd: lines(&integrity.raw) + lines(&integrity.malformed),
        gaps: integrity.gaps.total,
        kinds: report.kinds.iter().map(kind).collect(),
        errors: report.errors.items.iter().map(error).collect(),
        errors_total: report.errors.total,
        statements: report
            .statements
            .by_time
            .items
            .iter()
            .map(statement)
            .collect(),
        statements_total: report.statements.by_time.total,
    })
}

/// Answers with records of the log of an instance.
pub(crate) fn log_records(look: &Look<'_>) -> Result<Reply, Problem> {
    let name = look.arguments.get("name");
    look.visit.instance(name)?;
    let wanted = page::logs::wanted(&look.visit)?;
    let most = super::limit(look)?;
    let Some(status) = look.visit.site.live.log(name) else {
        let blind = Blind::NotConfigured {
            key: "enabled of [serve.logs]".to_owned(),
            what: "the log is not read".to_owned(),
        };
        return reply(&Records {
            records: Vec::new(),
            bytes: 0,
            cut: None,
            left_out: BTreeMap::new(),
            unopened: 0,
            blind: Some(Unseen::from(&blind)),
        });
    };
    let found = logs::records(&look.visit, name, &status, &wanted, most);
    let left_out = found.left_out.iter();
    let cut = found.cut.map(|cut| match cut {
        pawang_logs::search::Cut::Records => "records",
        pawang_logs::search::Cut::Bytes => "bytes",
        pawang_logs::search::Cut::Time => "time",
    });
    reply(&Records {
        records: found.records.iter().map(record).collect(),
        bytes: found.bytes,
        cut: cut.map(str::to_owned),
        unopened: found.unopened,
        left_out: left_out
            .map(|(path, why)| (path.display().to_string(), why.clone()))
            .collect(),
        blind: status.blind.as_ref().map(Unseen::from),
    })
}

fn lines(top: &Top<OddLine>) -> u64 {
    top.items.iter().map(|line| line.count).sum()
}

fn instant(at: Option<i64>) -> Option<Timestamp> {
    at.and_then(|at| Timestamp::from_microsecond(at).ok())
}

fn kind(kind: &KindCount) -> Kind {
    Kind {
        kind: kind.kind.clone(),
        level: kind.level.as_str().to_owned(),
        count: kind.count,
        first_at: instant(kind.first_at),
        last_at: instant(kind.last_at),
    }
}

fn error(error: &ErrorText) -> Error {
    Error {
        id: error_id(&error.sqlstate, &error.text),
        kind: error.kind.clone(),
        severity: error.severity.as_str().to_owned(),
        sqlstate: error.sqlstate.clone(),
        text: error.text.clone(),
        count: error.count,
        last_at: instant(error.last_at),
        users: error.users.clone(),
        databases: error.databases.clone(),
    }
}

fn statement(shape: &Shape) -> Statement {
    let ms = |microseconds: u64| microseconds as f64 / 1_000.0;
    let durations = &shape.durations;
    Statement {
        id: shape.id.clone(),
        text: shape.text.clone(),
        calls: durations.count,
        total_ms: ms(durations.total),
        mean_ms: ms(durations.total) / durations.count.max(1) as f64,
        p95_ms: ms(durations.p95),
        max_ms: ms(durations.max),
        last_at: instant(shape.last_at),
    }
}

fn record(line: &Line) -> Record {
    Record {
        at: instant(line.at),
        severity: line.severity.as_str().to_owned(),
        kind: line.kind.clone(),
        sqlstate: line.sqlstate.clone(),
        pid: line.pid,
        user: line.user.clone(),
        database: line.database.clone(),
        application: line.application.clone(),
        host: line.host.clone(),
        message: line.message.clone(),
        detail: line.detail.clone(),
        hint: line.hint.clone(),
        context: line.context.clone(),
        statement: line.statement.clone(),
    }
}
