//! Matching a compiled prefix against a line.

use super::{Escape, FIELD_BYTES_MAX, Literal, NAME_BYTES_MAX, Prefix, Step, straight};
use crate::language::words::{self, Label};
use crate::severity::Severity;
use crate::time::{Clock, Fraction, Stamp, epoch};

/// The longest part of a line that is looked at for a prefix.
pub const HEAD_BYTES_MAX: usize = 4096;
/// The longest text that is looked at for a name with a line end in it.
pub const JOIN_BYTES_MAX: usize = 2048;
/// After so many tries of one line, what was tried is remembered, so that no name makes the time more than linear.
const TRIES_UNREMEMBERED: u32 = 32;
/// Most ends of fields that are tried in one line with one prefix: a real line takes some hundreds at most, and what is remembered leaves a
/// prefix of many fields millions.
pub(super) const PLACES_MAX: u32 = 50_000;
/// Most readings of one line that are compared.
const READINGS_MAX: usize = 16;

/// What a prefix tells, and where the message begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'t> {
    /// `%t`, `%m` or `%n` in microseconds.
    pub at: Option<i64>,
    /// `%p`, else the second half of `%c`; 0 when not told.
    pub pid: u32,
    /// `%P`.
    pub leader_pid: u32,
    /// First half of `%c`, or `%s`, in seconds.
    pub session_started: u32,
    /// Second half of `%c`.
    pub session_pid: u32,
    /// `%l`.
    pub line: u32,
    /// `%x`.
    pub xid: u32,
    /// `%e`.
    pub sqlstate: [u8; 5],
    /// `%Q`.
    pub query_id: i64,
    /// `%u`.
    pub user: &'t [u8],
    /// `%d`.
    pub database: &'t [u8],
    /// `%a`.
    pub application: &'t [u8],
    /// `%h`, or `%r` without its port.
    pub host: &'t [u8],
    /// `%L`.
    pub local_address: &'t [u8],
    /// `%b`.
    pub backend: &'t [u8],
    /// `%i`.
    pub command: &'t [u8],
    /// `%v`.
    pub virtual_xid: &'t [u8],
    /// What the message begins with.
    pub label: Option<Label>,
    /// Where the label begins.
    pub label_at: usize,
    /// Where the text after the label begins.
    pub text_at: usize,
    /// The line could be read in two ways, and a name in it pretends to be a record.
    pub forged: bool,
}

impl<'t> Fields<'t> {
    /// Sets a field without a grammar.
    #[inline]
    pub(super) fn set_free(&mut self, escape: Escape, value: &'t [u8]) {
        let name = |value| if words::unknown(value) { b"" } else { value };
        match escape {
            Escape::User => self.user = name(value),
            Escape::Database => self.database = name(value),
            Escape::Application => self.application = name(value),
            Escape::HostPort => self.host = without_port(value),
            Escape::Host => self.host = value,
            Escape::LocalAddress => self.local_address = value,
            Escape::Backend => self.backend = value,
            _ => self.command = value,
        }
    }

    /// Whether `%p` and `%c` tell of different processes, which the server never writes.
    pub fn disagrees(&self) -> bool {
        self.session_pid != 0 && self.session_pid != self.pid
    }

    fn names(&self) -> [&[u8]; 3] {
        [self.user, self.database, self.application]
    }

    fn names_fit(&self) -> bool {
        self.names().iter().all(|name| name.len() <= NAME_BYTES_MAX)
    }
}

/// What a line begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A prefix and a label.
    Whole,
    /// A prefix that the line's end cuts inside of a name.
    Cut,
    /// No prefix.
    None,
}

impl Prefix {
    /// Reads the beginning of a line, without its line end.
    ///
    /// The reading with the shortest names wins. Where a longer one is possible too, so that a name or a message pretends to be what it
    /// is not, the one wins whose message quotes the name, as refusals of logins do; else the one that is less severe.
    pub fn read<'t>(&self, line: &'t [u8], clock: &mut Clock, fields: &mut Fields<'t>) -> Reading {
        self.read_with(line, clock, fields, None, &mut PLACES_MAX.clone())
    }

    /// The same, with what was remembered of the lines before of this prefix, and how many ends of fields may be tried.
    #[inline]
    pub(super) fn read_with<'t>(
        &self,
        line: &'t [u8],
        clock: &mut Clock,
        fields: &mut Fields<'t>,
        memory: Option<&mut straight::Memory>,
        places: &mut u32,
    ) -> Reading {
        let head = &line[..line.len().min(HEAD_BYTES_MAX)];
        *fields = Fields::default();
        let last_name_at = match straight::read(&self.straight, head, clock, fields, memory) {
            Some(last_name_at) => last_name_at,
            None => {
                *fields = Fields::default();
                let mut attempt = Attempt::new(self, head, clock, fields, places);
                if !attempt.run(0, 0) {
                    return if attempt.cut {
                        Reading::Cut
                    } else {
                        Reading::None
                    };
                }
                attempt.last_name_at
            }
        };
        let reach = last_name_at + NAME_BYTES_MAX;
        if last_name_at > 0 && reach > fields.text_at {
            let window = &head[fields.text_at..head.len().min(reach + FIELD_BYTES_MAX)];
            if memchr::memmem::find(window, b":  ").is_some() {
                *fields = self.choose(line, clock, *fields, places);
            }
        }
        Reading::Whole
    }

    /// Reads a record whose beginning is cut by a line end inside of a name; none when that is not what it is.
    pub fn read_joined<'t>(&self, text: &'t [u8], clock: &mut Clock) -> Option<Fields<'t>> {
        let text = &text[..text.len().min(JOIN_BYTES_MAX)];
        let mut fields = Fields::default();
        let mut places = PLACES_MAX;
        let mut attempt = Attempt::new(self, text, clock, &mut fields, &mut places);
        attempt.joined = true;
        // Whoever can put a line end into a name controls nothing but the name: the longest reading is the server's.
        attempt
            .all()
            .into_iter()
            .filter(|fields| {
                let cut = |name: &&[u8]| memchr::memchr(b'\n', name).is_some();
                fields.names_fit() && fields.names().iter().any(cut)
            })
            .max_by_key(|fields| {
                // A tab after the line end is the server's own, of a message that quotes the name.
                let quoted = |name: &&[u8]| memchr::memmem::find(name, b"\n\t").is_some();
                (!fields.names().iter().any(quoted), fields.label_at)
            })
    }

    /// Chooses among the readings of a line, of which one is known.
    fn choose<'t>(
        &self,
        line: &'t [u8],
        clock: &mut Clock,
        first: Fields<'t>,
        places: &mut u32,
    ) -> Fields<'t> {
        let head = &line[..line.len().min(HEAD_BYTES_MAX)];
        let mut fields = Fields::default();
        let readings = Attempt::new(self, head, clock, &mut fields, places).all();
        let fitting = || readings.iter().skip(1).filter(|other| other.names_fit());
        let quoted = fitting().rfind(|other| {
            let message = &line[other.text_at..];
            other.names().iter().any(|name| {
                memchr::memmem::find(name, b":  ").is_some()
                    && memchr::memmem::find(message, name).is_some()
            })
        });
        let severity = |fields: &Fields<'_>| match fields.label {
            Some(Label::Severity(severity)) => Some(severity),
            _ => None,
        };
        let mildest = || {
            fitting()
                .filter(|other| severity(other) < severity(&first))
                .min_by_key(|other| severity(other).unwrap_or(Severity::Debug))
        };
        match quoted.or_else(mildest) {
            Some(other) => Fields {
                forged: true,
                ..*other
            },
            None => first,
        }
    }
}

struct Attempt<'p, 't, 'c> {
    prefix: &'p Prefix,
    text: &'t [u8],
    clock: &'c mut Clock,
    fields: &'c mut Fields<'t>,
    /// Names may hold a line end.
    joined: bool,
    /// The text ended inside of a name.
    cut: bool,
    /// One more than where the last name begins; 0 when the record has none.
    last_name_at: usize,
    tries: u32,
    /// Ends of fields that may still be tried.
    places: &'c mut u32,
    /// States that were tried, a bit for each step and position.
    tried: Vec<u64>,
    /// Wants all readings, not the first.
    readings: Option<Vec<Fields<'t>>>,
}

impl<'p, 't, 'c> Attempt<'p, 't, 'c> {
    #[inline]
    fn new(
        prefix: &'p Prefix,
        text: &'t [u8],
        clock: &'c mut Clock,
        fields: &'c mut Fields<'t>,
        places: &'c mut u32,
    ) -> Attempt<'p, 't, 'c> {
        Attempt {
            prefix,
            text,
            clock,
            fields,
            joined: false,
            cut: false,
            last_name_at: 0,
            tries: 0,
            places,
            tried: Vec::new(),
            readings: None,
        }
    }

    fn all(mut self) -> Vec<Fields<'t>> {
        self.readings = Some(Vec::new());
        self.run(0, 0);
        self.readings.unwrap_or_default()
    }

    /// Matches from a step on; true when a reading was found and no other is wanted.
    fn run(&mut self, mut index: usize, mut at: usize) -> bool {
        let prefix = self.prefix;
        while let Some(step) = prefix.steps.get(index) {
            match step {
                Step::Literal(literal) => {
                    if !literal.begins(&self.text[at..]) {
                        return false;
                    }
                    at += literal.bytes.len();
                }
                Step::Stop => {
                    // The form of a session first: a name may look like a label, but what a background process says rarely looks like
                    // the rest of a prefix.
                    let before = *self.fields;
                    if self.run(index + 1, at) {
                        return true;
                    }
                    *self.fields = before;
                    self.last_name_at = 0;
                    return self.finish(at);
                }
                Step::Free(escape, padding) => return self.free(index, at, *escape, *padding),
                Step::Fixed(escape) => match self.fixed(index, at, *escape) {
                    Some(bytes) => at += bytes,
                    None => return false,
                },
                Step::Padded(escape, padding) => match self.padded(index, at, *escape, *padding) {
                    Some(bytes) => at += bytes,
                    None => return false,
                },
            }
            index += 1;
        }
        self.finish(at)
    }

    #[inline]
    fn finish(&mut self, at: usize) -> bool {
        let Some((label, bytes)) = words::label(&self.text[at..]) else {
            return false;
        };
        self.fields.label = Some(label);
        self.fields.label_at = at;
        self.fields.text_at = at + bytes;
        match &mut self.readings {
            None => {
                if self.fields.pid == 0 {
                    self.fields.pid = self.fields.session_pid;
                }
                true
            }
            Some(readings) => {
                let mut fields = *self.fields;
                if fields.pid == 0 {
                    fields.pid = fields.session_pid;
                }
                readings.push(fields);
                readings.len() == READINGS_MAX
            }
        }
    }

    /// Matches a field that ends where what follows begins: tries each place, the nearest first.
    fn free(&mut self, index: usize, at: usize, escape: Escape, padding: i32) -> bool {
        if self.was_tried(index, at) {
            return false;
        }
        let width = padding.unsigned_abs() as usize;
        let mut limit = self.text.len().min(at + width.max(FIELD_BYTES_MAX));
        if escape.is_name() {
            if limit == self.text.len() && index >= self.prefix.anchored {
                self.cut = true;
            }
        } else if self.joined {
            let line_end = memchr::memchr(b'\n', &self.text[at..limit]);
            limit = line_end.map_or(limit, |bytes| at + bytes);
        }
        if escape == Escape::HostPort && padding == 0 {
            // A port in parentheses ends the field, whatever colons an address of IPv6 has.
            if let Some(bytes) = host_and_port(&self.text[at..limit]) {
                self.set_free(escape, &self.text[at..at + bytes], at);
                if self.run(index + 1, at + bytes) {
                    return true;
                }
            }
        }
        let prefix = self.prefix;
        let next = prefix.steps.get(index + 1);
        let mut end = at + width;
        while end <= limit && *self.places > 0 {
            *self.places -= 1;
            let after = match next {
                Some(Step::Literal(literal)) => {
                    let Some(bytes) = find(&self.text[end..], limit - end, literal) else {
                        return false;
                    };
                    end += bytes;
                    (index + 2, end + literal.bytes.len())
                }
                _ => (index + 1, end),
            };
            if next.is_some() || words::label(&self.text[end..]).is_some() {
                let value = unpadded(&self.text[at..end], padding);
                self.set_free(escape, value, at);
                if self.run(after.0, after.1) {
                    return true;
                }
            }
            end += 1;
        }
        false
    }

    fn was_tried(&mut self, index: usize, at: usize) -> bool {
        self.tries += 1;
        if self.tries <= TRIES_UNREMEMBERED {
            return false;
        }
        let bit = index * (self.text.len() + 1) + at;
        if self.tried.is_empty() {
            let bits = self.prefix.steps.len() * (self.text.len() + 1);
            self.tried = vec![0; bits / 64 + 1];
        }
        let (word, mask) = (bit / 64, 1 << (bit % 64));
        let tried = self.tried[word] & mask != 0;
        self.tried[word] |= mask;
        tried
    }

    fn set_free(&mut self, escape: Escape, value: &'t [u8], at: usize) {
        if escape.is_name() {
            self.last_name_at = at + 1;
        }
        self.fields.set_free(escape, value);
    }

    /// Matches a field with a grammar, and a padding around it.
    fn padded(&mut self, index: usize, at: usize, escape: Escape, padding: i32) -> Option<usize> {
        let width = padding.unsigned_abs() as usize;
        let blanks = |text: &[u8]| {
            let blanks = text.iter().take(width).take_while(|byte| **byte == b' ');
            blanks.count()
        };
        if padding > 0 {
            let before = blanks(&self.text[at..]);
            let bytes = before + self.fixed(index, at + before, escape)?;
            let right = bytes == width || (before == 0 && bytes > width);
            return right.then_some(bytes);
        }
        let bytes = self.fixed(index, at, escape)?;
        let after = width.saturating_sub(bytes);
        (blanks(&self.text[at + bytes..]) >= after).then_some(bytes + after)
    }

    /// Matches a field with a grammar; returns how many bytes it takes.
    #[inline(never)]
    fn fixed(&mut self, index: usize, at: usize, escape: Escape) -> Option<usize> {
        let colon = zone_may_have_colon(self.prefix.steps.get(index + 1));
        fixed(&self.text[at..], escape, colon, self.clock, self.fields)
    }
}

/// Whether a time zone before a step may have a colon, rather than end at it.
pub(super) fn zone_may_have_colon(next: Option<&Step>) -> bool {
    matches!(next, Some(Step::Literal(literal)) if literal.bytes[0] != b':')
}

/// Matches a field with a grammar at the beginning of a text; returns how many bytes it takes.
#[inline(always)]
pub(super) fn fixed<'t>(
    text: &'t [u8],
    escape: Escape,
    colon: bool,
    clock: &mut Clock,
    fields: &mut Fields<'t>,
) -> Option<usize> {
    match escape {
        Escape::Milliseconds => {
            let (instant, bytes) =
                clock.log_time(Stamp::Written, text, Fraction::Milliseconds, colon)?;
            fields.at = Some(instant);
            Some(bytes)
        }
        Escape::Seconds => {
            let (instant, bytes) = clock.log_time(Stamp::Written, text, Fraction::Absent, colon)?;
            fields.at = Some(instant);
            Some(bytes)
        }
        Escape::Started => {
            let (instant, bytes) = clock.log_time(Stamp::Started, text, Fraction::Absent, colon)?;
            let seconds = instant.div_euclid(1_000_000);
            fields.session_started = u32::try_from(seconds).unwrap_or(0);
            Some(bytes)
        }
        Escape::Epoch => {
            let (instant, bytes) = epoch(text)?;
            fields.at = Some(instant);
            Some(bytes)
        }
        Escape::Pid => digits(text).map(|(value, bytes)| {
            fields.pid = value;
            bytes
        }),
        Escape::LeaderPid => {
            let (value, bytes) = digits(text).unwrap_or((0, 0));
            fields.leader_pid = value;
            Some(bytes)
        }
        Escape::Line => digits(text).map(|(value, bytes)| {
            fields.line = value;
            bytes
        }),
        Escape::Xid => digits(text).map(|(value, bytes)| {
            fields.xid = value;
            bytes
        }),
        Escape::SqlState => {
            let state: [u8; 5] = *text.first_chunk()?;
            fields.sqlstate = state;
            sqlstate(&state).then_some(5)
        }
        Escape::Session => {
            let (started, bytes) = hexadecimals(text)?;
            let rest = text[bytes..].strip_prefix(b".")?;
            let (pid, more) = hexadecimals(rest)?;
            fields.session_started = started;
            fields.session_pid = pid;
            Some(bytes + 1 + more)
        }
        Escape::VirtualXid => {
            let bytes = virtual_xid(text);
            fields.virtual_xid = &text[..bytes];
            Some(bytes)
        }
        _ => {
            let (value, bytes) = signed(text)?;
            fields.query_id = value;
            Some(bytes)
        }
    }
}

/// Returns where a literal begins in the text, at most `limit` bytes on.
#[inline]
pub(super) fn find(text: &[u8], limit: usize, literal: &Literal) -> Option<usize> {
    let first = literal.bytes[0];
    let window = &text[..text.len().min(limit + 1)];
    let mut from = 0;
    loop {
        from += find_byte(window.get(from..)?, first)?;
        if literal.begins(&text[from..]) {
            return Some(from);
        }
        from += 1;
    }
}

/// The same byte eight times.
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES << 7;

/// Finds a byte eight bytes at a time: fields are short, so that this beats the start of a vector search.
#[inline]
fn find_byte(text: &[u8], byte: u8) -> Option<usize> {
    let wanted = u64::from(byte) * ONES;
    let mut chunks = text.chunks_exact(8);
    let mut at = 0;
    for chunk in chunks.by_ref() {
        let found = eight(chunk)? ^ wanted;
        let zero = found.wrapping_sub(ONES) & !found & HIGHS;
        if zero != 0 {
            return Some(at + zero.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = chunks.remainder().iter().position(|other| *other == byte);
    rest.map(|rest| at + rest)
}

#[inline]
fn eight(text: &[u8]) -> Option<u64> {
    text.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}

/// Reads an unsigned number, eight digits at a time; returns it and its bytes, which are 0 when there is none.
#[inline]
fn decimal(text: &[u8]) -> (u64, usize) {
    const POWERS: [u64; 9] = [
        1,
        10,
        100,
        1000,
        10_000,
        100_000,
        1_000_000,
        10_000_000,
        100_000_000,
    ];
    let mut value: u64 = 0;
    let mut at = 0;
    while let Some(chunk) = text.get(at..).and_then(eight).filter(|_| at < 24) {
        let digits = chunk ^ (ONES * 0x30);
        let others = (digits.wrapping_add(ONES * 0x76) | digits) & HIGHS;
        let count = others.trailing_zeros() as usize / 8;
        if count == 0 {
            return (value, at);
        }
        // The digits move to the end of the number, zeros before them.
        let digits = digits << (64 - 8 * count);
        let pairs = digits.wrapping_mul(2561) >> 8 & 0x00ff_00ff_00ff_00ff;
        let fours = pairs.wrapping_mul(6_553_601) >> 16 & 0x0000_ffff_0000_ffff;
        let part = fours.wrapping_mul(42_949_672_960_001) >> 32;
        value = value.wrapping_mul(POWERS[count]).wrapping_add(part);
        at += count;
        if count < 8 {
            return (value, at);
        }
    }
    for byte in text
        .iter()
        .skip(at)
        .take_while(|byte| byte.is_ascii_digit())
    {
        value = value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        at += 1;
    }
    (value, at)
}

fn unpadded(value: &[u8], padding: i32) -> &[u8] {
    if padding == 0 || value.len() != padding.unsigned_abs() as usize {
        return value;
    }
    let blank = |byte: &u8| *byte == b' ';
    if padding > 0 {
        let start = value.iter().take_while(|byte| blank(byte)).count();
        &value[start..]
    } else {
        let blanks = value.iter().rev().take_while(|byte| blank(byte)).count();
        &value[..value.len() - blanks]
    }
}

/// Returns how many bytes `host(port)` takes at the beginning of a text.
pub(super) fn host_and_port(text: &[u8]) -> Option<usize> {
    let host = text
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || b".:-_%".contains(byte))
        .count();
    let rest = text[host..].strip_prefix(b"(")?;
    let port = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = host > 0 && port > 0 && rest.get(port) == Some(&b')');
    whole.then_some(host + port + 2)
}

fn without_port(value: &[u8]) -> &[u8] {
    let Some(inner) = value.strip_suffix(b")") else {
        return value;
    };
    match memchr::memrchr(b'(', inner) {
        Some(open) if inner[open + 1..].iter().all(u8::is_ascii_digit) => &value[..open],
        _ => value,
    }
}

/// Whether five bytes are a SQLSTATE.
#[inline]
pub(crate) fn sqlstate(text: &[u8; 5]) -> bool {
    text.iter()
        .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

#[inline]
fn digits(text: &[u8]) -> Option<(u32, usize)> {
    let (value, bytes) = decimal(text);
    let number = u32::try_from(value).ok()?;
    (bytes > 0).then_some((number, bytes))
}

#[inline]
fn signed(text: &[u8]) -> Option<(i64, usize)> {
    let minus = usize::from(text.first() == Some(&b'-'));
    let (value, bytes) = decimal(&text[minus..]);
    let value = if minus == 1 {
        0_i64.wrapping_sub_unsigned(value)
    } else {
        value.cast_signed()
    };
    (bytes > 0).then_some((value, bytes + minus))
}

/// Values of hexadecimal digits as the server writes them; 16 for all other bytes.
const HEXADECIMALS: [u8; 256] = {
    let mut values = [16; 256];
    let mut digit = 0;
    while digit < 16 {
        values[b"0123456789abcdef"[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};

#[inline]
fn hexadecimals(text: &[u8]) -> Option<(u32, usize)> {
    let mut value: u32 = 0;
    let mut bytes = 0;
    for byte in text.iter().take(8) {
        let digit = HEXADECIMALS[usize::from(*byte)];
        if digit > 15 {
            break;
        }
        value = value << 4 | u32::from(digit);
        bytes += 1;
    }
    (bytes > 0).then_some((value, bytes))
}

/// Returns how many bytes `3/17` takes; 0 when the process has no virtual transaction.
fn virtual_xid(text: &[u8]) -> usize {
    let minus = usize::from(text.first() == Some(&b'-'));
    let Some((_, first)) = digits(&text[minus..]) else {
        return 0;
    };
    let slash = minus + first;
    if text.get(slash) != Some(&b'/') {
        return 0;
    }
    digits(&text[slash + 1..]).map_or(0, |(_, second)| slash + 1 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_length_are_read() {
        for text in [
            "0",
            "7",
            "12345678",
            "123456789",
            "9223372036854775808",
            "18446744073709551615",
        ] {
            let value: u64 = text.parse().unwrap();
            for after in ["", " ", "/", ":rest of the line", "x234567890"] {
                let line = format!("{text}{after}");
                assert_eq!(decimal(line.as_bytes()), (value, text.len()), "{line}");
            }
        }
        assert_eq!(decimal(b""), (0, 0));
        assert_eq!(decimal(b"\xff1234567"), (0, 0));
        assert_eq!(decimal(b"1\xff234567"), (1, 1));
        assert_eq!(digits(b"4294967296"), None);
        assert_eq!(signed(b"-9223372036854775808 "), Some((i64::MIN, 20)));
        assert_eq!(signed(b"-"), None);
    }

    #[test]
    fn bytes_are_found_where_they_are_first() {
        let text = b"0123456789abcdefghij\x80\xff@";
        for (index, byte) in text.iter().enumerate() {
            assert_eq!(find_byte(text, *byte), Some(index));
        }
        assert_eq!(find_byte(text, b'Z'), None);
    }
}
