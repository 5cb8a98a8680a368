//! CloudNativePG: an object on each line, whose `record` has the columns of csvlog as strings.

use std::borrow::Cow;

use jiff::tz::TimeZone;
use memchr::memchr;

use super::lines::{self, Lines};
use super::walk::{Quoted, Value, Walk, unescape};
use super::{Remarks, Scanner, field};
use crate::record::{Odd, Record, Sink};
use crate::time::Clock;

/// Reads the pods' logs; lines of other loggers than the server are told as raw lines.
#[derive(Debug, Default)]
pub struct CloudNativePg {
    skipping: bool,
    scratch: Vec<u8>,
    clock: Clock,
}

/// Texts of a record, as positions of their column.
const TEXTS: [&[u8]; 13] = [
    b"message",
    b"detail",
    b"hint",
    b"context",
    b"query",
    b"internal_query",
    b"location",
    b"user_name",
    b"database_name",
    b"application_name",
    b"connection_from",
    b"backend_type",
    b"error_severity",
];

/// Fields of an audit record in the order of pgaudit's message.
const AUDIT: [&[u8]; 9] = [
    b"audit_type",
    b"statement_id",
    b"substatement_id",
    b"class",
    b"command",
    b"object_type",
    b"object_name",
    b"statement",
    b"parameter",
];

impl CloudNativePg {
    /// Returns a scanner; the zone tells what abbreviations of the log mean.
    pub fn new(zone: Option<TimeZone>) -> CloudNativePg {
        CloudNativePg {
            clock: Clock::new(zone),
            ..CloudNativePg::default()
        }
    }

    /// Hands the record of a line over; none when it is none.
    fn line(&mut self, line: &[u8], cut: bool, offset: u64, sink: &mut dyn Sink) -> Option<()> {
        let object = members(line, cut, |key| key == b"record")?;
        let mut record = Record {
            lines: 1,
            sqlstate: field::SUCCESS,
            cut,
            ..Record::default()
        };
        let mut places = [(0, 0); TEXTS.len()];
        let scratch = &mut self.scratch;
        scratch.clear();
        let mut audit = None;
        let mut walk = open(object, cut)?;
        while let Some(Some(key)) = walk.key() {
            let Some(value) = walk.value() else { break };
            if let (b"audit", Value::Nested(object)) = (key, value) {
                audit = Some(object);
            }
            let quoted = value.quoted();
            if let Some(text) = TEXTS.iter().position(|name| *name == key) {
                let begin = scratch.len();
                unescape(quoted.text, scratch);
                places[text] = (begin, scratch.len());
            } else {
                put(key, quoted, &mut self.clock, &mut record);
            }
        }
        if let Some(audit) = audit {
            let begin = scratch.len();
            put_audit(audit, scratch);
            places[0] = (begin, scratch.len());
        }
        let text = |index: usize| &scratch[places[index].0..places[index].1];
        if record.at.is_none() || text(12).is_empty() {
            return None;
        }
        let record = Record {
            message: text(0),
            detail: text(1),
            hint: text(2),
            context: text(3),
            statement: text(4),
            internal_query: text(5),
            location: text(6),
            user: field::known(text(7)),
            database: field::known(text(8)),
            application: field::known(text(9)),
            host: field::host(text(10)),
            backend: text(11),
            severity: field::severity_of(text(12), record.sqlstate),
            ..record
        };
        self.clock.keep();
        sink.record(offset, &record);
        Some(())
    }
}

impl Lines for CloudNativePg {
    fn take(&mut self, line: &[u8], cut: bool, offset: u64, sink: &mut dyn Sink) {
        if line.is_empty() || self.line(line, cut, offset, sink).is_some() {
            return;
        }
        let is_text = line[0] != b'{' && memchr(0, line).is_none();
        let odd = if is_text || is_json(line) {
            Odd::Raw(line)
        } else {
            Odd::Malformed(line)
        };
        sink.odd(offset, odd);
    }
}

impl Scanner for CloudNativePg {
    fn sync(&self, bytes: &[u8]) -> Option<usize> {
        if let Some(line) = lines::line(bytes, 0, true)
            && is_json(line.text)
        {
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

fn open(text: &[u8], cut: bool) -> Option<Walk<'_>> {
    if cut {
        Walk::cut_object(text)
    } else {
        Walk::object(text)
    }
}

/// Tells whether a line is one whole object.
pub(crate) fn is_json(line: &[u8]) -> bool {
    let Some(mut walk) = Walk::object(line) else {
        return false;
    };
    loop {
        match walk.key() {
            Some(Some(_)) if walk.value().is_some() => {}
            Some(None) => return walk.at_end(),
            _ => return false,
        }
    }
}

/// Returns the first nested value whose key is wanted; in a cut line what there is of it.
fn members(line: &[u8], cut: bool, wanted: impl Fn(&[u8]) -> bool) -> Option<&[u8]> {
    let mut walk = open(line, cut)?;
    while let Some(Some(key)) = walk.key() {
        let begin = walk.position();
        match walk.value() {
            Some(Value::Nested(object)) if wanted(key) => return Some(object),
            Some(_) => {}
            None => return (cut && wanted(key)).then(|| &line[begin..]),
        }
    }
    None
}

fn put(key: &[u8], value: Quoted<'_>, clock: &mut Clock, record: &mut Record<'_>) {
    let text = value.text;
    match key {
        b"log_time" => record.at = clock.instant(text),
        b"process_id" => record.pid = field::unsigned(text),
        b"session_id" => record.session_started = field::session_started(text).unwrap_or(0),
        b"session_line_num" => record.line = field::unsigned(text),
        b"sql_state_code" => record.sqlstate = field::sqlstate(text),
        b"leader_pid" => record.leader_pid = field::unsigned(text),
        b"query_id" => record.query_id = field::signed(text),
        _ => {}
    }
}

/// Writes an audit record as pgaudit's message, which the operator took apart.
fn put_audit(audit: &[u8], output: &mut Vec<u8>) {
    let mut values: [Cow<'_, [u8]>; AUDIT.len()] = Default::default();
    let Some(mut walk) = Walk::object(audit) else {
        return;
    };
    while let Some(Some(key)) = walk.key() {
        let Some(value) = walk.value() else { break };
        if let Some(index) = AUDIT.iter().position(|name| *name == key) {
            let mut text = Vec::new();
            unescape(value.quoted().text, &mut text);
            values[index] = Cow::Owned(text);
        }
    }
    output.extend_from_slice(b"AUDIT: ");
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            output.push(b',');
        }
        if value.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n')) {
            output.push(b'"');
            for byte in value.iter() {
                if *byte == b'"' {
                    output.push(b'"');
                }
                output.push(*byte);
            }
            output.push(b'"');
        } else {
            output.extend_from_slice(value);
        }
    }
}
