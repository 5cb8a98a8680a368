//! The walk over formats that have one record on each line.

use memchr::memchr;

use super::RECORD_BYTES_MAX;
use crate::record::Sink;

/// Takes lines.
pub(crate) trait Lines {
    /// Takes one line without its end; `cut` says that it was longer than a scanner keeps.
    fn take(&mut self, line: &[u8], cut: bool, offset: u64, sink: &mut dyn Sink);
}

/// A line among bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Its text, without its end.
    pub(crate) text: &'a [u8],
    /// Whether it was longer than a scanner keeps.
    pub(crate) cut: bool,
    /// Where the next begins; none when the end of a cut line is not among the bytes.
    pub(crate) next: Option<usize>,
}

/// Returns the line at a position; none when it is not whole.
#[inline]
pub(crate) fn line(bytes: &[u8], position: usize, end: bool) -> Option<Line<'_>> {
    let window = &bytes[position..bytes.len().min(position + RECORD_BYTES_MAX)];
    if let Some(newline) = memchr(b'\n', window) {
        let text = &window[..newline];
        return Some(Line {
            text: text.strip_suffix(b"\r").unwrap_or(text),
            cut: false,
            next: Some(position + newline + 1),
        });
    }
    if window.len() == RECORD_BYTES_MAX {
        let rest = position + RECORD_BYTES_MAX;
        return Some(Line {
            text: window,
            cut: true,
            next: memchr(b'\n', &bytes[rest..]).map(|newline| rest + newline + 1),
        });
    }
    (end && !window.is_empty()).then_some(Line {
        text: window,
        cut: false,
        next: Some(bytes.len()),
    })
}

/// Hands the lines over that begin before `until` and are whole, and returns how many bytes are done; `skipping` is whether the rest of a
/// cut line is being skipped.
pub(crate) fn scan(
    lines: &mut impl Lines,
    skipping: &mut bool,
    bytes: &[u8],
    base: u64,
    until: usize,
    end: bool,
    sink: &mut dyn Sink,
) -> usize {
    let mut position = 0;
    if *skipping {
        let Some(newline) = memchr(b'\n', bytes) else {
            return bytes.len();
        };
        *skipping = false;
        position = newline + 1;
    }
    while position < until {
        let Some(line) = line(bytes, position, end) else {
            return position;
        };
        lines.take(line.text, line.cut, base + position as u64, sink);
        let Some(next) = line.next else {
            *skipping = true;
            return bytes.len();
        };
        position = next;
    }
    position
}
