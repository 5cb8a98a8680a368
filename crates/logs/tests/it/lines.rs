//! A small format for tests of reading: a record is a line that begins with a number of seconds, and the lines after it that begin with a
//! tab.

use std::path::Path;

use pawang_logs::Error;
use pawang_logs::engine::{Chosen, FileHead, Part};
use pawang_logs::format::{RECORD_BYTES_MAX, Scanner};
use pawang_logs::record::{Odd, Record, Sink};
use serde::{Deserialize, Serialize};

/// The scanner.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lines {
    /// It takes any line for a record when it begins in the middle, which is often wrong.
    pub(crate) guesses: bool,
    /// Its records may not be scanned apart.
    pub(crate) whole: bool,
    pub(crate) skipping: bool,
}

impl Lines {
    /// Returns the end of the record at the front, when it can be told.
    fn end_of(bytes: &[u8], end: bool) -> Option<usize> {
        let mut from = 0;
        while let Some(found) = memchr::memchr(b'\n', &bytes[from..]) {
            from += found + 1;
            match bytes.get(from) {
                Some(b'\t') => {}
                Some(_) => return Some(from),
                None => break,
            }
        }
        end.then_some(bytes.len())
    }

    fn record(bytes: &[u8], offset: u64, sink: &mut dyn Sink) {
        let digits = bytes
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits == 0 {
            return sink.odd(offset, Odd::Raw(bytes));
        }
        let seconds: i64 = str::from_utf8(&bytes[..digits]).unwrap().parse().unwrap();
        let record = Record {
            at: Some(seconds * 1_000_000),
            message: &bytes[digits..],
            cut: bytes.len() >= RECORD_BYTES_MAX,
            ..Record::default()
        };
        sink.record(offset, &record);
    }
}

impl Scanner for Lines {
    fn sync(&self, bytes: &[u8]) -> Option<usize> {
        let starts = |at: &usize| {
            bytes
                .get(*at)
                .is_some_and(|&byte| self.guesses || byte != b'\t')
        };
        memchr::memchr_iter(b'\n', bytes)
            .map(|at| at + 1)
            .find(starts)
    }

    fn scan(
        &mut self,
        bytes: &[u8],
        base: u64,
        until: usize,
        end: bool,
        sink: &mut dyn Sink,
    ) -> usize {
        let mut done = 0;
        if self.skipping {
            match Lines::end_of(bytes, end) {
                Some(at) => {
                    self.skipping = false;
                    done = at;
                }
                // A line end may be the record's last.
                None => return bytes.len() - usize::from(bytes.ends_with(b"\n")),
            }
        }
        while done < until {
            let rest = &bytes[done..];
            match Lines::end_of(rest, end) {
                Some(at) => {
                    Lines::record(&rest[..at.min(RECORD_BYTES_MAX)], base + done as u64, sink);
                    done += at;
                }
                None if rest.len() > RECORD_BYTES_MAX => {
                    Lines::record(&rest[..RECORD_BYTES_MAX], base + done as u64, sink);
                    self.skipping = true;
                    return bytes.len() - usize::from(bytes.ends_with(b"\n"));
                }
                None => break,
            }
        }
        done
    }

    fn splittable(&self) -> bool {
        !self.whole
    }
}

/// Every record: where it began, when it was, and what it said (short, or a hash of it).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) records: Vec<(i64, String)>,
    pub(crate) odd: Vec<String>,
    pub(crate) since: Option<i64>,
}

fn short(bytes: &[u8]) -> String {
    if bytes.len() < 100 {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let sum = bytes.iter().fold(0_u64, |sum, &byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    format!("{} bytes, {sum:x}", bytes.len())
}

impl Sink for Seen {
    fn record(&mut self, offset: u64, record: &Record<'_>) {
        let text = format!(
            "{offset}{}{}",
            short(record.message),
            if record.cut { " cut" } else { "" }
        );
        self.records.push((record.at.unwrap(), text));
    }

    fn odd(&mut self, offset: u64, odd: Odd<'_>) {
        let Odd::Raw(bytes) = odd else {
            unreachable!("the scanner finds no others")
        };
        self.odd.push(format!("{offset} {}", short(bytes)));
    }
}

impl Part for Seen {
    fn fresh(&self) -> Seen {
        Seen {
            since: self.since,
            ..Seen::default()
        }
    }

    fn absorb(&mut self, later: Seen) {
        self.records.extend(later.records);
        self.odd.extend(later.odd);
    }

    fn settle(&mut self) {}

    fn since(&self) -> Option<i64> {
        self.since
    }
}

/// Chooses the scanner for anything that begins with a digit or a letter.
pub(crate) fn choose(head: &FileHead<'_>) -> Result<Chosen, Error> {
    choose_as(head, Lines::default())
}

/// Chooses a given scanner.
pub(crate) fn choose_as(head: &FileHead<'_>, scanner: Lines) -> Result<Chosen, Error> {
    if head.bytes.contains(&0) {
        return Err(Error::Unrecognised {
            name: head.name.to_owned(),
            why: "it has NUL bytes".to_owned(),
        });
    }
    Ok(Chosen {
        make: Box::new(move || Box::new(scanner)),
        format: "lines".to_owned(),
        prefixes: vec!["%s ".to_owned()],
        match_rate: None,
    })
}

/// A small generator of numbers, the same in each run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Returns a number below `most`.
    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// Returns a log of so many records that begins at a time in seconds.
pub(crate) fn log(random: &mut Random, records: u64, start: u64) -> Vec<u8> {
    let mut text = Vec::new();
    for number in 0..records {
        text.extend_from_slice(format!("{} record {number} ", start + number).as_bytes());
        text.extend(std::iter::repeat_n(
            b'x',
            usize::try_from(random.below(120)).unwrap(),
        ));
        text.push(b'\n');
        for line in 0..random.below(4).saturating_sub(1) {
            text.extend_from_slice(format!("\t{line} goes on\n").as_bytes());
        }
    }
    text
}

/// Writes a file.
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}
