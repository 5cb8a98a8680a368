//! Which format a log has, told by its first bytes, which may begin in the middle of a line or with lines of other programs.

use memchr::memmem;

use super::Scanner;
use super::csv::Csv;
use super::plain;
use super::syslog::{self, Assumed, Sort};
use crate::language::words::Label;
use crate::record::{Odd, Record, Sink};
use crate::severity::Severity;

/// Most lines that are looked at.
const LINES_MAX: usize = 2000;

/// The format of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// Lines with a `log_line_prefix`, as the server writes to its standard error; also of AWS RDS and Aurora.
    Stderr,
    /// csvlog.
    Csv,
    /// jsonlog.
    Json,
    /// syslog with heads of RFC 3164, or with times of RFC 3339 before host and tag.
    Syslog3164,
    /// syslog with heads of RFC 5424.
    Syslog5424,
    /// The journal, as `journalctl -o export` writes it.
    JournaldExport,
    /// The journal, as `journalctl -o json` writes it.
    JournaldJson,
    /// Google Cloud SQL.
    CloudSql,
    /// CloudNativePG.
    CloudNativePg,
    /// Azure Database for PostgreSQL.
    Azure,
    /// Heroku Postgres through logplex.
    Heroku,
    /// PgBouncer's own log.
    PgBouncer,
    /// None of them.
    Unknown,
}

impl Form {
    /// All formats; the unknown one is the last.
    pub const ALL: [Form; 13] = [
        Form::Stderr,
        Form::Csv,
        Form::Json,
        Form::Syslog3164,
        Form::Syslog5424,
        Form::JournaldExport,
        Form::JournaldJson,
        Form::CloudSql,
        Form::CloudNativePg,
        Form::Azure,
        Form::Heroku,
        Form::PgBouncer,
        Form::Unknown,
    ];

    /// Returns its name as people say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Form::Stderr => "stderr",
            Form::Csv => "csvlog",
            Form::Json => "jsonlog",
            Form::Syslog3164 => "syslog",
            Form::Syslog5424 => "syslog RFC 5424",
            Form::JournaldExport => "journald export",
            Form::JournaldJson => "journald JSON",
            Form::CloudSql => "Cloud SQL",
            Form::CloudNativePg => "CloudNativePG",
            Form::Azure => "Azure",
            Form::Heroku => "Heroku",
            Form::PgBouncer => "PgBouncer",
            Form::Unknown => "unknown",
        }
    }

    /// Returns the format that a word means, whatever its case, spaces and dashes; `csv` and `json` are csvlog and jsonlog.
    pub fn of(word: &str) -> Option<Form> {
        let plain = |text: &str| {
            let letters = text.chars().filter(|letter| letter.is_alphanumeric());
            letters.collect::<String>().to_lowercase()
        };
        let word = plain(word);
        Some(match word.as_str() {
            "csv" => Form::Csv,
            "json" => Form::Json,
            "rds" | "aurora" => Form::Stderr,
            "syslog3164" | "rfc3164" => Form::Syslog3164,
            "syslog5424" | "syslog2" | "rfc5424" => Form::Syslog5424,
            "journald" | "journal" => Form::JournaldExport,
            "cnpg" => Form::CloudNativePg,
            "logplex" => Form::Heroku,
            "unknown" => return None,
            _ => {
                return Form::ALL
                    .into_iter()
                    .find(|form| plain(form.as_str()) == word);
            }
        })
    }
}

/// Tells the format by the first bytes of a log; the last line of the sample may be half.
pub fn detect(sample: &[u8]) -> Form {
    let mut votes = [0_usize; Form::ALL.len()];
    let csv = csv_records(sample);
    for line in sample.split(|byte| *byte == b'\n').take(LINES_MAX) {
        let form = of_line(line);
        // The lines of csvlog's statements may look like anything.
        if form != Form::Unknown && !(form == Form::Stderr && csv > 0) {
            votes[form as usize] += 1;
        }
    }
    votes[Form::Csv as usize] += csv;
    let best = Form::ALL.into_iter().max_by_key(|form| {
        // The first of equals, which is the simplest.
        (votes[*form as usize], std::cmp::Reverse(*form))
    });
    best.filter(|form| votes[*form as usize] > 0)
        .unwrap_or(Form::Unknown)
}

/// Returns how many records of csvlog there are.
fn csv_records(sample: &[u8]) -> usize {
    #[derive(Default)]
    struct Count(usize);
    impl Sink for Count {
        fn record(&mut self, _: u64, _: &Record<'_>) {
            self.0 += 1;
        }
        fn odd(&mut self, _: u64, _: Odd<'_>) {}
    }
    let mut scanner = Csv::default();
    let Some(begin) = scanner.sync(sample) else {
        return 0;
    };
    let mut count = Count::default();
    let rest = &sample[begin..];
    scanner.scan(rest, 0, rest.len(), false, &mut count);
    count.0
}

fn of_line(line: &[u8]) -> Form {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let object = line.strip_prefix(b"[").unwrap_or(line);
    if object.starts_with(b"{") {
        return of_object(object);
    }
    if line.starts_with(b"__CURSOR=") || line.starts_with(b"__REALTIME_TIMESTAMP=") {
        return Form::JournaldExport;
    }
    if line.starts_with(b"\t") {
        return Form::Unknown;
    }
    if is_pgbouncer(line) {
        return Form::PgBouncer;
    }
    const ASSUMED: Assumed = Assumed {
        end: 0,
        offset: 0,
        certain: false,
    };
    if let Some(head) = syslog::head(line, ASSUMED) {
        let is_ours = syslog::is_server(head.program) || head.sort == Sort::Heroku;
        if is_ours || syslog::counter(head.text).0.is_some() {
            return match head.sort {
                Sort::Rfc3164 => Form::Syslog3164,
                Sort::Rfc5424 => Form::Syslog5424,
                Sort::Heroku => Form::Heroku,
            };
        }
    }
    match plain::marker(line) {
        Some((Label::Severity(_), _)) => Form::Stderr,
        _ => Form::Unknown,
    }
}

/// Tells whose object a line is by keys that nobody else has.
fn of_object(line: &[u8]) -> Form {
    let has = |key: &str| memmem::find(line, key.as_bytes()).is_some();
    if line.starts_with(b"{\"timestamp\":\"") && has("\"error_severity\":\"") {
        Form::Json
    } else if has("\"__REALTIME_TIMESTAMP\"") || has("\"_SYSTEMD_UNIT\"") {
        Form::JournaldJson
    } else if has("\"textPayload\"") {
        Form::CloudSql
    } else if has("\"logger\"") && (has("\"record\"") || has("\"msg\"")) {
        Form::CloudNativePg
    } else if has("\"errorLevel\"") || has("\"resourceId\"") || has("\"LogicalServerName\"") {
        Form::Azure
    } else {
        Form::Unknown
    }
}

/// Tells whether a line is one of PgBouncer: `time [pid] LOG text`, with one space and no colon after the level.
fn is_pgbouncer(line: &[u8]) -> bool {
    if !crate::time::begins(line) {
        return false;
    }
    let head = &line[..line.len().min(80)];
    let Some(close) = memmem::find(head, b"] ") else {
        return false;
    };
    let Some(open) = memmem::rfind(&head[..close], b"[") else {
        return false;
    };
    let is_pid = close > open + 1 && head[open + 1..close].iter().all(u8::is_ascii_digit);
    let rest = &head[close + 2..];
    let length = rest
        .iter()
        .take_while(|byte| byte.is_ascii_uppercase())
        .count();
    let is_level = &rest[..length] == b"NOISE" || Severity::of(&rest[..length]).is_some();
    is_pid && is_level && rest.get(length) == Some(&b' ')
}
