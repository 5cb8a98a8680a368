//! What is wrong with the log itself: forged lines, raw lines, bytes that are no log, and holes in the line numbers of sessions.

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use super::table::{Table, top};
use super::{Event, Options};
use crate::extract::printable;
use crate::record::{Odd, Origin};
use crate::report;

/// Bytes of a line that are kept.
const LINE_BYTES_MAX: usize = 160;

/// Most beginnings of lines that are told apart.
const LINES_MAX: usize = 1_000;

/// Most sessions whose line numbers are followed; the longest silent half is forgotten when there are more.
const SESSIONS_MAX: usize = 100_000;

/// Most holes that are kept, the largest.
const GAPS_MAX: usize = 1_000;

/// What is wrong with the log itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Integrity {
    forged: Table<u64, LINES_MAX>,
    raw: Table<u64, LINES_MAX>,
    malformed: Table<u64, LINES_MAX>,
    cut: u64,
    timeless: u64,
    /// Seconds of the first record that has a time.
    begins: Option<i64>,
    sessions: HashMap<u64, Session, FixedState>,
    turn: u64,
    forgot: bool,
    gaps: Gaps,
}

/// The line numbers of a session in a part of a log.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Session {
    /// Number of its first line, and its time; none once it was compared with what was before.
    first: Option<(u32, Option<i64>)>,
    /// The number that should come next.
    next: u32,
    turn: u64,
}

/// The largest holes. The order is that of lines, time and process, so which stay does not depend on the split.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Gaps {
    largest: BTreeSet<(u64, Option<i64>, u32)>,
    total: u64,
}

impl Gaps {
    fn add(&mut self, pid: u32, at: Option<i64>, lines: u64) {
        self.total += 1;
        self.keep((lines, at, pid));
    }

    fn keep(&mut self, gap: (u64, Option<i64>, u32)) {
        self.largest.insert(gap);
        if self.largest.len() > GAPS_MAX {
            self.largest.pop_first();
        }
    }

    fn absorb(&mut self, later: Gaps) {
        self.total += later.total;
        for gap in later.largest {
            self.keep(gap);
        }
    }
}

impl Integrity {
    /// Adds one record.
    pub(crate) fn take(&mut self, event: &Event<'_>) {
        let record = event.record;
        self.cut += u64::from(record.cut);
        match record.at {
            None => self.timeless += 1,
            Some(at) if self.begins.is_none() => self.begins = Some(at.div_euclid(1_000_000)),
            Some(_) => {}
        }
        if record.line == 0 || record.pid == 0 || record.origin != Origin::Server {
            return;
        }
        self.turn += 1;
        let next = record.line.saturating_add(record.lines.max(1));
        let key = key(record.pid, record.session_started);
        if let Some(session) = self.sessions.get_mut(&key) {
            if record.line > session.next {
                let lines = u64::from(record.line - session.next);
                self.gaps.add(record.pid, record.at, lines);
            }
            session.next = next;
            session.turn = self.turn;
            return;
        }
        self.sessions.insert(
            key,
            Session {
                first: Some((record.line, record.at)),
                next,
                turn: self.turn,
            },
        );
        self.shrink();
    }

    fn shrink(&mut self) {
        if self.sessions.len() <= SESSIONS_MAX {
            return;
        }
        self.forgot = true;
        let mut turns: Vec<u64> = self.sessions.values().map(|session| session.turn).collect();
        let middle = turns.len() / 2;
        let (_, &mut middle, _) = turns.select_nth_unstable(middle);
        self.sessions.retain(|_, session| session.turn >= middle);
    }

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, later: Integrity) {
        self.forged.absorb(later.forged);
        self.raw.absorb(later.raw);
        self.malformed.absorb(later.malformed);
        self.cut += later.cut;
        self.timeless += later.timeless;
        self.begins = self.begins.or(later.begins);
        self.gaps.absorb(later.gaps);
        self.forgot |= later.forgot;
        let base = self.turn;
        self.turn += later.turn;
        for (key, mut session) in later.sessions {
            session.turn += base;
            match self.sessions.get_mut(&key) {
                Some(earlier) => {
                    if let Some((line, at)) = session.first
                        && line > earlier.next
                    {
                        self.gaps.add(pid(key), at, u64::from(line - earlier.next));
                    }
                    earlier.next = session.next;
                    earlier.turn = session.turn;
                }
                None => {
                    self.sessions.insert(key, session);
                }
            }
        }
        self.shrink();
    }

    /// Adds what is no record.
    pub(crate) fn take_odd(&mut self, odd: &Odd<'_>) {
        let (table, text) = match odd {
            Odd::Raw(text) => (&mut self.raw, text),
            Odd::Forged(text) => (&mut self.forged, text),
            Odd::Malformed(text) => (&mut self.malformed, text),
        };
        let line = memchr::memchr(b'\n', text).map_or(*text, |end| &text[..end]);
        let line = printable(line, LINE_BYTES_MAX);
        // An empty line is one too, and has no other name.
        table.change(line.as_bytes(), |count| *count += 1);
    }

    /// Joins what belongs together, in order: sessions whose first number is not 1 although they began after the log did.
    pub(crate) fn settle(&mut self) {
        let Integrity {
            sessions,
            gaps,
            begins,
            forgot,
            ..
        } = self;
        for (&key, session) in sessions.iter_mut() {
            let Some((line, at)) = session.first.take() else {
                continue;
            };
            let started = key & u64::from(u32::MAX);
            let after_beginning =
                begins.is_some_and(|begins| i64::try_from(started).is_ok_and(|at| at > begins));
            // A session that was forgotten and came back has a first number too.
            if line > 1 && after_beginning && !*forgot {
                gaps.add(pid(key), at, u64::from(line - 1));
            }
        }
    }

    /// Returns its part of the report.
    pub(crate) fn report(&self, options: &Options) -> report::Integrity {
        let lines = |table: &Table<u64, LINES_MAX>| {
            let mut lines: Vec<report::OddLine> = table
                .iter()
                .map(|(text, &count)| report::OddLine {
                    text: text.to_owned(),
                    count,
                })
                .collect();
            lines.sort_by(|left, right| left.text.cmp(&right.text));
            top(lines, options.items, table.complete(), |line| line.count)
        };
        let gaps = self.gaps.largest.iter().rev().take(options.items);
        report::Integrity {
            forged: lines(&self.forged),
            raw: lines(&self.raw),
            malformed: lines(&self.malformed),
            gaps: report::Top {
                items: gaps
                    .map(|&(lines, at, pid)| report::Gap { pid, at, lines })
                    .collect(),
                total: self.gaps.total,
                complete: !self.forgot && self.gaps.total <= GAPS_MAX as u64,
            },
            cut: self.cut,
            timeless: self.timeless,
        }
    }
}

fn key(pid: u32, started: u32) -> u64 {
    u64::from(pid) << 32 | u64::from(started)
}

fn pid(key: u64) -> u32 {
    u32::try_from(key >> 32).expect("32 bits are left")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::KindId;
    use crate::record::Record;

    fn take(integrity: &mut Integrity, pid: u32, started: u32, line: u32, lines: u32) {
        let record = Record {
            at: Some(i64::from(started.max(100) + line) * 1_000_000),
            pid,
            session_started: started,
            line,
            lines,
            ..Record::default()
        };
        integrity.take(&Event {
            record: &record,
            kind: KindId(0),
            shape: None,
        });
    }

    fn gaps(mut integrity: Integrity) -> Vec<(u32, u64)> {
        integrity.settle();
        let report = integrity.report(&Options::default());
        let items = report.gaps.items.iter();
        items.map(|gap| (gap.pid, gap.lines)).collect()
    }

    #[test]
    fn holes_are_found_within_and_between_parts() {
        let (mut first, mut second) = (Integrity::default(), Integrity::default());
        take(&mut first, 1, 100, 1, 3);
        take(&mut first, 1, 100, 4, 1);
        take(&mut first, 1, 100, 7, 1);
        take(&mut second, 1, 100, 9, 1);
        take(&mut second, 1, 100, 10, 1);
        first.absorb(second);
        assert_eq!(gaps(first), [(1, 2), (1, 1)]);
    }

    #[test]
    fn a_log_may_begin_in_the_middle_of_a_session() {
        let mut integrity = Integrity::default();
        take(&mut integrity, 1, 50, 900, 1);
        take(&mut integrity, 2, 2_000, 4, 1);
        take(&mut integrity, 3, 2_000, 1, 1);
        assert_eq!(
            gaps(integrity),
            [(2, 3)],
            "only the one that began after the log"
        );
    }

    #[test]
    fn a_process_number_that_comes_again_is_no_hole() {
        let mut integrity = Integrity::default();
        take(&mut integrity, 1, 0, 1, 1);
        take(&mut integrity, 1, 0, 2, 1);
        take(&mut integrity, 1, 0, 1, 1);
        take(&mut integrity, 1, 0, 2, 1);
        take(&mut integrity, 1, 0, 0, 1);
        assert_eq!(gaps(integrity), []);
    }

    #[test]
    fn many_sessions_are_bounded() {
        let mut integrity = Integrity::default();
        for pid in 1..=u32::try_from(SESSIONS_MAX).expect("it fits") + 5 {
            take(&mut integrity, pid, 10, 1, 1);
        }
        assert!(integrity.sessions.len() <= SESSIONS_MAX);
        assert!(!integrity.report(&Options::default()).gaps.complete);
    }

    #[test]
    fn odd_lines_are_counted_by_their_beginning() {
        let mut integrity = Integrity::default();
        let long = "x".repeat(500);
        for odd in [
            Odd::Raw(b"cp: cannot stat\nmore"),
            Odd::Raw(b"cp: cannot stat"),
            Odd::Raw(b""),
            Odd::Forged(b"2026-01-01 PANIC:\x1b forged"),
            Odd::Malformed(long.as_bytes()),
        ] {
            integrity.take_odd(&odd);
        }
        let report = integrity.report(&Options::default());
        assert_eq!(report.raw.total, 2);
        assert_eq!(
            (report.raw.items[0].text.as_str(), report.raw.items[0].count),
            ("cp: cannot stat", 2)
        );
        assert_eq!(report.forged.items[0].text, "2026-01-01 PANIC:  forged");
        assert_eq!(report.malformed.items[0].text.len(), LINE_BYTES_MAX);
    }
}
