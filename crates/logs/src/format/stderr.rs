//! The server's `stderr` format: a prefix and a label on each line of a record, and a tab before each further line of a text.
//!
//! Lines without a prefix are no record. A name with a line end in it (see `prefix`) is put together again; what it pretended to be is
//! never a record.

use jiff::tz::TimeZone;
use memchr::memchr;

use super::{RECORD_BYTES_MAX, Remarks, Scanner, field};
use crate::language::words::{Label, Part};
use crate::prefix::{
    Fields, HEAD_BYTES_MAX, JOIN_BYTES_MAX, Prefix, Prefixes, Reading, is_sqlstate,
};
use crate::record::{Odd, Origin, Record, Sink};
use crate::severity::Severity;
use crate::time::Clock;

/// Most bytes of a record that are kept: enough less than the caller's that the line after it can always be told.
const KEEP_BYTES: usize = RECORD_BYTES_MAX - HEAD_BYTES_MAX;
/// How many bytes of a line without prefix are looked at for what no text has.
const TEXT_SAMPLE_BYTES: usize = 256;
/// Texts of a record: its message and its other parts.
const TEXTS: usize = Part::COUNT + 1;
const MESSAGE: usize = 0;

/// How a log in the `stderr` format is read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The server's `log_timezone`, which tells what its abbreviations mean.
    pub zone: Option<TimeZone>,
}

/// Reads the `stderr` format.
#[derive(Debug)]
pub struct Stderr {
    prefixes: Prefixes,
    clock: Clock,
    skipping: Skipping,
    /// Texts without their tabs, of one record.
    scratch: Vec<u8>,
    /// Names without line ends, of one record.
    names: Vec<u8>,
}

/// What is left of a record that was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skipping {
    Nothing,
    /// The bytes before the next line end.
    Line,
    /// Lines that belong to it, at the beginning of one.
    Lines,
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: usize,
    end: usize,
    /// It has more than one line.
    lines: bool,
}

/// A record whose end was not seen yet.
struct Open<'t> {
    start: usize,
    end: usize,
    fields: Fields<'t>,
    severity: Severity,
    texts: [Span; TEXTS],
    /// The text that a line with a tab continues.
    current: usize,
    lines: u32,
    /// The whole is no record.
    false_record: bool,
    /// Lines that only pretended to be one.
    forged: Vec<(usize, usize)>,
}

/// One line, and what it is.
struct Line {
    start: usize,
    /// Without its line end.
    end: usize,
    /// Where the next one begins.
    next: usize,
    /// It ends with the bytes, and more of it may follow.
    unfinished: bool,
    what: What,
    /// What in it pretends to be a record.
    forged: Option<(usize, usize)>,
}

#[derive(Clone, Copy)]
enum What {
    Primary(Severity),
    Part(Part),
    Continuation,
    Raw,
}

/// What to do after a line.
enum Step {
    Next(usize),
    Return(usize),
}

/// The bytes of one scan.
struct Piece<'t, 's> {
    bytes: &'t [u8],
    base: u64,
    until: usize,
    end: bool,
    sink: &'s mut dyn Sink,
}

impl Stderr {
    /// Returns a scanner for logs with these prefixes; with none, every line is no record.
    pub fn new(prefixes: impl IntoIterator<Item = Prefix>, options: Options) -> Stderr {
        Stderr {
            prefixes: Prefixes::new(prefixes),
            clock: Clock::new(options.zone),
            skipping: Skipping::Nothing,
            scratch: Vec::new(),
            names: Vec::new(),
        }
    }

    /// Returns the line at a position and what it is; none when more bytes are needed to tell.
    #[inline]
    fn line<'t>(
        &mut self,
        bytes: &'t [u8],
        start: usize,
        end: bool,
        fields: &mut Fields<'t>,
    ) -> Option<Line> {
        let rest = &bytes[start..];
        let line_end = memchr(b'\n', rest);
        let mut line = Line {
            start,
            end: line_end.map_or(bytes.len(), |length| start + length),
            next: line_end.map_or(bytes.len(), |length| start + length + 1),
            unfinished: line_end.is_none() && !end,
            what: What::Raw,
            forged: None,
        };
        if rest.first() == Some(&b'\t') {
            line.what = What::Continuation;
            return Some(line);
        }
        if line.unfinished && rest.len() < HEAD_BYTES_MAX {
            return None;
        }
        let text = &bytes[start..line.end];
        match self.prefixes.read(text, &mut self.clock, fields) {
            Reading::Whole => {
                line.what = what(fields);
                if !matches!(line.what, What::Raw) {
                    self.clock.keep();
                }
                if fields.forged {
                    line.forged = Some((start, line.end));
                }
            }
            Reading::Cut => {
                if rest.len() < JOIN_BYTES_MAX && !end {
                    return None;
                }
                self.join(bytes, &mut line, end, fields);
            }
            Reading::None => {}
        }
        Some(line)
    }

    /// Joins a line that ends inside of a name with what follows, when both together are a record.
    #[cold]
    fn join<'t>(&mut self, bytes: &'t [u8], line: &mut Line, end: bool, fields: &mut Fields<'t>) {
        let joined = self
            .prefixes
            .read_joined(&bytes[line.start..], &mut self.clock);
        let Some(joined) = joined else { return };
        *fields = joined;
        let forged = line.next;
        let text_at = line.start + fields.text_at;
        let line_end = memchr(b'\n', &bytes[text_at..]);
        line.end = line_end.map_or(bytes.len(), |length| text_at + length);
        line.next = line_end.map_or(bytes.len(), |length| text_at + length + 1);
        line.unfinished = line_end.is_none() && !end;
        line.what = what(fields);
        line.forged = Some((forged, line.end));
    }

    /// Leaves out what is left of a record that was cut; returns where the next one begins, or none when it may go on.
    fn skip(&mut self, bytes: &[u8], mut at: usize, end: bool) -> Result<usize, usize> {
        let mut fields = Fields::default();
        loop {
            if self.skipping == Skipping::Line {
                let Some(length) = memchr(b'\n', &bytes[at..]) else {
                    return Err(bytes.len());
                };
                at += length + 1;
                self.skipping = Skipping::Lines;
            }
            if at == bytes.len() {
                return Err(at);
            }
            let Some(line) = self.line(bytes, at, end, &mut fields) else {
                return Err(at);
            };
            if !matches!(line.what, What::Continuation | What::Part(..)) {
                self.skipping = Skipping::Nothing;
                return Ok(at);
            }
            self.skipping = Skipping::Line;
        }
    }

    /// Takes one line; `open` is the record that it may belong to.
    fn take<'t>(
        &mut self,
        piece: &mut Piece<'t, '_>,
        open: &mut Option<Open<'t>>,
        line: Line,
        fields: &Fields<'t>,
    ) -> Step {
        let starts = match line.what {
            What::Continuation => false,
            What::Part(part) => {
                let belongs = |open: &mut Open<'_>| open.add(fields, part, &line);
                if !open.as_mut().is_some_and(belongs) {
                    self.close(piece, open);
                    return self.take_raw(piece, &line);
                }
                false
            }
            What::Primary(..) | What::Raw => true,
        };
        if starts {
            self.close(piece, open);
            if line.start >= piece.until {
                return Step::Return(line.start);
            }
        }
        match line.what {
            What::Primary(severity) => *open = Some(Open::new(fields, severity, &line)),
            What::Raw => return self.take_raw(piece, &line),
            What::Continuation => match open {
                Some(open) => open.extend(&line),
                None => return self.take_raw(piece, &line),
            },
            What::Part(..) => {}
        }
        let Some(record) = open else {
            return Step::Next(line.next);
        };
        if line.end - record.start > KEEP_BYTES {
            let kept = record.start + KEEP_BYTES;
            record.cut_at(kept);
            self.emit(piece, record, true);
            *open = None;
            self.skipping = Skipping::Line;
            return self.skip_on(piece, kept);
        }
        if line.unfinished {
            Step::Return(record.start)
        } else {
            Step::Next(line.next)
        }
    }

    fn take_raw(&mut self, piece: &mut Piece<'_, '_>, line: &Line) -> Step {
        let nothing = piece.bytes[line.start..].iter();
        let nothing = nothing.take(KEEP_BYTES).take_while(|byte| **byte == 0);
        let nothing = nothing.count();
        if nothing > 0 {
            // What a file system leaves of a crash, or a truncation under a writer: a record may follow on the same line.
            let end = line.start + nothing;
            if end == piece.bytes.len() && nothing < KEEP_BYTES && !piece.end {
                return Step::Return(line.start);
            }
            let odd = Odd::Malformed(&piece.bytes[line.start..end]);
            piece.sink.odd(piece.base + line.start as u64, odd);
            return Step::Next(end);
        }
        if line.end - line.start > KEEP_BYTES {
            let kept = line.start + KEEP_BYTES;
            tell_raw(piece, line.start, kept);
            self.skipping = Skipping::Line;
            return self.skip_on(piece, kept);
        }
        raw(piece, line)
    }

    fn skip_on(&mut self, piece: &Piece<'_, '_>, at: usize) -> Step {
        match self.skip(piece.bytes, at, piece.end) {
            Ok(at) => Step::Next(at),
            Err(at) => Step::Return(at),
        }
    }

    fn close(&mut self, piece: &mut Piece<'_, '_>, open: &mut Option<Open<'_>>) {
        // Not taken out first: an open record is large, and a copy for each would cost.
        if let Some(record) = open {
            self.emit(piece, record, false);
        }
        *open = None;
    }

    /// Hands a record to the sink, and after it what in it was forged.
    fn emit(&mut self, piece: &mut Piece<'_, '_>, open: &Open<'_>, cut: bool) {
        let bytes = piece.bytes;
        if open.false_record {
            let line = &open.texts[MESSAGE];
            let odd = Odd::Forged(&bytes[open.start..line.end]);
            piece.sink.odd(piece.base + open.start as u64, odd);
            return;
        }
        let carriage = ends_with_carriage(bytes, open);
        self.scratch.clear();
        let mut decoded = [None; TEXTS];
        for (text, decoded) in open.texts.iter().zip(&mut decoded) {
            if text.lines || carriage {
                let start = self.scratch.len();
                decode(&bytes[text.start..text.end], carriage, &mut self.scratch);
                *decoded = Some((start, self.scratch.len()));
            }
        }
        let text = |index: usize| match decoded[index] {
            Some((start, end)) => &self.scratch[start..end],
            None => &bytes[open.texts[index].start..open.texts[index].end],
        };
        let part = |part: Part| text(part as usize + 1);
        let fields = &open.fields;
        let mut record = Record {
            at: fields.at,
            pid: fields.pid,
            session_started: fields.session_started,
            line: fields.line,
            lines: open.lines,
            severity: open.severity,
            sqlstate: fields.sqlstate,
            query_id: fields.query_id,
            leader_pid: fields.leader_pid,
            user: fields.user,
            database: fields.database,
            application: fields.application,
            host: fields.host,
            backend: fields.backend,
            message: text(MESSAGE),
            detail: part(Part::Detail),
            hint: part(Part::Hint),
            context: part(Part::Context),
            statement: part(Part::Statement),
            internal_query: part(Part::Query),
            location: part(Part::Location),
            cut,
            origin: Origin::Server,
        };
        take_verbose_sqlstate(&mut record);
        record.message = field::without_position(record.message, record.severity);
        if open.forged.is_empty() {
            piece.sink.record(piece.base + open.start as u64, &record);
            return;
        }
        field::print_names(&mut record, &mut self.names);
        piece.sink.record(piece.base + open.start as u64, &record);
        for (start, end) in &open.forged {
            let odd = Odd::Forged(&bytes[*start..*end]);
            piece.sink.odd(piece.base + *start as u64, odd);
        }
    }
}

impl Scanner for Stderr {
    fn sync(&self, bytes: &[u8]) -> Option<usize> {
        let mut reader = Stderr {
            prefixes: self.prefixes.clone(),
            clock: self.clock.clone(),
            skipping: Skipping::Nothing,
            scratch: Vec::new(),
            names: Vec::new(),
        };
        let mut at = 0;
        let mut fields = Fields::default();
        loop {
            let line = reader.line(bytes, at, false, &mut fields)?;
            match line.what {
                What::Primary(..) => return Some(at),
                What::Raw if at > 0 => return Some(at),
                _ if line.unfinished || line.next == bytes.len() => return None,
                // The bytes may begin inside of a line, so that only the next one is sure to be whole.
                _ if at == 0 => at = memchr(b'\n', bytes)? + 1,
                _ => at = line.next,
            }
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
        let mut at = 0;
        if self.skipping != Skipping::Nothing {
            match self.skip(bytes, at, end) {
                Ok(next) => at = next,
                Err(done) => return done,
            }
        }
        let mut piece = Piece {
            bytes,
            base,
            until,
            end,
            sink,
        };
        let mut open: Option<Open<'_>> = None;
        let mut fields = Fields::default();
        while at < bytes.len() {
            let Some(line) = self.line(bytes, at, end, &mut fields) else {
                return open.map_or(at, |open| open.start);
            };
            match self.take(&mut piece, &mut open, line, &fields) {
                Step::Next(next) => at = next,
                Step::Return(done) => return done,
            }
        }
        if end {
            self.close(&mut piece, &mut open);
        }
        open.map_or(at, |open| open.start)
    }

    fn splittable(&self) -> bool {
        true
    }

    fn remarks(&self) -> Remarks {
        Remarks::zones(self.clock.zones())
    }
}

impl<'t> Open<'t> {
    fn new(fields: &Fields<'t>, severity: Severity, line: &Line) -> Open<'t> {
        let mut texts = [Span::default(); TEXTS];
        texts[MESSAGE] = Span {
            start: line.start + fields.text_at,
            end: line.end,
            lines: false,
        };
        Open {
            start: line.start,
            end: line.end,
            severity,
            texts,
            current: MESSAGE,
            lines: 1,
            false_record: fields.disagrees(),
            forged: line.forged.into_iter().collect(),
            fields: *fields,
        }
    }

    /// Adds a further part when it is of this record.
    fn add(&mut self, fields: &Fields<'_>, part: Part, line: &Line) -> bool {
        let index = part as usize + 1;
        let belongs = !self.false_record
            && fields.pid == self.fields.pid
            && fields.session_started == self.fields.session_started
            && (fields.line == 0 || fields.line == self.fields.line.wrapping_add(self.lines))
            && self.texts[index].start == 0;
        if belongs {
            self.texts[index] = Span {
                start: line.start + fields.text_at,
                end: line.end,
                lines: false,
            };
            self.current = index;
            self.lines += 1;
            self.end = line.end;
            self.forged.extend(line.forged);
        }
        belongs
    }

    #[inline]
    fn extend(&mut self, line: &Line) {
        if !self.false_record {
            let text = &mut self.texts[self.current];
            text.end = line.end;
            text.lines = true;
        }
        self.end = line.end;
    }

    fn cut_at(&mut self, end: usize) {
        self.end = end;
        for text in &mut self.texts {
            text.start = text.start.min(end);
            text.end = text.end.min(end);
        }
        for (start, stop) in &mut self.forged {
            *start = (*start).min(end);
            *stop = (*stop).min(end);
        }
    }
}

fn what(fields: &Fields<'_>) -> What {
    match fields.label {
        Some(Label::Severity(severity)) => What::Primary(severity),
        Some(Label::Part(part)) => What::Part(part),
        None => What::Raw,
    }
}

fn raw(piece: &mut Piece<'_, '_>, line: &Line) -> Step {
    if line.unfinished {
        return Step::Return(line.start);
    }
    tell_raw(piece, line.start, line.end);
    Step::Next(line.next)
}

fn tell_raw(piece: &mut Piece<'_, '_>, start: usize, end: usize) {
    let text = &piece.bytes[start..end];
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.is_empty() {
        return;
    }
    let sample = &text[..text.len().min(TEXT_SAMPLE_BYTES)];
    let controls = sample
        .iter()
        .filter(|byte| byte.is_ascii_control() && !b"\t\r\x1b\x0c\x08".contains(byte));
    let odd = if controls.count() * 16 > sample.len() || memchr(0, text).is_some() {
        Odd::Malformed(text)
    } else {
        Odd::Raw(text)
    };
    piece.sink.odd(piece.base + start as u64, odd);
}

/// Whether every line of a record ends with a carriage return, which then is part of the line end: a text of its own may have some.
fn ends_with_carriage(bytes: &[u8], open: &Open<'_>) -> bool {
    let record = &bytes[open.start..open.end];
    record.last() == Some(&b'\r')
        && memchr::memchr_iter(b'\n', record).all(|end| end > 0 && record[end - 1] == b'\r')
}

/// Adds a text without the tab that the server puts after each line end.
fn decode(text: &[u8], carriage: bool, into: &mut Vec<u8>) {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', text) {
        into.extend_from_slice(&text[start..end - usize::from(carriage && end > start)]);
        into.push(b'\n');
        start = end + 1 + usize::from(text.get(end + 1) == Some(&b'\t'));
    }
    let rest = &text[start..];
    let rest = match rest.strip_suffix(b"\r") {
        Some(rest) if carriage => rest,
        _ => rest,
    };
    into.extend_from_slice(rest);
}

/// Takes `42P01: ` off a message of `log_error_verbosity = verbose`; that mode always tells a LOCATION, and other messages begin alike.
#[inline]
fn take_verbose_sqlstate(record: &mut Record<'_>) {
    let message = record.message;
    if message.get(5..7) != Some(b": ") {
        return;
    }
    let Some(state) = message.first_chunk::<5>() else {
        return;
    };
    let told = !record.location.is_empty() || record.sqlstate == *state;
    if told && is_sqlstate(state) {
        record.sqlstate = *state;
        record.message = &message[7..];
    }
}
