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
use serde::Serialize;

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

/// A record as JSON; its fields are in the order of their names.
#[derive(Serialize)]
struct Json<'a> {
    application: Option<Cow<'a, str>>,
    at: Option<Timestamp>,
    backend: Option<Cow<'a, str>>,
    context: Option<Cow<'a, str>>,
    cut: bool,
    database: Option<Cow<'a, str>>,
    detail: Option<Cow<'a, str>>,
    file: &'a str,
    group: &'a str,
    hint: Option<Cow<'a, str>>,
    host: Option<Cow<'a, str>>,
    kind: &'a str,
    level: Level,
    line: Option<i64>,
    message: String,
    pid: Option<i64>,
    program: &'static str,
    query_id: Option<i64>,
    severity: &'static str,
    sqlstate: Option<Cow<'a, str>>,
    statement: Option<Cow<'a, str>>,
    user: Option<Cow<'a, str>>,
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

    /// Appends a record as a line with its end.
    pub(super) fn put(&self, record: &Record<'_>, judged: &Judged<'_>, out: &mut Vec<u8>) {
        if self.json {
            self.as_json(record, judged, out);
        } else {
            out.extend_from_slice(self.as_text(record, judged).as_bytes());
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

    fn as_json(&self, record: &Record<'_>, judged: &Judged<'_>, out: &mut Vec<u8>) {
        let code = Some(&record.sqlstate).filter(|code| **code != [0; 5]);
        let number = |number: i64| Some(number).filter(|number| *number != 0);
        let shown = Json {
            application: text(safe(record.application)),
            at: record
                .at
                .and_then(|at| Timestamp::from_microsecond(at).ok()),
            backend: text(safe(record.backend)),
            context: text(safe(record.context)),
            cut: record.cut,
            database: text(safe(record.database)),
            detail: text(self.detail(record.detail).into()),
            file: judged.file,
            group: judged.group,
            hint: text(safe(record.hint)),
            host: text(safe(record.host)),
            kind: judged.kind,
            level: judged.level,
            line: number(record.line.into()),
            message: self.message(record, judged.kind),
            pid: number(record.pid.into()),
            program: match record.origin {
                Origin::Server => "postgres",
                Origin::PgBouncer => "pgbouncer",
            },
            query_id: number(record.query_id),
            severity: record.severity.as_str(),
            sqlstate: code.map(|code| String::from_utf8_lossy(code)),
            statement: text(self.statement(record.statement).into()),
            user: text(safe(record.user)),
        };
        serde_json::to_writer(&mut *out, &shown)
            .expect("texts and numbers are JSON, and memory takes them");
        out.push(b'\n');
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

fn text(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    (!text.is_empty()).then_some(text)
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

    fn line(lines: &Lines, record: &Record<'_>) -> String {
        let mut out = b"before\n".to_vec();
        lines.put(record, &JUDGED, &mut out);
        let out = String::from_utf8(out).unwrap();
        out.strip_prefix("before\n").unwrap().to_owned()
    }

    #[test]
    fn json_is_one_line_with_fields_in_the_order_of_their_names() {
        let record = Record {
            at: Some(1_500_000),
            line: 3,
            pid: 4711,
            query_id: -5,
            sqlstate: *b"42P01",
            user: b"\xff\"",
            message: b"relation \"t\" does not\nexist \x01 \\",
            statement: b"SELECT * FROM t WHERE id = 1",
            ..Record::default()
        };
        for record in [&record, &Record::default()] {
            let shown = line(&lines(true, false), record);
            let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
            // The keys of a value are in the order of their names.
            assert_eq!(shown, format!("{value}\n"));
            assert_eq!(value.as_object().map(|fields| fields.len()), Some(22));
        }
        let shown = line(&lines(true, false), &record);
        let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(value["at"], "1970-01-01T00:00:01.5Z");
        assert_eq!(value["sqlstate"], "42P01");
        assert_eq!(value["user"], "\u{fffd}\"");
        assert_eq!(value["query_id"], -5);
        assert_eq!(value["level"], "info");
        assert_eq!(value["statement"], "select * from t where id = ?");
        assert_eq!(value["host"], serde_json::Value::Null);
    }

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
        let shown = line(&lines(false, false), &record);
        assert!(shown.starts_with("1970-01-01 00:00:00.000 LOG     duration             alice@dwh duration: 3.1 ms  statement: "), "{shown}");
        assert!(
            !shown.contains("4711") && !shown.contains("sesame"),
            "{shown}"
        );
        let all = line(&lines(false, true), &record);
        assert!(
            all.contains("id = 4711") && !all.contains("sesame"),
            "{all}"
        );
        assert_eq!(all.lines().count(), 3, "{all}");
        let json: serde_json::Value =
            serde_json::from_str(&line(&lines(true, false), &record)).unwrap();
        assert_eq!(json["user"], "alice");
        assert_eq!(json["kind"], "duration");
        assert_eq!(json["sqlstate"], serde_json::Value::Null);
        assert!(!json.to_string().contains("4711"));
    }
}
