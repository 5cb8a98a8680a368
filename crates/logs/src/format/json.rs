//! jsonlog of PostgreSQL 15 and later: one object on each line, its keys in a fixed order, absent when empty.

use memchr::memchr;

use super::walk::{Quoted, Value, Walk, unescape};
use super::{RECORD_BYTES_MAX, Scanner, field, stamp};
use crate::record::{Odd, Record, Sink};

/// How the first key of a record looks; inside of a string its quotes would have backslashes.
const BEGINNING: &[u8] = b"{\"timestamp\":\"";

/// Reads jsonlog.
#[derive(Debug, Default)]
pub struct Json {
    /// Whether the rest of a cut line is being skipped.
    skipping: bool,
    /// Strings whose escapes were decoded.
    scratch: Vec<u8>,
}

/// Texts of a record that may have escapes.
#[derive(Clone, Copy, Debug)]
enum Text {
    User,
    Database,
    Application,
    Host,
    Backend,
    Message,
    Detail,
    Hint,
    Context,
    Statement,
    InternalQuery,
    Location,
}

const TEXTS: usize = 12;

/// What a line says, before escapes are decoded.
#[derive(Debug, Default)]
struct Members<'a> {
    record: Record<'a>,
    has_time: bool,
    severity: &'a [u8],
    function: Quoted<'a>,
    file: Quoted<'a>,
    file_line: &'a [u8],
    escaped: [Option<(Text, &'a [u8])>; TEXTS],
    escaped_count: usize,
}

impl Json {
    /// Hands the record of a line over; false when it is none.
    fn line(&mut self, line: &[u8], cut: bool, offset: u64, sink: &mut dyn Sink) -> bool {
        let Some(mut members) = Members::read(line, cut) else {
            return false;
        };
        let scratch = &mut self.scratch;
        scratch.clear();
        let mut bounds = [(Text::User, 0, 0); TEXTS];
        let mut count = 0;
        for (text, escaped) in members.escaped.iter().flatten() {
            let begin = scratch.len();
            unescape(escaped, scratch);
            bounds[count] = (*text, begin, scratch.len());
            count += 1;
        }
        if members.has_location() && count < TEXTS {
            let begin = scratch.len();
            members.put_location(scratch);
            bounds[count] = (Text::Location, begin, scratch.len());
            count += 1;
        }
        let mut record = members.record.clone();
        for (text, begin, end) in &bounds[..count] {
            *text.of(&mut record) = &self.scratch[*begin..*end];
        }
        for text in [Text::User, Text::Database, Text::Application] {
            let text = text.of(&mut record);
            *text = field::known(text);
        }
        record.cut = cut;
        sink.record(offset, &record);
        true
    }

    /// Hands a line over that is no record, with the record that may begin in its middle because the line before was torn.
    fn odd_line(&mut self, line: &[u8], offset: u64, sink: &mut dyn Sink) {
        if line.is_empty() {
            return;
        }
        if line[0] != b'{' && !line.contains(&0) {
            sink.odd(offset, Odd::Raw(line));
            return;
        }
        let beginning = memchr::memmem::rfind(line, BEGINNING).filter(|found| *found > 0);
        if let Some(found) = beginning
            && Members::read(&line[found..], false).is_some()
        {
            sink.odd(offset, Odd::Malformed(&line[..found]));
            self.line(&line[found..], false, offset + found as u64, sink);
        } else {
            sink.odd(offset, Odd::Malformed(line));
        }
    }
}

impl Scanner for Json {
    fn sync(&self, bytes: &[u8]) -> Option<usize> {
        if bytes.starts_with(BEGINNING) {
            return Some(0);
        }
        let next = memchr(b'\n', bytes)? + 1;
        (next < bytes.len()).then_some(next)
    }

    fn scan(
        &mut self,
        bytes: &[u8],
        base: u64,
        until: usize,
        end: bool,
        sink: &mut dyn Sink,
    ) -> usize {
        let mut position = 0;
        if self.skipping {
            let Some(newline) = memchr(b'\n', bytes) else {
                return bytes.len();
            };
            self.skipping = false;
            position = newline + 1;
        }
        while position < until {
            let window = &bytes[position..bytes.len().min(position + RECORD_BYTES_MAX)];
            let offset = base + position as u64;
            let Some(newline) = memchr(b'\n', window) else {
                if window.len() == RECORD_BYTES_MAX {
                    if !self.line(window, true, offset, sink) {
                        sink.odd(offset, Odd::Malformed(window));
                    }
                    let Some(newline) = memchr(b'\n', &bytes[position + window.len()..]) else {
                        self.skipping = true;
                        return bytes.len();
                    };
                    position += window.len() + newline + 1;
                    continue;
                }
                if end {
                    if !self.line(window, false, offset, sink) {
                        self.odd_line(window, offset, sink);
                    }
                    return bytes.len();
                }
                return position;
            };
            let line = &window[..newline];
            if !self.line(line, false, offset, sink) {
                self.odd_line(line.strip_suffix(b"\r").unwrap_or(line), offset, sink);
            }
            position += newline + 1;
        }
        position
    }

    fn splittable(&self) -> bool {
        true
    }
}

impl Text {
    fn of<'r, 'a>(self, record: &'r mut Record<'a>) -> &'r mut &'a [u8] {
        match self {
            Text::User => &mut record.user,
            Text::Database => &mut record.database,
            Text::Application => &mut record.application,
            Text::Host => &mut record.host,
            Text::Backend => &mut record.backend,
            Text::Message => &mut record.message,
            Text::Detail => &mut record.detail,
            Text::Hint => &mut record.hint,
            Text::Context => &mut record.context,
            Text::Statement => &mut record.statement,
            Text::InternalQuery => &mut record.internal_query,
            Text::Location => &mut record.location,
        }
    }
}

impl<'a> Members<'a> {
    /// Reads a line; none when it is no JSON or no record.
    fn read(line: &'a [u8], cut: bool) -> Option<Members<'a>> {
        let mut walk = if cut {
            Walk::cut_object(line)?
        } else {
            Walk::object(line)?
        };
        let mut members = Members::default();
        members.record.lines = 1;
        members.record.sqlstate = field::SUCCESS;
        loop {
            match walk.key() {
                Some(Some(key)) => match walk.value() {
                    Some(value) => members.put(key, value),
                    None if cut => break,
                    None => return None,
                },
                Some(None) if walk.at_end() => break,
                None if cut => break,
                _ => return None,
            }
        }
        if !members.has_time || members.severity.is_empty() {
            return None;
        }
        members.record.severity = field::severity_of(members.severity, members.record.sqlstate);
        Some(members)
    }

    #[inline]
    fn put(&mut self, key: &[u8], value: Value<'a>) {
        let text = match key {
            b"timestamp" => {
                self.record.at = stamp::micros(value.quoted().text);
                self.has_time = true;
                return;
            }
            b"user" => Text::User,
            b"dbname" => Text::Database,
            b"pid" => return self.record.pid = field::unsigned(value.quoted().text),
            b"remote_host" => Text::Host,
            b"session_id" => {
                let started = field::session_started(value.quoted().text);
                self.record.session_started = started.unwrap_or(0);
                return;
            }
            b"line_num" => return self.record.line = field::unsigned(value.quoted().text),
            b"error_severity" => return self.severity = value.quoted().text,
            b"state_code" => return self.record.sqlstate = field::sqlstate(value.quoted().text),
            b"message" => Text::Message,
            b"detail" => Text::Detail,
            b"hint" => Text::Hint,
            b"internal_query" => Text::InternalQuery,
            b"context" => Text::Context,
            b"statement" => Text::Statement,
            b"func_name" => return self.function = value.quoted(),
            b"file_name" => return self.file = value.quoted(),
            b"file_line_num" => return self.file_line = value.quoted().text,
            b"application_name" => Text::Application,
            b"backend_type" => Text::Backend,
            b"leader_pid" => return self.record.leader_pid = field::unsigned(value.quoted().text),
            b"query_id" => return self.record.query_id = field::signed(value.quoted().text),
            _ => return,
        };
        let quoted = value.quoted();
        if !quoted.escaped {
            *text.of(&mut self.record) = quoted.text;
        } else if let Some(place) = self.escaped.get_mut(self.escaped_count) {
            *place = Some((text, quoted.text));
            self.escaped_count += 1;
        }
    }

    fn has_location(&self) -> bool {
        !self.file.text.is_empty()
    }

    /// Writes the location as csvlog does.
    fn put_location(&mut self, output: &mut Vec<u8>) {
        if !self.function.text.is_empty() {
            unescape(self.function.text, output);
            output.extend_from_slice(b", ");
        }
        unescape(self.file.text, output);
        output.push(b':');
        output.extend_from_slice(self.file_line);
    }
}
