//! What a scanner found, kept for comparison, and the ways to feed a scanner.

use pawang_logs::format::Scanner;
use pawang_logs::record::{Odd, Record, Sink};

/// Something that a scanner found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A record.
    Record(u64, Box<Record<'static>>),
    /// No record: its sort and its bytes.
    Odd(u64, &'static str, Vec<u8>),
}

/// Keeps all that a scanner finds.
#[derive(Debug, Default)]
pub(crate) struct Keep(pub(crate) Vec<Found>);

fn kept(text: &[u8]) -> &'static [u8] {
    if text.is_empty() {
        return b"";
    }
    text.to_vec().leak()
}

impl Sink for Keep {
    fn record(&mut self, offset: u64, record: &Record<'_>) {
        let record = Record {
            user: kept(record.user),
            database: kept(record.database),
            application: kept(record.application),
            host: kept(record.host),
            backend: kept(record.backend),
            message: kept(record.message),
            detail: kept(record.detail),
            hint: kept(record.hint),
            context: kept(record.context),
            statement: kept(record.statement),
            internal_query: kept(record.internal_query),
            location: kept(record.location),
            ..*record
        };
        self.0.push(Found::Record(offset, Box::new(record)));
    }

    fn odd(&mut self, offset: u64, odd: Odd<'_>) {
        let (sort, bytes) = match odd {
            Odd::Raw(bytes) => ("raw", bytes),
            Odd::Forged(bytes) => ("forged", bytes),
            Odd::Malformed(bytes) => ("malformed", bytes),
        };
        self.0.push(Found::Odd(offset, sort, bytes.to_vec()));
    }
}

/// Scans all bytes at once.
pub(crate) fn whole(mut scanner: impl Scanner, bytes: &[u8]) -> Vec<Found> {
    let mut keep = Keep::default();
    let done = scanner.scan(bytes, 0, bytes.len(), true, &mut keep);
    assert_eq!(done, bytes.len());
    keep.0
}

/// Scans bytes that arrive in pieces, which end at the cuts.
pub(crate) fn pieces(mut scanner: impl Scanner, bytes: &[u8], cuts: &[usize]) -> Vec<Found> {
    let mut keep = Keep::default();
    let mut done = 0;
    let mut cuts = cuts.to_vec();
    cuts.sort_unstable();
    for cut in cuts {
        let piece = &bytes[done..cut.clamp(done, bytes.len())];
        done += scanner.scan(piece, done as u64, piece.len(), false, &mut keep);
    }
    let rest = &bytes[done..];
    let last = scanner.scan(rest, done as u64, rest.len(), true, &mut keep);
    assert_eq!(last, rest.len());
    keep.0
}

/// Scans with two scanners of which each owns one side of the cut; the second begins where it guesses, as threads do.
pub(crate) fn split<S: Scanner>(scanner: impl Fn() -> S, bytes: &[u8], cut: usize) -> Vec<Found> {
    let mut keep = Keep::default();
    let first = scanner().scan(bytes, 0, cut, true, &mut keep);
    let second = scanner();
    let begin = second
        .sync(&bytes[cut..])
        .map_or(bytes.len(), |sync| cut + sync);
    assert_eq!(first.max(cut), begin, "cut at {cut}");
    let mut second = second;
    let rest = &bytes[begin..];
    second.scan(rest, begin as u64, rest.len(), true, &mut keep);
    keep.0
}

/// Returns the records only.
pub(crate) fn records(found: &[Found]) -> Vec<&Record<'static>> {
    found
        .iter()
        .filter_map(|found| match found {
            Found::Record(_, record) => Some(&**record),
            Found::Odd(..) => None,
        })
        .collect()
}

/// Returns the sorts and texts of what is no record.
pub(crate) fn odds(found: &[Found]) -> Vec<(&'static str, String)> {
    found
        .iter()
        .filter_map(|found| match found {
            Found::Odd(_, sort, bytes) => Some((*sort, String::from_utf8_lossy(bytes).into())),
            Found::Record(..) => None,
        })
        .collect()
}
