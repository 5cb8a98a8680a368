//! A record as one line: for people, or as JSON.

use std::borrow::Cow;
use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use pawang_core::Level;
use pawang_logs::record::{Origin, Record};
use pawang_logs::render::{Masked, safe};
use pawang_logs::severity::Severity;
use pawang_report::one_line;
use serde_json::json;

use crate::cli::Global;
use crate::output;

/// Bytes of a text on a line for people; JSON has all of it.
const TEXT_BYTES_MAX: usize = 4_096;
/// Columns of the kind.
const KIND_WIDTH: usize = 20;

/// What a record is.
#[derive(Clone, Copy)]
pub(super) struct Judged<'a> {
    /// The file that it is in.
    pub file: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// What part of the server it is about.
    pub group: &'a str,
    /// How bad it is.
    pub level: Level,
    /// How bad it is to those who are called.
    pub alert: Level,
}

/// How records are written.
pub(super) struct Lines {
    color: bool,
    zone: TimeZone,
    masked: Masked,
    json: bool,
    long: bool,
}

impl Lines {
    /// Takes the options of the command line.
    pub(super) fn new(global: &Global, constants: bool) -> Lines {
        let style = output::style(global.color);
        Lines {
            color: style.color,
            zone: style.zone,
            masked: Masked { constants },
            json: global.json,
            long: global.verbose > 0,
        }
    }

    /// Returns a record as a line with its end.
    pub(super) fn line(&self, record: &Record<'_>, judged: &Judged<'_>) -> String {
        if self.json {
            self.as_json(record, judged)
        } else {
            self.as_text(record, judged)
        }
    }

    /// Returns the message without what must not be shown.
    pub(super) fn message(&self, record: &Record<'_>, kind: &str) -> String {
        self.masked.message(record, kind)
    }

    fn statement(&self, text: &[u8]) -> String {
        self.masked.statement(text)
    }

    fn detail(&self, text: &[u8]) -> String {
        let shown = self.masked.detail(text);
        shown.unwrap_or_else(|| "parameters left out (--constants)".to_owned())
    }

    fn as_text(&self, record: &Record<'_>, judged: &Judged<'_>) -> String {
        let time = record
            .at
            .and_then(|at| Timestamp::from_microsecond(at).ok());
        let time = time.map_or_else(
            || "-".to_owned(),
            |at| {
                let zoned = at.to_zoned(self.zone.clone());
                zoned.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
            },
        );
        let word = format!("{:<7}", record.severity.as_str());
        let dim = judged.level < Level::Warning && record.severity < Severity::Warning;
        let word = if dim {
            word
        } else {
            self.paint(&word, code(judged))
        };
        let mut out = format!("{time} {word} {:<KIND_WIDTH$}", judged.kind);
        if !record.user.is_empty() || !record.database.is_empty() {
            let _ = write!(out, " {}@{}", short(record.user), short(record.database));
        }
        if !record.application.is_empty() {
            let _ = write!(out, " [{}]", short(&without_secrets_of(record.application)));
        }
        let message = self.message(record, judged.kind);
        let _ = write!(out, " {}", cut(&one_line(&message)));
        let mut out = if dim { self.paint(&out, "2") } else { out };
        out.push('\n');
        if self.long {
            self.more(record, &mut out);
        }
        out
    }

    fn more(&self, record: &Record<'_>, out: &mut String) {
        let parts = [
            ("DETAIL", self.detail(record.detail)),
            ("HINT", safe(record.hint).into_owned()),
            ("CONTEXT", safe(record.context).into_owned()),
            ("QUERY", self.statement(record.internal_query)),
            ("STATEMENT", self.statement(record.statement)),
        ];
        for (name, text) in parts.iter().filter(|(_, text)| !text.is_empty()) {
            let _ = writeln!(
                out,
                "    {}  {}",
                self.paint(name, "1"),
                cut(&one_line(text))
            );
        }
    }

    fn as_json(&self, record: &Record<'_>, judged: &Judged<'_>) -> String {
        let time = record
            .at
            .and_then(|at| Timestamp::from_microsecond(at).ok());
        let code = Some(record.sqlstate).filter(|code| *code != [0; 5]);
        let number = |number: i64| Some(number).filter(|number| *number != 0);
        let value = json!({
            "at": time.map(|at| at.to_string()),
            "file": judged.file,
            "level": judged.level,
            "kind": judged.kind,
            "group": judged.group,
            "severity": record.severity.as_str(),
            "sqlstate": code.map(|code| String::from_utf8_lossy(&code).into_owned()),
            "program": match record.origin {
                Origin::Server => "postgres",
                Origin::PgBouncer => "pgbouncer",
            },
            "pid": number(record.pid.into()),
            "line": number(record.line.into()),
            "query_id": number(record.query_id),
            "user": text(safe(record.user)),
            "database": text(safe(record.database)),
            "application": text(safe(record.application)),
            "host": text(safe(record.host)),
            "backend": text(safe(record.backend)),
            "message": self.message(record, judged.kind),
            "detail": text(self.detail(record.detail).into()),
            "hint": text(safe(record.hint)),
            "context": text(safe(record.context)),
            "statement": text(self.statement(record.statement).into()),
            "cut": record.cut,
        });
        format!("{value}\n")
    }

    fn paint(&self, text: &str, code: &str) -> String {
        if self.color {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Returns the colour of the severity: by how bad the kind is.
fn code(judged: &Judged<'_>) -> &'static str {
    match judged.level {
        Level::Critical => "1;31",
        Level::Warning => "33",
        _ => "36",
    }
}

fn without_secrets_of(text: &[u8]) -> Vec<u8> {
    safe(text).into_owned().into_bytes()
}

fn text(text: Cow<'_, str>) -> Option<String> {
    (!text.is_empty()).then(|| text.into_owned())
}

fn short(text: &[u8]) -> String {
    one_line(&String::from_utf8_lossy(text))
}

fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= TEXT_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    Cow::Owned(format!("{}...", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(json: bool, constants: bool) -> Lines {
        Lines {
            color: false,
            zone: TimeZone::UTC,
            masked: Masked { constants },
            json,
            long: true,
        }
    }

    const JUDGED: Judged<'_> = Judged {
        file: "a.log",
        kind: "duration",
        group: "statements",
        level: Level::Info,
        alert: Level::Info,
    };

    #[test]
    fn statements_lose_constants_and_secrets_stay_hidden() {
        let record = Record {
            at: Some(0),
            user: b"alice",
            database: b"dwh",
            message: b"duration: 3.1 ms  statement: SELECT *\nFROM t WHERE id = 4711",
            detail: b"Parameters: $1 = '4711'",
            statement: b"ALTER ROLE bob PASSWORD 'sesame'",
            ..Record::default()
        };
        let shown = lines(false, false).line(&record, &JUDGED);
        assert!(shown.starts_with("1970-01-01 00:00:00.000 LOG     duration             alice@dwh duration: 3.1 ms  statement: "), "{shown}");
        assert!(
            !shown.contains("4711") && !shown.contains("sesame"),
            "{shown}"
        );
        let all = lines(false, true).line(&record, &JUDGED);
        assert!(
            all.contains("id = 4711") && !all.contains("sesame"),
            "{all}"
        );
        assert_eq!(all.lines().count(), 3, "{all}");
        let json: serde_json::Value =
            serde_json::from_str(&lines(true, false).line(&record, &JUDGED)).unwrap();
        assert_eq!(json["user"], "alice");
        assert_eq!(json["kind"], "duration");
        assert_eq!(json["sqlstate"], serde_json::Value::Null);
        assert!(!json.to_string().contains("4711"));
    }
}
