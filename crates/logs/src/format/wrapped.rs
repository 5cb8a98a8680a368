//! Logs of cloud services that wrap the lines of the stderr format in JSON: Cloud SQL and Azure.

use std::borrow::Cow;

use memchr::memchr;

use super::cloudnative::is_json;
use super::plain::{self, Filled, Said};
use super::walk::{Quoted, Value, Walk, unescape};
use super::{Remarks, Scanner, lines};
use crate::language::words::Label;
use crate::record::{Odd, Record, Sink};

/// Unwrapped bytes that are handed on together.
const BATCH_BYTES: usize = 256 * 1024;

/// Lines that must tell where a record begins.
const SYNC_LINES: usize = 64;

/// Who wrapped the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Cloud SQL: `textPayload`.
    CloudSql,
    /// Azure: `properties.message`, or `message`.
    Azure,
}

/// Takes the wrapping off and gives the text to another scanner; lines that are no JSON are given as they are.
pub struct Wrapped {
    transport: Transport,
    inner: Box<dyn Scanner>,
    text: Vec<u8>,
    /// Position of the text's first byte among all that was unwrapped.
    text_base: u64,
    origins: Vec<Origin>,
    /// Bytes of the first line's text that are done.
    passed: usize,
    skipping: bool,
}

/// Where a line's text came from.
#[derive(Clone, Copy, Debug)]
struct Origin {
    /// Position of its text among all that was unwrapped.
    begin: u64,
    said: Said,
}

/// What a line holds.
enum Content<'a> {
    /// Text of the stderr format.
    Text(Cow<'a, [u8]>),
    /// A record whose fields the service took apart: severity, message, detail.
    Record(Vec<u8>),
    /// An entry of something else.
    Raw,
    Malformed,
}

/// Tells records of unwrapped text where they came from.
struct Located<'s> {
    origins: &'s [Origin],
    sink: &'s mut dyn Sink,
}

impl Located<'_> {
    fn said(&self, position: u64) -> Said {
        let after = self
            .origins
            .partition_point(|origin| origin.begin <= position);
        self.origins[after.saturating_sub(1)].said
    }
}

impl Sink for Located<'_> {
    fn record(&mut self, offset: u64, record: &Record<'_>) {
        let said = self.said(offset);
        Filled {
            said,
            sink: self.sink,
        }
        .record(0, record);
    }

    fn odd(&mut self, offset: u64, odd: Odd<'_>) {
        self.sink.odd(self.said(offset).offset, odd);
    }
}

impl Wrapped {
    /// Reads a log of a service, whose text `inner` understands.
    pub fn new(transport: Transport, inner: Box<dyn Scanner>) -> Wrapped {
        Wrapped {
            transport,
            inner,
            text: Vec::new(),
            text_base: 0,
            origins: Vec::new(),
            passed: 0,
            skipping: false,
        }
    }

    /// Lets the inner scanner take what there is; `until` counts from the beginning of the text.
    fn hand_on(&mut self, until: usize, end: bool, sink: &mut dyn Sink) {
        if self.text.is_empty() {
            return;
        }
        let mut located = Located {
            origins: &self.origins,
            sink,
        };
        let done = self
            .inner
            .scan(&self.text, self.text_base, until, end, &mut located);
        self.text.drain(..done);
        self.text_base += done as u64;
        let base = self.text_base;
        let gone = self.origins.partition_point(|origin| origin.begin <= base);
        self.origins.drain(..gone.saturating_sub(1));
    }

    /// Returns how much of the text is before the position `last`; all of it when there is none.
    fn left(&self, last: Option<u64>) -> usize {
        last.map_or(self.text.len(), |last| {
            let left = last.saturating_sub(self.text_base);
            usize::try_from(left).map_or(self.text.len(), |left| left.min(self.text.len()))
        })
    }

    /// Takes one line; what is no text of the stderr format ends the record before it.
    fn take(&mut self, line: &lines::Line<'_>, offset: u64, sink: &mut dyn Sink) {
        let (content, at) = unwrap(self.transport, line.text, line.cut);
        let said = Said {
            offset,
            at,
            pid: 0,
            cut: line.cut,
        };
        let odd = match content {
            Content::Text(text) => {
                let begin = self.text_base + self.text.len() as u64;
                self.origins.push(Origin { begin, said });
                append(&text, &mut self.text);
                if self.passed > 0 {
                    let passed = std::mem::take(&mut self.passed).min(self.text.len());
                    self.text.drain(..passed);
                    self.text_base += passed as u64;
                }
                return;
            }
            Content::Record(text) => {
                self.hand_on(self.text.len(), true, sink);
                self.origins.clear();
                plain::read(&text, &mut Vec::new(), said, sink);
                return;
            }
            Content::Raw => Odd::Raw(line.text),
            Content::Malformed => Odd::Malformed(line.text),
        };
        self.hand_on(self.text.len(), true, sink);
        self.origins.clear();
        sink.odd(offset, odd);
    }

    /// Returns where the first byte of text that is not done came from, and remembers how much of its line is done.
    fn pending(&mut self, base: u64) -> Option<usize> {
        let first = self.origins.first().filter(|_| !self.text.is_empty())?;
        self.passed = usize::try_from(self.text_base - first.begin).ok()?;
        usize::try_from(first.said.offset - base).ok()
    }
}

impl Scanner for Wrapped {
    fn sync(&self, bytes: &[u8]) -> Option<usize> {
        let first = lines::line(bytes, 0, true)?;
        let mut position = if is_json(first.text) { 0 } else { first.next? };
        let mut text = Vec::new();
        let mut begins = Vec::new();
        let mut ending = None;
        let fallback = (position < bytes.len()).then_some(position);
        for _ in 0..SYNC_LINES {
            if position >= bytes.len() {
                break;
            }
            let Some(line) = lines::line(bytes, position, true) else {
                break;
            };
            let (Content::Text(inner), _) = unwrap(self.transport, line.text, line.cut) else {
                // Nothing goes on behind what is no text.
                ending = Some(position);
                break;
            };
            begins.push((text.len(), position));
            append(&inner, &mut text);
            let Some(next) = line.next else { break };
            position = next;
        }
        let synced = self.inner.sync(&text);
        let found = begins.iter().find(|(begin, _)| Some(*begin) >= synced);
        match (synced, found) {
            (Some(_), Some((_, position))) => Some(*position),
            _ => ending.or(fallback),
        }
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
        self.text.clear();
        self.origins.clear();
        // Where the unwrapped text ends of the lines that begin before `until`.
        let mut last: Option<u64> = None;
        loop {
            if position >= until {
                last = last.or(Some(self.text_base + self.text.len() as u64));
                let left = self.left(last);
                self.hand_on(left, false, sink);
                if self.left(last) == 0 {
                    break;
                }
            }
            let Some(line) = lines::line(bytes, position, end) else {
                break;
            };
            if position >= until && !is_text(self.transport, &line) {
                self.hand_on(self.text.len(), true, sink);
                break;
            }
            self.take(&line, base + position as u64, sink);
            if line.cut {
                // The end of the record is missing, so that nothing can go on with it.
                let left = self.left(last);
                self.hand_on(left, true, sink);
            }
            let Some(next) = line.next else {
                self.skipping = true;
                position = bytes.len();
                break;
            };
            position = next;
            if self.text.len() >= BATCH_BYTES && position < until {
                self.hand_on(self.text.len(), false, sink);
            }
        }
        let is_last = end && position >= bytes.len();
        let left = self.left(last);
        self.hand_on(left, is_last, sink);
        self.pending(base).unwrap_or(position)
    }

    fn splittable(&self) -> bool {
        self.inner.splittable()
    }

    fn remarks(&self) -> Remarks {
        self.inner.remarks()
    }
}

fn is_text(transport: Transport, line: &lines::Line<'_>) -> bool {
    matches!(unwrap(transport, line.text, line.cut).0, Content::Text(_))
}

/// Appends the text of one entry; its further lines go on with the first, whether or not the service kept their tab.
fn append(text: &[u8], output: &mut Vec<u8>) {
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if index > 0 {
            output.push(b'\n');
            if !line.is_empty() && !line.starts_with(b"\t") && plain::marker(line).is_none() {
                output.push(b'\t');
            }
        }
        output.extend_from_slice(line);
    }
    if output.last() != Some(&b'\n') {
        output.push(b'\n');
    }
}

/// Takes the bracket before the first and the comma after each object off, since downloads are lists.
fn without_list(line: &[u8]) -> &[u8] {
    let trimmed = line.trim_ascii();
    let trimmed = trimmed.strip_prefix(b"[").unwrap_or(trimmed);
    if !trimmed.starts_with(b"{") {
        return line;
    }
    let trimmed = trimmed.strip_suffix(b"]").unwrap_or(trimmed);
    trimmed.strip_suffix(b",").unwrap_or(trimmed)
}

/// Returns what a line holds, and the time that its wrapping says.
fn unwrap(transport: Transport, line: &[u8], cut: bool) -> (Content<'_>, Option<i64>) {
    let line = without_list(line);
    if !line.starts_with(b"{") {
        return if memchr(0, line).is_some() {
            (Content::Malformed, None)
        } else {
            (Content::Text(Cow::Borrowed(line)), None)
        };
    }
    let mut wrapping = Wrapping::default();
    if wrapping.read(line, cut, 0).is_none() {
        return (Content::Malformed, None);
    }
    let content = match transport {
        Transport::CloudSql => wrapping.payload.map(|text| Content::Text(decoded(text))),
        Transport::Azure => wrapping.azure(),
    };
    (content.unwrap_or(Content::Raw), wrapping.at)
}

/// Members of the wrapping that are used.
#[derive(Debug, Default)]
struct Wrapping<'a> {
    payload: Option<Quoted<'a>>,
    message: Option<Quoted<'a>>,
    detail: Option<Quoted<'a>>,
    prefix: Option<Quoted<'a>>,
    level: &'a [u8],
    sqlstate: &'a [u8],
    at: Option<i64>,
}

impl<'a> Wrapping<'a> {
    fn read(&mut self, text: &'a [u8], cut: bool, depth: usize) -> Option<()> {
        let mut walk = if cut {
            Walk::cut_object(text)?
        } else {
            Walk::object(text)?
        };
        loop {
            let Some(Some(key)) = walk.key() else {
                return Some(());
            };
            let begin = walk.position();
            let Some(value) = walk.value() else {
                if cut && key == b"properties" && depth == 0 {
                    self.read(&text[begin..], cut, 1)?;
                }
                return cut.then_some(());
            };
            let quoted = value.quoted();
            match key {
                b"properties" if depth == 0 => {
                    if let Value::Nested(properties) = value {
                        self.read(properties, false, 1)?;
                    }
                }
                b"textPayload" => self.payload = Some(quoted),
                b"message" | b"Message" => self.message = Some(quoted),
                b"detail" if !quoted.text.is_empty() => self.detail = Some(quoted),
                b"prefix" if !quoted.text.is_empty() => self.prefix = Some(quoted),
                b"errorLevel" | b"ErrorLevel" => self.level = quoted.text,
                b"sqlerrcode" | b"Sqlerrcode" => self.sqlstate = quoted.text,
                b"timestamp" | b"time" | b"TimeGenerated" => {
                    self.at = crate::time::sure_instant(quoted.text).or(self.at);
                }
                _ => {}
            }
        }
    }

    /// Returns the record of an entry of Azure: the whole line, or the line that its parts once were.
    fn azure(&self) -> Option<Content<'a>> {
        let message = decoded(self.message?);
        let is_line = matches!(plain::marker(&message), Some((Label::Severity(_), _)));
        if is_line || self.level.is_empty() {
            return Some(Content::Text(message));
        }
        let prefix = self.prefix.map(decoded).unwrap_or_default();
        let mut text = prefix.to_vec();
        text.extend_from_slice(self.level);
        text.extend_from_slice(b":  ");
        if prefix.is_empty() && self.sqlstate.len() == 5 {
            text.extend_from_slice(self.sqlstate);
            text.extend_from_slice(b": ");
        }
        put_lines(&message, &mut text);
        if let Some(detail) = self.detail {
            text.push(b'\n');
            text.extend_from_slice(&prefix);
            text.extend_from_slice(b"DETAIL:  ");
            put_lines(&decoded(detail), &mut text);
        }
        Some(if prefix.is_empty() {
            Content::Record(text)
        } else {
            Content::Text(Cow::Owned(text))
        })
    }
}

/// Writes a text as the server does: a tab at the beginning of each further line.
fn put_lines(text: &[u8], output: &mut Vec<u8>) {
    for byte in text {
        output.push(*byte);
        if *byte == b'\n' {
            output.push(b'\t');
        }
    }
}

fn decoded(quoted: Quoted<'_>) -> Cow<'_, [u8]> {
    if !quoted.escaped {
        return Cow::Borrowed(quoted.text);
    }
    let mut output = Vec::with_capacity(quoted.text.len());
    unescape(quoted.text, &mut output);
    Cow::Owned(output)
}
