//! Classifies records and hands them on: to standard output, and to the alerts.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Write;

use pawang_core::{Kind, Level, Report};
use pawang_logs::follow::Listener;
use pawang_logs::kind::{self, KindId, classify, classify_raw};
use pawang_logs::language::Translator;
use pawang_logs::record::{Odd, Record, Sink};
use pawang_logs::severity::Severity;

use super::alarm::Alarm;
use super::filter::{Filter, level as own_level, shown_level};
use super::line::{Judged, Lines};
use super::notice;

/// Bytes that wait to be written at most before they are.
const BUFFER_BYTES_MAX: usize = 64 * 1_024;

/// Where lines go.
pub(super) struct Out {
    buffer: Vec<u8>,
    /// The last records of before, and how many are wanted; none as soon as what comes is shown.
    before: Option<(usize, VecDeque<Vec<u8>>)>,
    /// Whoever read went away.
    gone: bool,
    failed: Option<Report>,
    alarm: Option<Alarm>,
}

impl Out {
    /// Shows so many records of before.
    pub(super) fn new(lines: u32, alarm: Option<Alarm>) -> Out {
        let lines = usize::try_from(lines).unwrap_or(usize::MAX);
        Out {
            buffer: Vec::new(),
            before: (lines > 0).then(|| (lines, VecDeque::new())),
            gone: false,
            failed: None,
            alarm,
        }
    }

    /// Whether nothing can be written any more.
    pub(super) fn ended(&self) -> bool {
        self.gone || self.failed.is_some()
    }

    /// Writes what waits; from the first time on what comes is new.
    pub(super) fn flush(&mut self) {
        if let Some((_, lines)) = self.before.take() {
            self.buffer.extend(lines.into_iter().flatten());
        }
        self.write();
        if let Some(alarm) = &mut self.alarm {
            alarm.tick();
        }
    }

    /// Ends: everything is written and told.
    ///
    /// # Errors
    /// Standard output refused.
    pub(super) fn end(mut self) -> Result<(), Report> {
        self.flush();
        if let Some(alarm) = self.alarm {
            alarm.end();
        }
        self.failed.map_or(Ok(()), Err)
    }

    /// Takes the line that `write` appends.
    fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        match &mut self.before {
            Some((most, lines)) => {
                let mut line = Vec::new();
                write(&mut line);
                lines.push_back(line);
                if lines.len() > *most {
                    lines.pop_front();
                }
            }
            None => {
                write(&mut self.buffer);
                if self.buffer.len() > BUFFER_BYTES_MAX {
                    self.write();
                }
            }
        }
    }

    fn write(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(&self.buffer).and_then(|()| stdout.flush());
        self.buffer.clear();
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => self.gone = true,
            Err(error) => {
                let report = Report::new(Kind::Usage, "could not write to standard output");
                self.failed = Some(report.with_detail(error.to_string()));
            }
        }
    }
}

/// Takes records of files that are followed.
pub(super) struct Show<'a> {
    filter: &'a Filter,
    lines: &'a Lines,
    out: &'a RefCell<Out>,
    file: String,
    translator: Translator,
    unclassified: Option<KindId>,
    forged: Option<KindId>,
}

impl<'a> Show<'a> {
    /// Shows what the filter lets through.
    pub(super) fn new(filter: &'a Filter, lines: &'a Lines, out: &'a RefCell<Out>) -> Show<'a> {
        Show {
            filter,
            lines,
            out,
            file: String::new(),
            translator: Translator::default(),
            unclassified: kind::find("unclassified"),
            forged: kind::find("log-forgery-suspected"),
        }
    }

    /// Returns where lines go.
    pub(super) fn out(&self) -> &'a RefCell<Out> {
        self.out
    }

    fn classify(&mut self, record: &Record<'_>) -> KindId {
        let kind = classify(record);
        if Some(kind) != self.unclassified {
            return kind;
        }
        let english = self.translator.translate(record);
        english.map_or(kind, |english| classify(&english))
    }

    fn show(&mut self, record: &Record<'_>, judged: &Judged<'_>) {
        let mut out = self.out.borrow_mut();
        out.put(|line| self.lines.put(record, judged, line));
        let fresh = out.before.is_none();
        if let Some(alarm) = out
            .alarm
            .as_mut()
            .filter(|_| fresh && judged.alert >= Level::Warning)
        {
            alarm.take(record, judged, || self.lines.message(record, judged.kind));
        }
    }
}

impl Sink for Show<'_> {
    fn record(&mut self, _: u64, record: &Record<'_>) {
        let kind = self.classify(record);
        let level = shown_level(kind, record.severity);
        if !self.filter.wants(kind, level, record.severity) || !self.filter.has_text(record) {
            return;
        }
        let file = std::mem::take(&mut self.file);
        let facts = kind.kind();
        let judged = Judged {
            file: &file,
            kind: &facts.id,
            group: facts.group.as_str(),
            level,
            alert: own_level(kind, record.severity),
        };
        self.show(record, &judged);
        self.file = file;
    }

    fn odd(&mut self, _: u64, odd: Odd<'_>) {
        let (message, forged) = match odd {
            Odd::Raw(line) | Odd::Malformed(line) => (line, false),
            Odd::Forged(line) => (line, true),
        };
        let kind = match self.forged.filter(|_| forged) {
            Some(kind) => kind,
            None => classify_raw(message),
        };
        let level = own_level(kind, Severity::Log);
        let record = Record {
            message,
            ..Record::default()
        };
        if !self.filter.wants(kind, level, Severity::Log) || !self.filter.has_text(&record) {
            return;
        }
        let file = std::mem::take(&mut self.file);
        let judged = Judged {
            file: &file,
            kind: &kind.kind().id,
            group: kind.kind().group.as_str(),
            level,
            alert: level,
        };
        self.show(&record, &judged);
        self.file = file;
    }
}

impl Listener for Show<'_> {
    fn turn(&mut self, file: &str) {
        file.clone_into(&mut self.file);
    }

    fn notice(&mut self, file: &str, text: &str) {
        // What was before the notice comes before it on a terminal too.
        self.out.borrow_mut().write();
        notice(file, text);
    }
}
