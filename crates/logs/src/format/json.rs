//! jsonlog of PostgreSQL 15 and later: one object on each line, its keys in a fixed order, absent when empty.

use jiff::tz::TimeZone;
use memchr::memchr;

use super::lines::{self, Lines};
use super::walk::{Quoted, Walk, unescape};
use super::{Remarks, Scanner, field};
use crate::record::{Odd, Record, Sink};
use crate::time::Clock;

/// How the first key of a record looks; inside of a string its quotes would have backslashes.
const BEGINNING: &[u8] = b"{\"timestamp\":\"";

/// Reads jsonlog.
#[derive(Debug, Default)]
pub struct Json {
    /// Whether the rest of a cut line is being skipped.
    skipping: bool,
    /// Strings whose escapes were decoded.
    scratch: Vec<u8>,
    clock: Clock,
    /// Names whose line ends were made printable.
    names: Vec<u8>,
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

/// What a line says.
struct Members<'a, 's> {
    record: Record<'a>,
    at: Option<&'a [u8]>,
    severity: &'a [u8],
    function: Quoted<'a>,
    file: Quoted<'a>,
    file_line: &'a [u8],
    /// Decoded texts.
    scratch: &'s mut Vec<u8>,
    /// Which texts are decoded, and where they are.
    decoded: [(Text, u32, u32); TEXTS],
    decoded_count: usize,
}

impl Json {
    /// Returns a scanner; the zone tells what abbreviations of the log mean.
    pub fn new(zone: Option<TimeZone>) -> Json {
        Json {
            clock: Clock::new(zone),
            ..Json::default()
        }
    }

    /// Hands the record of a line over; false when it is none.
    fn line(&mut self, line: &[u8], cut: bool, offset: u64, sink: &mut dyn Sink) -> bool {
        self.scratch.clear();
        let mut members = Members::new(&mut self.scratch);
        if members.read(line, cut).is_none() {
            return false;
        }
        members.put_location();
        let Members {
            mut record,
            at,
            decoded,
            decoded_count,
            ..
        } = members;
        for (text, begin, end) in &decoded[..decoded_count] {
            *text.of(&mut record) = &self.scratch[*begin as usize..*end as usize];
        }
        record.at = at.and_then(|at| self.clock.instant(at));
        self.clock.keep();
        record.user = field::known(record.user);
        record.database = field::known(record.database);
        record.application = field::known(record.application);
        record.cut = cut;
        if field::breaks(&record) {
            field::print_names(&mut record, &mut self.names);
        }
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
            && Members::new(&mut self.scratch)
                .read(&line[found..], false)
                .is_some()
        {
            sink.odd(offset, Odd::Malformed(&line[..found]));
            self.line(&line[found..], false, offset + found as u64, sink);
        } else {
            sink.odd(offset, Odd::Malformed(line));
        }
    }
}

impl Lines for Json {
    fn take(&mut self, line: &[u8], cut: bool, offset: u64, sink: &mut dyn Sink) {
        if !self.line(line, cut, offset, sink) {
            self.odd_line(line, offset, sink);
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
        let mut skipping = self.skipping;
        let done = lines::scan(self, &mut skipping, bytes, base, until, end, sink);
        self.skipping = skipping;
        done
    }

    fn splittable(&self) -> bool {
        true
    }

    fn remarks(&self) -> Remarks {
        Remarks::zones(self.clock.zones())
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

impl<'a, 's> Members<'a, 's> {
    fn new(scratch: &'s mut Vec<u8>) -> Members<'a, 's> {
        Members {
            record: Record {
                lines: 1,
                sqlstate: field::SUCCESS,
                ..Record::default()
            },
            at: None,
            severity: b"",
            function: Quoted::default(),
            file: Quoted::default(),
            file_line: b"",
            scratch,
            decoded: [(Text::User, 0, 0); TEXTS],
            decoded_count: 0,
        }
    }

    /// Reads a line; none when it is no JSON or no record.
    fn read(&mut self, line: &'a [u8], cut: bool) -> Option<()> {
        let mut walk = if cut {
            Walk::cut_object(line)?
        } else {
            Walk::object(line)?
        };
        if !cut {
            self.ordered_session(&mut walk)?;
            self.ordered_error(&mut walk)?;
        }
        loop {
            match walk.key() {
                Some(Some(key)) => match walk.text() {
                    Some(text) => self.put(key, text),
                    None if cut => break,
                    None => return None,
                },
                Some(None) if walk.at_end() => break,
                None if cut => break,
                _ => return None,
            }
        }
        if self.at.is_none() || self.severity.is_empty() {
            return None;
        }
        self.record.severity = field::severity_of(self.severity, self.record.sqlstate);
        Some(())
    }

    /// Reads the first members, who wrote the record and when, as far as they come in the server's order: each has its own place in
    /// the code, so that the processor learns which are there and how long they are.
    #[inline(always)]
    fn ordered_session(&mut self, walk: &mut Walk<'a>) -> Option<()> {
        if walk.passes(b"\"timestamp\":\"") {
            self.at = Some(walk.passed_string()?.text);
        }
        if walk.passes(b"\"user\":\"") {
            self.put_text(Text::User, walk.passed_string()?);
        }
        if walk.passes(b"\"dbname\":\"") {
            self.put_text(Text::Database, walk.passed_string()?);
        }
        if walk.passes(b"\"pid\":") {
            self.record.pid = field::unsigned(walk.number()?);
        }
        if walk.passes(b"\"remote_host\":\"") {
            self.put_text(Text::Host, walk.passed_string()?);
        }
        if walk.passes(b"\"remote_port\":") {
            walk.number()?;
        }
        if walk.passes(b"\"session_id\":\"") {
            let id = walk.passed_string()?.text;
            self.record.session_started = field::session_started(id).unwrap_or(0);
        }
        if walk.passes(b"\"line_num\":") {
            self.record.line = field::unsigned(walk.number()?);
        }
        if walk.passes(b"\"ps\":\"") {
            walk.passed_string()?;
        }
        if walk.passes(b"\"session_start\":\"") {
            walk.passed_string()?;
        }
        if walk.passes(b"\"vxid\":\"") {
            walk.passed_string()?;
        }
        if walk.passes(b"\"txid\":") {
            walk.number()?;
        }
        Some(())
    }

    /// Reads the members after those, what was reported, in the same way; what comes in no order is left.
    #[inline(always)]
    fn ordered_error(&mut self, walk: &mut Walk<'a>) -> Option<()> {
        if walk.passes(b"\"error_severity\":\"") {
            self.severity = walk.passed_string()?.text;
        }
        if walk.passes(b"\"state_code\":\"") {
            self.record.sqlstate = field::sqlstate(walk.passed_string()?.text);
        }
        if walk.passes(b"\"message\":\"") {
            self.put_text(Text::Message, walk.passed_string()?);
        }
        if walk.passes(b"\"detail\":\"") {
            self.put_text(Text::Detail, walk.passed_string()?);
        }
        if walk.passes(b"\"context\":\"") {
            self.put_text(Text::Context, walk.passed_string()?);
        }
        if walk.passes(b"\"statement\":\"") {
            self.put_text(Text::Statement, walk.passed_string()?);
        }
        if walk.passes(b"\"application_name\":\"") {
            self.put_text(Text::Application, walk.passed_string()?);
        }
        if walk.passes(b"\"backend_type\":\"") {
            self.put_text(Text::Backend, walk.passed_string()?);
        }
        if walk.passes(b"\"leader_pid\":") {
            self.record.leader_pid = field::unsigned(walk.number()?);
        }
        if walk.passes(b"\"query_id\":") {
            self.record.query_id = field::signed(walk.number()?);
        }
        Some(())
    }

    fn put(&mut self, key: &[u8], quoted: Quoted<'a>) {
        let record = &mut self.record;
        let text = match key {
            b"timestamp" => {
                self.at = Some(quoted.text);
                return;
            }
            b"user" => Text::User,
            b"dbname" => Text::Database,
            b"pid" => return record.pid = field::unsigned(quoted.text),
            b"remote_host" => Text::Host,
            b"session_id" => {
                record.session_started = field::session_started(quoted.text).unwrap_or(0);
                return;
            }
            b"line_num" => return record.line = field::unsigned(quoted.text),
            b"error_severity" => return self.severity = quoted.text,
            b"state_code" => return record.sqlstate = field::sqlstate(quoted.text),
            b"message" => Text::Message,
            b"detail" => Text::Detail,
            b"hint" => Text::Hint,
            b"internal_query" => Text::InternalQuery,
            b"context" => Text::Context,
            b"statement" => Text::Statement,
            b"func_name" => return self.function = quoted,
            b"file_name" => return self.file = quoted,
            b"file_line_num" => return self.file_line = quoted.text,
            b"application_name" => Text::Application,
            b"backend_type" => Text::Backend,
            b"leader_pid" => return record.leader_pid = field::unsigned(quoted.text),
            b"query_id" => return record.query_id = field::signed(quoted.text),
            _ => return,
        };
        self.put_text(text, quoted);
    }

    #[inline(always)]
    fn put_text(&mut self, text: Text, quoted: Quoted<'a>) {
        if quoted.escaped {
            self.decode(text, quoted.text);
        } else {
            *text.of(&mut self.record) = quoted.text;
        }
    }

    fn decode(&mut self, text: Text, escaped: &[u8]) {
        let begin = self.scratch.len();
        unescape(escaped, self.scratch);
        self.decoded(text, begin);
    }

    /// Notes that a text was decoded, from `begin` of the scratch on.
    fn decoded(&mut self, text: Text, begin: usize) {
        if let Some(place) = self.decoded.get_mut(self.decoded_count) {
            // A line is not longer than RECORD_BYTES_MAX, and no escape grows.
            *place = (text, begin as u32, self.scratch.len() as u32);
            self.decoded_count += 1;
        }
    }

    /// Writes the location as csvlog does.
    fn put_location(&mut self) {
        if self.file.text.is_empty() {
            return;
        }
        let begin = self.scratch.len();
        if !self.function.text.is_empty() {
            unescape(self.function.text, self.scratch);
            self.scratch.extend_from_slice(b", ");
        }
        unescape(self.file.text, self.scratch);
        self.scratch.push(b':');
        self.scratch.extend_from_slice(self.file_line);
        self.decoded(Text::Location, begin);
    }
}
