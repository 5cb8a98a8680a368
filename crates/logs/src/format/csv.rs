//! csvlog: 23 columns up to PostgreSQL 12, 24 in 13, 26 since 14; fields in quotes may hold line ends and texts that look like records.

use jiff::tz::TimeZone;
use memchr::{memchr, memchr2_iter};

use super::walk::find;
use super::{RECORD_BYTES_MAX, Remarks, Scanner, field};
use crate::record::{Odd, Record, Sink};
use crate::time::Clock;

/// Columns of PostgreSQL 14 and later, the most that are read.
const COLUMNS_MAX: usize = 26;

/// Columns after which this is no csvlog of any version to come.
const COLUMNS_LIMIT: usize = 40;

/// The longest field without quotes: they are times, numbers and single words.
const BARE_BYTES_MAX: usize = 128;

/// Whole records that must follow a guessed beginning to prove it.
const PROOF_RECORDS: usize = 3;

/// Bytes that tell a beginning.
const BEGINNING_BYTES: usize = 19;

/// Reads csvlog.
#[derive(Debug, Default)]
pub struct Csv {
    skip: Skip,
    /// Fields whose doubled quotes were undone.
    scratch: Vec<u8>,
    extended: u64,
    clock: Clock,
    /// Names whose line ends were made printable.
    names: Vec<u8>,
}

/// What is being skipped, when a record or a torn place was longer than a scanner keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Skip {
    /// Nothing.
    #[default]
    No,
    /// The rest of a cut record.
    Record {
        /// Whether the skipping is inside quotes.
        quoted: bool,
    },
    /// A torn place, up to the next beginning that can be proven.
    Torn,
}

/// How one record's bytes look.
#[derive(Debug)]
enum Shape {
    /// A record that ends before this position, its line end included.
    Whole(usize),
    /// The bytes end within it.
    Open,
    /// Not a record.
    Broken,
}

/// Where the fields of a record are.
#[derive(Debug)]
struct Fields {
    /// Beginning and end of each, without quotes.
    bounds: [(u32, u32); COLUMNS_MAX],
    /// How many there were, also beyond the last that is kept.
    count: usize,
    /// Bits of those that have doubled quotes.
    doubled: u32,
}

/// Whether a record begins at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    Yes,
    No,
    /// Nothing speaks against it, but the bytes end too early.
    Maybe,
}

impl Csv {
    /// Returns a scanner; the zone tells what abbreviations of the log mean.
    pub fn new(zone: Option<TimeZone>) -> Csv {
        Csv {
            clock: Clock::new(zone),
            ..Csv::default()
        }
    }

    /// Returns how many records had columns beyond those of PostgreSQL 18; the columns were ignored.
    pub fn extended(&self) -> u64 {
        self.extended
    }

    /// Hands a record over; `length` is its length, and `cut` says that its end is missing.
    fn emit(&mut self, bytes: &[u8], fields: &Fields, cut: bool, offset: u64, sink: &mut dyn Sink) {
        self.extended += u64::from(fields.count > COLUMNS_MAX);
        let at = self.clock.instant(fields.of(bytes, 0));
        self.clock.keep();
        let scratch = &mut self.scratch;
        scratch.clear();
        let mut decoded = [(0, 0); COLUMNS_MAX];
        let mut left = fields.doubled;
        while left != 0 {
            let column = left.trailing_zeros() as usize;
            left &= left - 1;
            let begin = scratch.len();
            undouble(fields.of(bytes, column), scratch);
            decoded[column] = (begin, scratch.len());
        }
        let scratch = &self.scratch;
        let text = |column: usize| {
            if fields.doubled & 1 << column == 0 {
                fields.of(bytes, column)
            } else {
                let (begin, end) = decoded[column];
                &scratch[begin..end]
            }
        };
        let sqlstate = field::sqlstate(text(12));
        let mut record = Record {
            at,
            pid: field::unsigned(text(3)),
            session_started: field::session_started(text(5)).unwrap_or(0),
            line: field::unsigned(text(6)),
            lines: 1,
            severity: field::severity_of(text(11), sqlstate),
            sqlstate,
            query_id: field::signed(text(25)),
            leader_pid: field::unsigned(text(24)),
            user: field::known(text(1)),
            database: field::known(text(2)),
            application: field::known(text(22)),
            host: field::host(text(4)),
            backend: text(23),
            message: text(13),
            detail: text(14),
            hint: text(15),
            context: text(18),
            statement: text(19),
            internal_query: text(16),
            location: text(21),
            cut,
            origin: crate::record::Origin::Server,
        };
        if field::breaks(&record) {
            field::print_names(&mut record, &mut self.names);
        }
        sink.record(offset, &record);
    }

    /// Goes on with what is being skipped; returns where it ends, none when the bytes end within it.
    fn skip(&mut self, bytes: &[u8], base: u64, end: bool, sink: &mut dyn Sink) -> Option<usize> {
        match self.skip {
            Skip::No => Some(0),
            Skip::Record { quoted } => {
                let mut quoted = quoted;
                for found in memchr2_iter(b'"', b'\n', bytes) {
                    if bytes[found] == b'"' {
                        quoted = !quoted;
                    } else if !quoted {
                        self.skip = Skip::No;
                        return Some(found + 1);
                    }
                }
                self.skip = Skip::Record { quoted };
                None
            }
            Skip::Torn => {
                let (position, found) = torn_end(bytes, 0, end)?;
                self.skip = if found { Skip::No } else { Skip::Torn };
                if position > 0 {
                    sink.odd(base, Odd::Malformed(&bytes[..position]));
                }
                Some(position)
            }
        }
    }

    /// Handles what is no record at `position`; returns where to go on, none when more bytes must tell.
    fn torn(
        &mut self,
        bytes: &[u8],
        position: usize,
        base: u64,
        end: bool,
        sink: &mut dyn Sink,
    ) -> Option<usize> {
        let (next, found) = torn_end(&bytes[position..], 1, end)?;
        self.skip = if found { Skip::No } else { Skip::Torn };
        let next = position + next;
        sink.odd(
            base + position as u64,
            Odd::Malformed(&bytes[position..next]),
        );
        Some(next)
    }

    /// Handles the record whose end is not among the bytes; returns where to go on, none when more bytes must tell.
    fn open(
        &mut self,
        bytes: &[u8],
        position: usize,
        base: u64,
        end: bool,
        sink: &mut dyn Sink,
    ) -> Option<usize> {
        if bytes.len() - position < RECORD_BYTES_MAX {
            if !end {
                return None;
            }
            return self.torn(bytes, position, base, end, sink);
        }
        let window = &bytes[position..position + RECORD_BYTES_MAX];
        let mut fields = Fields::default();
        fields.read(window, true);
        // Without a severity nothing of it can be used.
        if fields.count <= 12 {
            return self.torn(bytes, position, base, end, sink);
        }
        self.emit(window, &fields, true, base + position as u64, sink);
        let quotes = memchr::memchr_iter(b'"', window).count();
        self.skip = Skip::Record {
            quoted: quotes % 2 == 1,
        };
        Some(position + RECORD_BYTES_MAX)
    }
}

impl Scanner for Csv {
    fn sync(&self, bytes: &[u8]) -> Option<usize> {
        let mut guess = None;
        let newlines = memchr::memchr_iter(b'\n', bytes).map(|newline| newline + 1);
        for candidate in std::iter::once(0).chain(newlines) {
            if !begins(&bytes[candidate..]) {
                continue;
            }
            match prove(&bytes[candidate..], false) {
                Proof::Yes => return Some(candidate),
                Proof::Maybe => guess = guess.or(Some(candidate)),
                Proof::No => {}
            }
        }
        guess
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
        let mut fields = Fields::default();
        loop {
            if self.skip != Skip::No {
                let rest = &bytes[position..];
                match self.skip(rest, base + position as u64, end, sink) {
                    Some(skipped) => position += skipped,
                    None if self.skip == Skip::Torn => return position,
                    None => return bytes.len(),
                }
                if self.skip == Skip::Torn && position == bytes.len() {
                    return position;
                }
                continue;
            }
            if position >= until {
                return position;
            }
            let window = &bytes[position..bytes.len().min(position + RECORD_BYTES_MAX)];
            let next = match fields.read(window, end && window.len() == bytes.len() - position) {
                Shape::Whole(length) if fields.is_record(window) => {
                    self.emit(window, &fields, false, base + position as u64, sink);
                    Some(position + length)
                }
                Shape::Whole(length) if is_blank(&window[..length]) => Some(position + length),
                Shape::Open => self.open(bytes, position, base, end, sink),
                Shape::Whole(_) | Shape::Broken => self.torn(bytes, position, base, end, sink),
            };
            match next {
                Some(next) => position = next,
                None => return position,
            }
        }
    }

    fn splittable(&self) -> bool {
        true
    }

    fn remarks(&self) -> Remarks {
        Remarks::zones(self.clock.zones())
    }
}

impl Default for Fields {
    fn default() -> Fields {
        Fields {
            bounds: [(0, 0); COLUMNS_MAX],
            count: 0,
            doubled: 0,
        }
    }
}

impl Fields {
    #[inline]
    fn of<'a>(&self, bytes: &'a [u8], column: usize) -> &'a [u8] {
        let (begin, end) = self.bounds[column];
        if column < self.count {
            &bytes[begin as usize..end as usize]
        } else {
            b""
        }
    }

    /// Finds the fields of the record at the beginning; with `last` the end of the bytes ends the record too.
    fn read(&mut self, bytes: &[u8], last: bool) -> Shape {
        self.count = 0;
        self.doubled = 0;
        let mut position = 0;
        loop {
            let begin = position;
            let (text_begin, text_end) = match bytes.get(position) {
                Some(b'"') => {
                    let Some(close) = self.close(bytes, position + 1) else {
                        // A cut record keeps what there is of its last field.
                        self.put(begin + 1, bytes.len());
                        return Shape::Open;
                    };
                    position = close + 1;
                    (begin + 1, close)
                }
                Some(b',') => (begin, begin),
                _ => {
                    position += bare_bytes(&bytes[position..]);
                    (begin, position)
                }
            };
            match bytes.get(position) {
                Some(b',') if self.count < COLUMNS_LIMIT => {
                    self.put(text_begin, text_end);
                    position += 1;
                }
                Some(b'\n') => {
                    self.put(text_begin, text_end);
                    return Shape::Whole(position + 1);
                }
                Some(b'\r') if bytes.get(position + 1) == Some(&b'\n') => {
                    self.put(text_begin, text_end);
                    return Shape::Whole(position + 2);
                }
                None => {
                    self.put(text_begin, text_end);
                    return if last {
                        Shape::Whole(position)
                    } else {
                        Shape::Open
                    };
                }
                Some(_) => return Shape::Broken,
            }
        }
    }

    /// Returns the position of the quote that closes the field.
    #[inline]
    fn close(&mut self, bytes: &[u8], mut position: usize) -> Option<usize> {
        loop {
            position += find(&bytes[position..], b'"', b'"')?;
            if bytes.get(position + 1) != Some(&b'"') {
                return Some(position);
            }
            if self.count < COLUMNS_MAX {
                self.doubled |= 1 << self.count;
            }
            position += 2;
        }
    }

    #[inline]
    fn put(&mut self, begin: usize, end: usize) {
        if let Some(bounds) = self.bounds.get_mut(self.count) {
            // Positions are below RECORD_BYTES_MAX.
            *bounds = (begin as u32, end as u32);
        }
        self.count += 1;
    }

    /// Tells whether the first fields of a record whose end is missing do not speak against it.
    fn may_be_record(&self, bytes: &[u8]) -> bool {
        begins(bytes) && (self.count <= 4 || self.of(bytes, 3).iter().all(u8::is_ascii_digit))
    }

    /// Tells whether the fields are those of csvlog.
    #[inline]
    fn is_record(&self, bytes: &[u8]) -> bool {
        matches!(self.count, 23 | 24 | 26..)
            && self.may_be_record(bytes)
            && field::session_started(self.of(bytes, 5)).is_some()
            && !self.of(bytes, 11).is_empty()
            && self.of(bytes, 12).len() == 5
    }
}

/// Returns how many bytes a field without quotes has before what ends it, eight at a time; at most [`BARE_BYTES_MAX`].
#[inline]
fn bare_bytes(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    let text = &text[..text.len().min(BARE_BYTES_MAX)];
    let (words, rest) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The lowest byte that is zero has its high bit set; higher ones may err, and do not matter.
        let zeros = |byte: u8| {
            let difference = word ^ (ONES * u64::from(byte));
            difference.wrapping_sub(ONES) & !difference
        };
        let ends = (zeros(b',') | zeros(b'\n') | zeros(b'"')) & HIGHS;
        if ends != 0 {
            return index * 8 + (ends.trailing_zeros() / 8) as usize;
        }
    }
    let is_text = |byte: &&u8| !matches!(byte, b',' | b'\n' | b'"');
    words.len() * 8 + rest.iter().take_while(is_text).count()
}

/// Tells whether the bytes look like the first column.
#[inline]
pub(crate) fn begins(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [
            b'0'..=b'9',
            _,
            _,
            _,
            b'-',
            _,
            _,
            b'-',
            _,
            _,
            b' ',
            _,
            _,
            b':',
            _,
            _,
            b':',
            ..
        ]
    )
}

fn is_blank(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

/// Undoes the doubling of quotes.
fn undouble(mut text: &[u8], output: &mut Vec<u8>) {
    while let Some(found) = memchr(b'"', text) {
        output.extend_from_slice(&text[..=found]);
        text = text.get(found + 2..).unwrap_or_default();
    }
    output.extend_from_slice(text);
}

/// Proves by reading on that a record begins here; `whole` says that nothing follows the bytes.
fn prove(bytes: &[u8], whole: bool) -> Proof {
    let mut fields = Fields::default();
    let mut position = 0;
    for _ in 0..PROOF_RECORDS {
        let rest = &bytes[position..bytes.len().min(position + RECORD_BYTES_MAX)];
        if rest.is_empty() {
            return if whole && position > 0 {
                Proof::Yes
            } else {
                Proof::Maybe
            };
        }
        match fields.read(rest, whole) {
            Shape::Whole(length) if fields.is_record(rest) => position += length,
            Shape::Open if fields.may_be_record(rest) => return Proof::Maybe,
            // More bytes must not prove what fewer disproved.
            Shape::Open if !whole && rest.len() < BEGINNING_BYTES => return Proof::Maybe,
            // The record after a whole one may be torn as well.
            _ if position > 0 && begins(rest) => return Proof::Yes,
            _ => return Proof::No,
        }
    }
    Proof::Yes
}

/// Returns where a torn place ends, from position `first` on, and whether a record begins there; none when more bytes must tell.
fn torn_end(bytes: &[u8], first: usize, end: bool) -> Option<(usize, bool)> {
    let window = &bytes[..bytes.len().min(RECORD_BYTES_MAX)];
    let is_all = end && window.len() == bytes.len();
    let is_full = is_all || window.len() == RECORD_BYTES_MAX;
    for dash in memchr::memchr_iter(b'-', window) {
        let Some(candidate) = dash.checked_sub(4).filter(|candidate| *candidate >= first) else {
            continue;
        };
        if !begins(&window[candidate..]) || !crate::time::begins(&window[candidate..]) {
            continue;
        }
        match prove(&window[candidate..], is_all) {
            Proof::Yes => return Some((candidate, true)),
            Proof::Maybe if is_full => return Some((candidate, true)),
            Proof::Maybe => return None,
            Proof::No => {}
        }
    }
    // A beginning that the window cuts through must stay whole.
    let kept = if window.len() < RECORD_BYTES_MAX {
        0
    } else {
        BEGINNING_BYTES
    };
    is_full.then_some((window.len() - kept, false))
}
