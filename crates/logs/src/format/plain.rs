//! The text of one record that has no `log_line_prefix`: `ERROR:  message`, `DETAIL:  text`, lines that go on after a tab.

use memchr::memmem;

use super::field;
use crate::language::words::{self, Label, Part};
use crate::record::{Odd, Record, Sink};
use crate::severity::Severity;

/// How far into a line the word before `:  ` is looked for, behind a prefix.
const PREFIX_BYTES_MAX: usize = 1024;

/// What the transport of a record says about it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said {
    pub(crate) offset: u64,
    pub(crate) at: Option<i64>,
    pub(crate) pid: u32,
    pub(crate) cut: bool,
}

/// Fills in what the text of a record does not say, for the sink behind.
pub(crate) struct Filled<'s> {
    pub(crate) said: Said,
    pub(crate) sink: &'s mut dyn Sink,
}

impl Sink for Filled<'_> {
    fn record(&mut self, _: u64, record: &Record<'_>) {
        let mut record = record.clone();
        record.at = record.at.or(self.said.at);
        if record.pid == 0 {
            record.pid = self.said.pid;
        }
        record.cut |= self.said.cut;
        self.sink.record(self.said.offset, &record);
    }

    fn odd(&mut self, _: u64, odd: Odd<'_>) {
        self.sink.odd(self.said.offset, odd);
    }
}

/// Returns what a line is, whatever its prefix, and where the text after the word begins.
pub(crate) fn marker(line: &[u8]) -> Option<(Label, usize)> {
    words::label(line).or_else(|| {
        let head = &line[..line.len().min(PREFIX_BYTES_MAX)];
        memmem::find_iter(head, b":  ")
            .find_map(|colon| Some((words::label_at_end(&head[..colon])?, colon + 3)))
    })
}

/// Where the texts of a record are in the scratch.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    message: (usize, usize),
    parts: [(usize, usize); Part::COUNT],
}

/// Hands the record of a text over.
pub(crate) fn read(text: &[u8], scratch: &mut Vec<u8>, said: Said, sink: &mut dyn Sink) {
    let mut record = Record {
        at: said.at,
        pid: said.pid,
        lines: 1,
        cut: said.cut,
        ..Record::default()
    };
    let body = pairs(text, &mut record);
    let first = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some((severity, begin)) = beginning(first) else {
        sink.odd(said.offset, Odd::Raw(text));
        return;
    };
    record.severity = severity;
    let mut body = &body[begin..];
    if let Some((state, rest)) = inline_sqlstate(body) {
        record.sqlstate = state;
        body = rest;
    }
    let places = places(body, scratch);
    let of = |place: (usize, usize)| &scratch[place.0..place.1];
    record.message = field::without_position(of(places.message), severity);
    record.detail = of(places.parts[Part::Detail as usize]);
    record.hint = of(places.parts[Part::Hint as usize]);
    record.internal_query = of(places.parts[Part::Query as usize]);
    record.context = of(places.parts[Part::Context as usize]);
    record.statement = of(places.parts[Part::Statement as usize]);
    record.location = of(places.parts[Part::Location as usize]);
    sink.record(said.offset, &record);
}

/// Returns the severity that a line begins with, and where its message begins.
fn beginning(line: &[u8]) -> Option<(Severity, usize)> {
    let colon = memmem::find(line, b":  ")?;
    let word = line[..colon].trim_ascii();
    Some((words::severity(word)?, colon + 3))
}

/// Takes the SQLSTATE of `log_error_verbosity = verbose` off.
fn inline_sqlstate(body: &[u8]) -> Option<([u8; 5], &[u8])> {
    let (state, rest) = body.split_at_checked(5)?;
    let rest = rest.strip_prefix(b": ")?;
    let is_state = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    state
        .iter()
        .all(is_state)
        .then_some((field::sqlstate(state), rest))
}

/// Writes the texts of the message and of the parts one after the other.
fn places(body: &[u8], scratch: &mut Vec<u8>) -> Places {
    scratch.clear();
    let mut places = Places::default();
    let mut current = None;
    let mut begin = 0;
    let mut close = |current: Option<Part>, begin: usize, end: usize| match current {
        None => places.message = (begin, end),
        Some(part) => places.parts[part as usize] = (begin, end),
    };
    for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if index == 0 {
            scratch.extend_from_slice(line);
        } else if let Some(rest) = line.strip_prefix(b"\t") {
            scratch.push(b'\n');
            scratch.extend_from_slice(rest);
        } else if let Some((Label::Part(part), text)) = marker(line) {
            close(current, begin, scratch.len());
            current = Some(part);
            begin = scratch.len();
            scratch.extend_from_slice(&line[text..]);
        } else if !line.is_empty() {
            scratch.push(b'\n');
            scratch.extend_from_slice(line);
        }
    }
    close(current, begin, scratch.len());
    places
}

/// Takes `sql_error_code = 00000 user="app" ` off the beginning, as Heroku's prefix has it.
fn pairs<'a>(text: &'a [u8], record: &mut Record<'a>) -> &'a [u8] {
    let mut rest = text.trim_ascii_start();
    loop {
        let is_key = |byte: &&u8| byte.is_ascii_lowercase() || **byte == b'_';
        let (key, after) = rest.split_at(rest.iter().take_while(is_key).count());
        let Some(after) = after
            .strip_prefix(b" = ")
            .or_else(|| after.strip_prefix(b"="))
            .filter(|_| !key.is_empty())
        else {
            return rest;
        };
        let (value, after) = match after.strip_prefix(b"\"") {
            Some(quoted) => {
                let close = memchr::memchr(b'"', quoted).unwrap_or(quoted.len());
                (
                    &quoted[..close],
                    quoted.get(close + 1..).unwrap_or_default(),
                )
            }
            None => {
                let is_value = |byte: &&u8| !matches!(byte, b' ' | b',' | b'\n');
                after.split_at(after.iter().take_while(is_value).count())
            }
        };
        put(key, value, record);
        rest = after.strip_prefix(b",").unwrap_or(after).trim_ascii_start();
    }
}

fn put<'a>(key: &[u8], value: &'a [u8], record: &mut Record<'a>) {
    match key {
        b"sql_error_code" => record.sqlstate = field::sqlstate(value),
        b"user" => record.user = field::known(value),
        b"db" | b"database" => record.database = field::known(value),
        b"app" | b"application_name" => record.application = field::known(value),
        b"client" | b"host" | b"connection_source" => {
            record.host = field::host(field::known(value))
        }
        b"pid" => record.pid = field::unsigned(value),
        b"log_line" => record.line = field::unsigned(value),
        b"session_id" => record.session_started = field::session_started(value).unwrap_or(0),
        b"time_ms" => record.at = crate::time::sure_instant(value).or(record.at),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Shown(Vec<String>);

    impl Sink for Shown {
        fn record(&mut self, _: u64, record: &Record<'_>) {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            self.0.push(format!(
                "{} {} {:?} {:?} {:?} {:?}",
                record.severity.as_str(),
                text(&record.sqlstate),
                text(record.user),
                text(record.message),
                text(record.detail),
                text(record.statement)
            ));
        }

        fn odd(&mut self, _: u64, odd: Odd<'_>) {
            self.0.push(format!("{odd:?}"));
        }
    }

    fn check(text: &str, expected: &str) {
        let mut shown = Shown::default();
        read(
            text.as_bytes(),
            &mut Vec::new(),
            Said::default(),
            &mut shown,
        );
        assert_eq!(shown.0, [expected]);
    }

    #[test]
    fn records_without_prefix() {
        check(
            "ERROR:  42P01: no\n\tline 2 at character 15\nDETAIL:  d\n\td2\nSTATEMENT:  select\n",
            r#"ERROR 42P01 "" "no\nline 2" "d\nd2" "select""#,
        );
        check(
            "sql_error_code = 28000 user=\"a b\" LOG:  x",
            r#"LOG 28000 "a b" "x" "" """#,
        );
        check(
            "FEHLER:  nein\nANWEISUNG:  select",
            "ERROR \0\0\0\0\0 \"\" \"nein\" \"\" \"select\"",
        );
    }

    #[test]
    fn markers_behind_any_prefix() {
        assert_eq!(
            marker(b"2026 [1] user=a ERROR:  x"),
            Some((Label::Severity(Severity::Error), 24))
        );
        assert_eq!(
            marker(b"p DETAIL:  x"),
            Some((Label::Part(Part::Detail), 11))
        );
        assert_eq!(
            marker("p REQUÊTE :  x".as_bytes()),
            Some((Label::Part(Part::Query), 14))
        );
        assert_eq!(marker(b"a:  b"), None);
    }
}
