//! syslog: heads of RFC 3164, RFC 5424 and Heroku's logplex, the server's own `[12-3]` counters, escapes such as `#011`.

use std::borrow::Cow;
use std::cell::Cell;

use foldhash::fast::FixedState;
use memchr::memchr;
use std::hash::BuildHasher;

use super::lines;
use super::parts::{Assembly, Entries, Entry, Piece};
use super::{Remarks, Scanner, field};
use crate::record::{Odd, Sink};
use crate::time::{self, Zone};

/// Seconds that a log may be ahead of the instant that it is assumed to end at.
const AHEAD_SECONDS: i64 = 86_400;

/// What a head of RFC 3164 leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assumed {
    /// About when the log ends (its file's time of change), in seconds since 1970-01-01 UTC: a time without a year is of the twelve
    /// months before it.
    pub end: i64,
    /// Seconds east of UTC of the times.
    pub offset: i32,
    /// Whether the caller knows that offset.
    pub certain: bool,
}

/// Reads the server's lines in one syslog; those of other programs are skipped.
pub struct Syslog {
    heads: Heads,
    assembly: Assembly,
}

/// Finds lines and reads their heads.
#[derive(Clone, Debug)]
struct Heads {
    assumed: Assumed,
    /// Whether a time left open what is assumed.
    assumed_any: Cell<bool>,
}

/// The head of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    pub(crate) at: Option<i64>,
    pub(crate) host: &'a [u8],
    pub(crate) program: &'a [u8],
    pub(crate) pid: u32,
    pub(crate) text: &'a [u8],
    pub(crate) sort: Sort,
    /// Whether its time left open what is assumed.
    pub(crate) assumed: bool,
}

/// Which head it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    #[default]
    Rfc3164,
    Rfc5424,
    Heroku,
}

impl Syslog {
    /// Reads records whose text `inner` understands; without it they have no `log_line_prefix`.
    pub fn new(inner: Option<Box<dyn Scanner>>, assumed: Assumed) -> Syslog {
        Syslog {
            heads: Heads {
                assumed,
                assumed_any: Cell::new(false),
            },
            assembly: Assembly::new(inner),
        }
    }
}

impl Scanner for Syslog {
    fn sync(&self, bytes: &[u8]) -> Option<usize> {
        if head(bytes, self.heads.assumed).is_some() {
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
        self.assembly
            .scan(&self.heads, bytes, base, until, end, sink)
    }

    fn splittable(&self) -> bool {
        false
    }

    fn remarks(&self) -> Remarks {
        let mut remarks = self.assembly.remarks();
        if self.heads.assumed_any.get() && !self.assembly.has_times() {
            remarks.zones.push(Zone {
                name: String::new(),
                offset_seconds: self.heads.assumed.offset,
                certain: self.heads.assumed.certain,
            });
        }
        remarks
    }
}

impl Entries for Heads {
    fn next<'b>(&self, bytes: &'b [u8], end: bool) -> Option<(usize, Entry<'b>)> {
        let line = lines::line(bytes, 0, end)?;
        // The rest of a line that is too long is looked at as a line of its own.
        let length = line.next.filter(|_| !line.cut).unwrap_or(line.text.len());
        Some((length, self.entry(line.text)))
    }
}

impl Heads {
    fn entry<'b>(&self, line: &'b [u8]) -> Entry<'b> {
        if line.is_empty() {
            return Entry::Nothing;
        }
        let Some(head) = head(line, self.assumed) else {
            return Entry::Odd(if line.contains(&0) {
                Odd::Malformed(line)
            } else {
                Odd::Raw(line)
            });
        };
        let mut text = head.text;
        if head.sort == Sort::Heroku {
            text = without_colour(text);
        }
        let (counter, text) = counter(text);
        if counter.is_none() && !is_server(head.program) {
            return Entry::Foreign;
        }
        if head.assumed {
            self.assumed_any.set(true);
        }
        Entry::Piece(Piece {
            source: source(head.host, head.program),
            pid: head.pid,
            at: head.at,
            counter,
            text: unescape(text),
        })
    }
}

/// Tells whether a program is the server by its name.
pub(crate) fn is_server(program: &[u8]) -> bool {
    memchr::memmem::find(program, b"postgres").is_some()
        || memchr::memmem::find(program, b"pgsql").is_some()
}

/// Returns what tells the clusters of one log apart.
pub(crate) fn source(host: &[u8], program: &[u8]) -> u64 {
    FixedState::default().hash_one((host, program))
}

/// Takes the server's counters off the beginning of a text.
pub(crate) fn counter(text: &[u8]) -> (Option<(u64, u64)>, &[u8]) {
    let parse = || {
        // What rsyslog writes as RFC 5424 has the space after the tag of RFC 3164 in the message too.
        let rest = text.strip_prefix(b" ").unwrap_or(text);
        let rest = rest.strip_prefix(b"[")?;
        let (number, rest) = digits(rest)?;
        let rest = rest.strip_prefix(b"-")?;
        let (line, rest) = digits(rest)?;
        let rest = rest.strip_prefix(b"]")?;
        Some(((number, line), rest.strip_prefix(b" ").unwrap_or(rest)))
    };
    match parse() {
        Some((counter, rest)) => (Some(counter), rest),
        None => (None, text),
    }
}

fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&text[..length]).ok()?.parse().ok()?;
    Some((number, &text[length..]))
}

/// Reads the head of a line.
pub(crate) fn head(line: &[u8], assumed: Assumed) -> Option<Head<'_>> {
    let line = without_length(line);
    let (has_priority, rest) = without_priority(line);
    if has_priority && let Some(rest) = rest.strip_prefix(b"1 ") {
        return head_5424(rest);
    }
    let local = local_time(rest, assumed);
    let is_local = local.is_some();
    let (at, rest) = match local {
        Some(found) => found,
        None => instant(rest)?,
    };
    let (word, after) = word(rest)?;
    if let Some((program, pid)) = tag(word) {
        // No host: Heroku's own listing, or a program that logs for one host only.
        let pid_of_dyno = program_pid(pid);
        let sort = if pid_of_dyno.is_some() {
            Sort::Heroku
        } else {
            Sort::Rfc3164
        };
        return Some(Head {
            at,
            host: b"",
            program,
            pid: pid_of_dyno.unwrap_or_else(|| field::unsigned(pid)),
            text: after,
            sort,
            assumed: is_local,
        });
    }
    let colon = memchr(b':', after)?;
    let (name, text) = (&after[..=colon], &after[colon + 1..]);
    if name.contains(&b' ') {
        return None;
    }
    let (program, pid) = tag(name).unwrap_or((&name[..colon], b""));
    Some(Head {
        at,
        host: word,
        program,
        pid: field::unsigned(pid),
        text: text.strip_prefix(b" ").unwrap_or(text),
        sort: Sort::Rfc3164,
        assumed: is_local,
    })
}

/// Reads what follows `<134>1 `: time, host, program, process, message id, structured data, text.
fn head_5424(rest: &[u8]) -> Option<Head<'_>> {
    let (at, rest) = instant(rest)?;
    let (host, rest) = word(rest)?;
    let (program, rest) = word(rest)?;
    let (process, rest) = word(rest)?;
    let (_, rest) = word(rest).unwrap_or((rest, b""));
    if let Some(pid) = program_pid(process) {
        return Some(Head {
            at,
            host,
            program: process
                .split(|byte| *byte == b'.')
                .next()
                .unwrap_or(program),
            pid,
            text: rest,
            sort: Sort::Heroku,
            assumed: false,
        });
    }
    let text = without_data(rest)?;
    Some(Head {
        at,
        host,
        program,
        pid: field::unsigned(process),
        text: text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text),
        sort: Sort::Rfc5424,
        assumed: false,
    })
}

/// Takes structured data off: `-`, or elements in brackets.
fn without_data(rest: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = rest.strip_prefix(b"-") {
        return Some(rest.strip_prefix(b" ").unwrap_or(rest));
    }
    let mut position = 0;
    let mut is_quoted = false;
    while let Some(byte) = rest.get(position) {
        match byte {
            b'\\' if is_quoted => position += 1,
            b'"' => is_quoted = !is_quoted,
            b']' if !is_quoted && rest.get(position + 1) != Some(&b'[') => {
                let text = &rest[position + 1..];
                return Some(text.strip_prefix(b" ").unwrap_or(text));
            }
            _ if position == 0 && *byte != b'[' => return None,
            _ => {}
        }
        position += 1;
    }
    None
}

/// Takes the length of a frame off, as syslog over TCP has it.
fn without_length(line: &[u8]) -> &[u8] {
    match digits(line) {
        Some((_, rest)) if rest.starts_with(b" <") => &rest[1..],
        _ => line,
    }
}

fn without_priority(line: &[u8]) -> (bool, &[u8]) {
    let parse = || {
        let (_, rest) = digits(line.strip_prefix(b"<")?)?;
        rest.strip_prefix(b">")
    };
    parse().map_or((false, line), |rest| (true, rest))
}

/// Takes a timestamp of RFC 3339 off.
fn instant(rest: &[u8]) -> Option<(Option<i64>, &[u8])> {
    let (text, rest) = word(rest)?;
    if text == b"-" {
        return Some((None, rest));
    }
    Some((Some(time::sure_instant(text)?), rest))
}

/// Takes `Nov 22 04:23:06 ` off.
fn local_time(rest: &[u8], assumed: Assumed) -> Option<(Option<i64>, &[u8])> {
    let (month, rest) = rest.split_at_checked(3)?;
    let month = time::month(month)?;
    let (day, rest) = digits(rest.strip_prefix(b" ")?.trim_ascii_start())?;
    let (clock, rest) = rest.strip_prefix(b" ")?.split_at_checked(8)?;
    let seconds = time::seconds_of_day(clock)?;
    let day = i64::try_from(day).ok()?;
    if !(1..=31).contains(&day) {
        return None;
    }
    let of_year =
        |year| time::civil_seconds(year, month, day) + seconds - i64::from(assumed.offset);
    // Days of 365.2425 on average; off by one at most, which the choice below sets right.
    let year = 1970 + assumed.end.div_euclid(31_556_952);
    let latest = assumed.end + AHEAD_SECONDS;
    let at = [year + 1, year, year - 1]
        .into_iter()
        .map(of_year)
        .find(|at| *at <= latest)?;
    let rest = rest.strip_prefix(b" ")?;
    Some((Some(at * 1_000_000), rest))
}

fn word(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = memchr(b' ', rest)?;
    (space > 0).then(|| (&rest[..space], &rest[space + 1..]))
}

/// Returns program and process of `postgres[123]:`.
fn tag(word: &[u8]) -> Option<(&[u8], &[u8])> {
    let word = word.strip_suffix(b"]:")?;
    let open = memchr(b'[', word)?;
    Some((&word[..open], &word[open + 1..]))
}

/// Returns the number of `postgres.123`.
fn program_pid(process: &[u8]) -> Option<u32> {
    let number = process.strip_prefix(b"postgres.")?;
    (!number.is_empty()).then(|| field::unsigned(number))
}

/// Takes `[RED] `, the name of a Heroku database, off.
fn without_colour(text: &[u8]) -> &[u8] {
    let parse = || {
        let rest = text.strip_prefix(b"[")?;
        let close = memchr(b']', rest)?;
        let is_name = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'0'..=b'9' | b'_');
        let (name, rest) = (&rest[..close], &rest[close + 1..]);
        let is_colour = name.first()?.is_ascii_uppercase() && name.iter().all(is_name);
        is_colour.then(|| rest.trim_ascii_start())
    };
    parse().unwrap_or(text)
}

/// Decodes `#011` and the like: control characters, and bytes that are not ASCII.
fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    let code = |at: usize| {
        let &[high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7'] =
            text.get(at + 1..at + 4)?
        else {
            return None;
        };
        let code = (high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0');
        (!(b' '..0x7f).contains(&code)).then_some(code)
    };
    let mut output = Vec::new();
    let mut kept = 0;
    for at in memchr::memchr_iter(b'#', text) {
        if let Some(code) = code(at) {
            output.extend_from_slice(&text[kept..at]);
            output.push(code);
            kept = at + 4;
        }
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    output.extend_from_slice(&text[kept..]);
    Cow::Owned(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASSUMED: Assumed = Assumed {
        end: 1_795_296_186,
        offset: 7 * 3600,
        certain: true,
    };

    #[test]
    fn heads_of_all_sorts() {
        for (line, expected) in [
            (
                "Nov 22 04:23:06 db postgres[7]: [5-1] x",
                (1_795_296_186, "db", "postgres", 7, "[5-1] x"),
            ),
            (
                "<134>Nov  2 04:23:06 db pg-main[7]: x",
                (1_793_568_186, "db", "pg-main", 7, "x"),
            ),
            (
                "Dec 22 04:23:06 db cron: x",
                (1_766_352_186, "db", "cron", 0, "x"),
            ),
            (
                "2026-11-22T04:23:06+07:00 db postgres[7]: x",
                (1_795_296_186, "db", "postgres", 7, "x"),
            ),
            (
                "<134>1 2026-11-21T21:23:06Z db postgres 7 - - x",
                (1_795_296_186, "db", "postgres", 7, "x"),
            ),
            (
                "99 <134>1 2026-11-21T21:23:06Z db postgres 7 id [a b=\"]\\\"\"][c] x",
                (1_795_296_186, "db", "postgres", 7, "x"),
            ),
            (
                "<190>1 2026-11-21T21:23:06+00:00 host app postgres.7 - [RED] x",
                (1_795_296_186, "host", "postgres", 7, "[RED] x"),
            ),
            (
                "2026-11-21T21:23:06+00:00 app[postgres.7]: [RED] x",
                (1_795_296_186, "", "app", 7, "[RED] x"),
            ),
        ] {
            let head = head(line.as_bytes(), ASSUMED).unwrap();
            let text = |bytes| std::str::from_utf8(bytes).unwrap();
            let found = (
                head.at.unwrap() / 1_000_000,
                text(head.host),
                text(head.program),
                head.pid,
                text(head.text),
            );
            assert_eq!(found, expected, "{line}");
        }
        assert_eq!(head(b"ERROR:  x", ASSUMED), None);
    }

    #[test]
    fn escapes_of_control_characters_only() {
        assert_eq!(&*unescape(b"#011a#303#244 #101 #9"), b"\ta\xc3\xa4 #101 #9");
    }
}
