//! What the records of a server log add up to: numbers per severity and per kind of event, with the last message of each.

use std::collections::BTreeMap;

use pawang_core::Level;
use pawang_logs::engine::Part;
use pawang_logs::kind::{KindId, classify, find};
use pawang_logs::language::Translator;
use pawang_logs::record::{Odd, Record, Sink};
use pawang_logs::render::without_secrets;
use pawang_logs::severity::Severity;

/// Characters kept of the last message.
const MESSAGE_MAX: usize = 300;
/// Bytes of a message that secrets are looked for in.
const MESSAGE_BYTES_MAX: usize = 4_096;
/// The kind of lines that pretend to be records.
pub(super) const FORGED: &str = "log-forgery-suspected";

/// Instants in microseconds since 1970-01-01 UTC from which records count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// From when records count at all.
    pub(super) since: i64,
    /// From when they count as recent.
    pub(super) recent: i64,
}

/// Records of one severity or one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) records: u64,
    pub(super) recent: u64,
    pub(super) fatals: u64,
    pub(super) panics: u64,
    pub(super) first_at: Option<i64>,
    pub(super) last_at: Option<i64>,
    message: Vec<u8>,
}

impl Seen {
    fn take(&mut self, at: Option<i64>, recent: bool, severity: Severity, message: &[u8]) {
        self.records += 1;
        self.recent += u64::from(recent);
        self.fatals += u64::from(severity == Severity::Fatal);
        self.panics += u64::from(severity == Severity::Panic);
        self.first_at = earlier(self.first_at, at);
        if at >= self.last_at {
            self.last_at = at;
            self.message.clear();
            let kept = message.len().min(MESSAGE_BYTES_MAX);
            self.message.extend_from_slice(&message[..kept]);
        }
    }

    fn absorb(&mut self, later: Seen) {
        self.records += later.records;
        self.recent += later.recent;
        self.fatals += later.fatals;
        self.panics += later.panics;
        self.first_at = earlier(self.first_at, later.first_at);
        if later.last_at >= self.last_at {
            self.last_at = later.last_at;
            self.message = later.message;
        }
    }

    /// Returns the last message in one line, without secrets.
    pub(super) fn last_message(&self) -> String {
        let message = String::from_utf8_lossy(&self.message);
        let line = |c: char| if c.is_control() { ' ' } else { c };
        let message = without_secrets(message.trim());
        message.chars().map(line).take(MESSAGE_MAX).collect()
    }
}

fn earlier(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The numbers of a part of the log.
#[derive(Clone, Debug)]
pub(super) struct Count {
    window: Window,
    /// By severity, of ERROR and worse.
    pub(super) severities: BTreeMap<Severity, Seen>,
    /// By kind, of those that are a warning or worse, or ended a session.
    pub(super) kinds: BTreeMap<KindId, Seen>,
    forged: KindId,
    unclassified: KindId,
    translator: Translator,
    /// Time of the last record: that of the lines after it, which have none.
    clock: Option<i64>,
    /// Lines before any record.
    early: Seen,
}

impl Count {
    pub(super) fn new(window: Window) -> Count {
        let known = |id| find(id).expect("the catalogue of kinds has it; the tests see to that");
        Count {
            window,
            severities: BTreeMap::new(),
            kinds: BTreeMap::new(),
            forged: known(FORGED),
            unclassified: known("unclassified"),
            translator: Translator::default(),
            clock: None,
            early: Seen::default(),
        }
    }

    /// Tells the kind of a record in any language.
    fn kind(&mut self, record: &Record<'_>) -> KindId {
        let kind = classify(record);
        if kind != self.unclassified {
            return kind;
        }
        let english = self.translator.translate(record);
        english.map_or(kind, |english| classify(&english))
    }

    /// Gives the lines before any record the time of the record after them.
    fn date(&mut self, at: Option<i64>) {
        if self.early.records == 0 {
            return;
        }
        let mut early = std::mem::take(&mut self.early);
        if at.is_some_and(|at| at < self.window.since) {
            return;
        }
        if at.is_some_and(|at| at >= self.window.recent) {
            early.recent = early.records;
        }
        (early.first_at, early.last_at) = (at, at);
        self.kinds.entry(self.forged).or_default().absorb(early);
    }
}

impl Sink for Count {
    fn record(&mut self, _: u64, record: &Record<'_>) {
        let at = record.at;
        self.date(at);
        self.clock = at.or(self.clock);
        if at.is_some_and(|at| at < self.window.since) {
            return;
        }
        let recent = at.is_some_and(|at| at >= self.window.recent);
        let severity = record.severity;
        if severity >= Severity::Error {
            let seen = self.severities.entry(severity).or_default();
            seen.take(at, recent, severity, record.message);
        }
        let kind = self.kind(record);
        if kind.kind().level >= Level::Warning || severity >= Severity::Fatal {
            let seen = self.kinds.entry(kind).or_default();
            seen.take(at, recent, severity, record.message);
        }
    }

    fn odd(&mut self, _: u64, odd: Odd<'_>) {
        let Odd::Forged(line) = odd else { return };
        let Some(at) = self.clock else {
            self.early.take(None, false, Severity::Log, line);
            return;
        };
        if at >= self.window.since {
            let seen = self.kinds.entry(self.forged).or_default();
            seen.take(Some(at), at >= self.window.recent, Severity::Log, line);
        }
    }
}

impl Part for Count {
    fn fresh(&self) -> Count {
        Count::new(self.window)
    }

    fn absorb(&mut self, mut later: Count) {
        if let Some(clock) = self.clock {
            later.date(Some(clock));
        }
        self.early.absorb(later.early);
        for (severity, seen) in later.severities {
            self.severities.entry(severity).or_default().absorb(seen);
        }
        for (kind, seen) in later.kinds {
            self.kinds.entry(kind).or_default().absorb(seen);
        }
        self.clock = later.clock.or(self.clock);
    }

    fn settle(&mut self) {}

    fn since(&self) -> Option<i64> {
        Some(self.window.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window {
        since: 1_000,
        recent: 2_000,
    };

    fn record(at: Option<i64>, severity: Severity, message: &str) -> Record<'_> {
        Record {
            at,
            severity,
            message: message.as_bytes(),
            ..Record::default()
        }
    }

    fn seen<'a>(count: &'a Count, kind: &str) -> Option<&'a Seen> {
        count.kinds.get(&find(kind).unwrap())
    }

    #[test]
    fn records_count_by_severity_and_kind_within_the_window() {
        let mut count = Count::new(WINDOW);
        for (at, severity, message) in [
            (Some(999), Severity::Error, "deadlock detected"),
            (Some(1_000), Severity::Error, "deadlock detected"),
            (Some(2_000), Severity::Error, "deadlock detected"),
            (Some(2_100), Severity::Error, "division by zero"),
            (
                None,
                Severity::Panic,
                "could not locate a valid checkpoint record",
            ),
            (Some(2_200), Severity::Log, "checkpoint starting: time"),
        ] {
            count.record(0, &record(at, severity, message));
        }
        assert_eq!(count.severities[&Severity::Error].records, 3);
        assert_eq!(
            count.severities[&Severity::Error].last_message(),
            "division by zero"
        );
        assert_eq!(count.severities[&Severity::Panic].records, 1);
        let deadlock = seen(&count, "deadlock").unwrap();
        assert_eq!((deadlock.records, deadlock.recent), (2, 1));
        assert_eq!(
            (deadlock.first_at, deadlock.last_at),
            (Some(1_000), Some(2_000))
        );
        assert_eq!(seen(&count, "no-checkpoint").unwrap().panics, 1);
        assert_eq!(count.kinds.len(), 2, "{:?}", count.kinds);
    }

    #[test]
    fn a_record_in_another_language_has_its_kind_and_its_own_words() {
        let mut count = Count::new(WINDOW);
        let german = "ungültige Seite in Block 7 von Relation base/5/16384";
        count.record(0, &record(Some(2_000), Severity::Error, german));
        let seen = seen(&count, "invalid-page").unwrap();
        assert_eq!(seen.last_message(), german);
    }

    #[test]
    fn forged_lines_have_the_time_of_the_record_beside_them() {
        let mut first = Count::new(WINDOW);
        first.record(0, &record(Some(500), Severity::Log, "x"));
        first.odd(0, Odd::Forged(b"before the window"));
        let mut later = first.fresh();
        later.odd(0, Odd::Forged(b"still before"));
        let mut last = first.fresh();
        last.odd(0, Odd::Forged(b"PANIC:  one"));
        last.record(0, &record(Some(2_500), Severity::Log, "x"));
        last.odd(0, Odd::Forged(b"PANIC:  two"));
        first.absorb(later);
        assert_eq!(seen(&first, FORGED), None);
        let mut whole = Count::new(WINDOW);
        whole.absorb(last);
        let forged = seen(&whole, FORGED).unwrap();
        assert_eq!((forged.records, forged.recent, forged.panics), (2, 2, 0));
        assert_eq!(forged.last_message(), "PANIC:  two");
    }

    #[test]
    fn a_message_is_one_bounded_line_without_secrets() {
        let mut seen = Seen::default();
        let secret = format!("no\nway postgres://u:hunter2@h/d {}", "x".repeat(9_000));
        seen.take(Some(1), true, Severity::Error, secret.as_bytes());
        let message = seen.last_message();
        assert!(message.starts_with("no way "), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
        assert_eq!(message.chars().count(), MESSAGE_MAX);
    }
}
