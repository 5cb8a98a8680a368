//! The journal of systemd as `journalctl -o export` and `-o json` write it.

use std::borrow::Cow;

use memchr::{memchr, memmem};

use super::parts::{Assembly, Entries, Entry, Piece};
use super::syslog::{counter, is_server, source};
use super::walk::{Quoted, Value, Walk, unescape};
use super::{RECORD_BYTES_MAX, Remarks, Scanner, field, lines};
use crate::record::{Odd, Sink};

/// How entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Fields on lines, an empty line after each entry, and lengths before values that are no text.
    Export,
    /// An object on each line.
    Json,
}

/// Reads the server's entries in a journal; those of other programs are skipped.
pub struct Journald {
    form: Form,
    assembly: Assembly,
}

/// What of an entry's fields is used.
#[derive(Debug, Default)]
struct Fields<'a> {
    message: Cow<'a, [u8]>,
    identifier: Cow<'a, [u8]>,
    unit: Cow<'a, [u8]>,
    command: Cow<'a, [u8]>,
    host: Cow<'a, [u8]>,
    pid: u32,
    at: Option<i64>,
    /// When the program wrote it, which is before the journal took it.
    source_at: Option<i64>,
}

impl Journald {
    /// Reads records whose text `inner` understands; without it they have no `log_line_prefix`.
    pub fn new(form: Form, inner: Option<Box<dyn Scanner>>) -> Journald {
        Journald {
            form,
            assembly: Assembly::new(inner),
        }
    }
}

impl Scanner for Journald {
    fn sync(&self, bytes: &[u8]) -> Option<usize> {
        let begin: &[u8] = match self.form {
            Form::Export => b"__CURSOR=",
            Form::Json => b"{",
        };
        if bytes.starts_with(begin) {
            return Some(0);
        }
        let ending: &[u8] = match self.form {
            Form::Export => b"\n\n",
            Form::Json => b"\n",
        };
        let next = memmem::find(bytes, ending)? + ending.len();
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
        let form = self.form;
        self.assembly.scan(&form, bytes, base, until, end, sink)
    }

    fn splittable(&self) -> bool {
        false
    }

    fn remarks(&self) -> Remarks {
        self.assembly.remarks()
    }
}

impl Entries for Form {
    fn next<'b>(&self, bytes: &'b [u8], end: bool) -> Option<(usize, Entry<'b>)> {
        match self {
            Form::Export => next_export(bytes, end),
            Form::Json => {
                let line = lines::line(bytes, 0, end)?;
                let length = line.next.filter(|_| !line.cut).unwrap_or(line.text.len());
                Some((length, json_entry(line.text, line.cut)))
            }
        }
    }
}

impl<'a> Fields<'a> {
    fn put(&mut self, name: &[u8], value: Cow<'a, [u8]>) {
        let instant = || std::str::from_utf8(&value).ok()?.parse().ok();
        match name {
            b"MESSAGE" => self.message = value,
            b"SYSLOG_IDENTIFIER" => self.identifier = value,
            b"_SYSTEMD_UNIT" => self.unit = value,
            b"_COMM" => self.command = value,
            b"_HOSTNAME" => self.host = value,
            b"_PID" => self.pid = field::unsigned(&value),
            b"__REALTIME_TIMESTAMP" => self.at = instant(),
            b"_SOURCE_REALTIME_TIMESTAMP" => self.source_at = instant(),
            _ => {}
        }
    }

    fn entry(self) -> Entry<'a> {
        let is_server = [&self.identifier, &self.unit, &self.command]
            .iter()
            .any(|name| is_server(name));
        if self.message.is_empty() {
            return Entry::Nothing;
        }
        let (counter, text) = counter(&self.message);
        if counter.is_none() && !is_server {
            return Entry::Foreign;
        }
        let begin = self.message.len() - text.len();
        let text = match self.message {
            Cow::Borrowed(message) => Cow::Borrowed(&message[begin..]),
            Cow::Owned(mut message) => {
                message.drain(..begin);
                Cow::Owned(message)
            }
        };
        let program = if self.unit.is_empty() {
            self.identifier
        } else {
            self.unit
        };
        Entry::Piece(Piece {
            source: source(&self.host, &program),
            pid: self.pid,
            at: self.source_at.or(self.at),
            counter,
            text,
        })
    }
}

fn next_export(bytes: &[u8], end: bool) -> Option<(usize, Entry<'_>)> {
    let mut fields = Fields::default();
    let mut position = 0;
    let window = &bytes[..bytes.len().min(RECORD_BYTES_MAX)];
    let is_all = end && window.len() == bytes.len();
    loop {
        let rest = &window[position..];
        let Some(newline) = memchr(b'\n', rest) else {
            if is_all && position > 0 && rest.is_empty() {
                return Some((position, fields.entry()));
            }
            return broken(window, is_all);
        };
        let line = &rest[..newline];
        position += newline + 1;
        if line.is_empty() {
            return Some((position, fields.entry()));
        }
        if let Some(equals) = memchr(b'=', line) {
            fields.put(&line[..equals], Cow::Borrowed(&line[equals + 1..]));
            continue;
        }
        let is_name = |byte: &u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_');
        if !line.iter().all(is_name) {
            return Some((position, Entry::Odd(Odd::Malformed(&window[..position]))));
        }
        let Some(value) = binary(&window[position..]) else {
            return broken(window, is_all);
        };
        fields.put(line, Cow::Borrowed(value));
        position += 8 + value.len() + 1;
    }
}

/// Returns the value whose length in eight bytes, least first, is before it; a line end must follow.
fn binary(rest: &[u8]) -> Option<&[u8]> {
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let value = rest.get(..length)?;
    (rest.get(length) == Some(&b'\n')).then_some(value)
}

/// Handles an entry without end: nothing, until there are so many bytes that none will come.
fn broken(window: &[u8], is_all: bool) -> Option<(usize, Entry<'_>)> {
    let is_full = is_all || window.len() == RECORD_BYTES_MAX;
    if !is_full || window.is_empty() {
        return None;
    }
    let next = memmem::find(window, b"\n\n").map_or(window.len(), |found| found + 2);
    Some((next, Entry::Odd(Odd::Malformed(&window[..next]))))
}

fn json_entry(line: &[u8], cut: bool) -> Entry<'_> {
    if line.is_empty() {
        return Entry::Nothing;
    }
    json_fields(line, cut).map_or(Entry::Odd(Odd::Malformed(line)), Fields::entry)
}

fn json_fields(line: &[u8], cut: bool) -> Option<Fields<'_>> {
    let mut walk = if cut {
        Walk::cut_object(line)?
    } else {
        Walk::object(line)?
    };
    let mut fields = Fields::default();
    loop {
        match walk.key() {
            Some(Some(key)) => match walk.value() {
                Some(value) => fields.put(key, json_value(value)),
                None if cut => return Some(fields),
                None => return None,
            },
            Some(None) if walk.at_end() => return Some(fields),
            _ => return cut.then_some(fields),
        }
    }
}

/// Returns the bytes of a value: a string, a list of bytes, or the first of a list of strings.
fn json_value(value: Value<'_>) -> Cow<'_, [u8]> {
    let Value::Nested(list) = value else {
        let Quoted { text, escaped } = value.quoted();
        if !escaped {
            return Cow::Borrowed(text);
        }
        let mut output = Vec::with_capacity(text.len());
        unescape(text, &mut output);
        return Cow::Owned(output);
    };
    let inside = list.get(1..list.len() - 1).unwrap_or_default();
    if inside.trim_ascii_start().starts_with(b"\"") {
        let first = inside.trim_ascii_start();
        let text = first[1..].split(|byte| *byte == b'"').next();
        return Cow::Borrowed(text.unwrap_or_default());
    }
    let bytes = inside.split(|byte| *byte == b',');
    let byte = |text: &[u8]| u8::try_from(field::unsigned(text.trim_ascii())).ok();
    Cow::Owned(bytes.filter_map(byte).collect())
}
