//! One place that joins what was read, in the order of the bytes.

use std::sync::Arc;

use super::open::{Opened, changed, open};
use super::part::Counting;
use super::piece::{Plain, Scanned, scan_from};
use super::stream::{self, Target};
use super::window::Window;
use super::{Part, Settings};
use crate::format::{Remarks, Scanner};
use crate::input::Input;
use crate::report::{Source, SourceFile};

/// A piece that was scanned.
pub(crate) struct Piece<P> {
    /// The file.
    pub(crate) plain: Arc<Plain>,
    /// Where it begins.
    pub(crate) start: u64,
    /// Where it ends.
    pub(crate) until: u64,
    /// What was found where.
    pub(crate) scanned: Scanned,
    /// Its records.
    pub(crate) part: P,
    /// How many.
    pub(crate) records: u64,
}

/// What was joined so far.
pub(crate) struct Merge<P> {
    part: P,
    source: Source,
    step: u64,
    window: Window,
    /// Where the next record of the file begins whose pieces are being joined, and the scanner there.
    next: u64,
    scanner: Option<Box<dyn Scanner>>,
    broken: bool,
}

impl<P: Part> Merge<P> {
    /// Begins with an empty part.
    pub(crate) fn new(part: P, step: u64) -> Merge<P> {
        Merge {
            part,
            source: Source::default(),
            step,
            window: Window::default(),
            next: 0,
            scanner: None,
            broken: false,
        }
    }

    /// Returns an empty part with the same settings.
    pub(crate) fn fresh(&self) -> P {
        self.part.fresh()
    }

    /// Reads an input in this thread.
    pub(crate) fn read_alone(&mut self, input: Input, settings: &Settings<'_>) {
        let mut window = std::mem::take(&mut self.window);
        match open(input, settings, self.part.since(), &mut window) {
            Opened::Nothing(file) => self.begin(file),
            Opened::Plain(plain, file) => {
                stream::read_plain(&plain, file, self.step, &mut window, self)
            }
            Opened::Stream(stream) => stream::read(stream, settings, &mut window, self),
        }
        self.window = window;
    }

    /// Adds the part of the bytes that follow.
    pub(crate) fn absorb(&mut self, part: P, bytes: u64, records: u64) {
        self.part.absorb(part);
        self.flush(bytes, records);
    }

    /// Adds a piece; scans it again when it does not begin where the one before ended.
    pub(crate) fn piece(&mut self, piece: Piece<P>) {
        if piece.start == 0 {
            self.next = 0;
            self.scanner = None;
            self.broken = false;
        }
        let from = self.next;
        if !self.broken && from < piece.until {
            let exact = piece.scanned.first == Some(from);
            let (part, records, scanned) = if exact {
                (piece.part, piece.records, piece.scanned)
            } else {
                let mut part = self.part.fresh();
                let scanner = self
                    .scanner
                    .take()
                    .unwrap_or_else(|| (piece.plain.chosen.make)());
                let mut sink = Counting {
                    part: &mut part,
                    records: 0,
                };
                let scanned = scan_from(
                    &piece.plain,
                    from,
                    piece.until,
                    scanner,
                    &mut self.window,
                    &mut sink,
                );
                let records = sink.records;
                (part, records, scanned)
            };
            self.next = scanned.end;
            self.remarks(scanned.scanner.remarks());
            self.scanner = Some(scanned.scanner);
            self.absorb(part, self.next - from, records);
            if let Some(why) = scanned.trouble {
                self.broken = true;
                self.trouble(format!(
                    "{why}: {} bytes were read, what follows was not",
                    self.next
                ));
            }
        }
        if piece.until == piece.plain.size {
            self.end(&piece.plain);
        }
    }

    fn end(&mut self, plain: &Plain) {
        let rest = plain.size.saturating_sub(self.next);
        if rest > 0 && !self.broken {
            self.trouble(format!("the last {rest} bytes are no whole record"));
        }
        if let Some(text) = changed(plain) {
            self.trouble(text);
        }
    }

    /// Returns everything.
    pub(crate) fn finish(mut self) -> (P, Source) {
        self.part.settle();
        self.source.bytes = self.source.files.iter().map(|file| file.bytes).sum();
        (self.part, self.source)
    }
}

impl<P: Part> Target<P> for Merge<P> {
    fn begin(&mut self, file: SourceFile) {
        self.source.files.push(file);
    }

    fn part(&mut self) -> &mut P {
        &mut self.part
    }

    fn flush(&mut self, bytes: u64, records: u64) {
        let file = self.source.files.last_mut().expect("a file began");
        file.bytes += bytes;
        file.records += records;
        self.part.settle();
    }

    fn remarks(&mut self, remarks: Remarks) {
        let file = self.source.files.last_mut().expect("a file began");
        file.remark(remarks);
    }

    fn trouble(&mut self, text: String) {
        let file = self.source.files.last_mut().expect("a file began");
        file.trouble = Some(match file.trouble.take() {
            None => text,
            Some(before) => format!("{before}; {text}"),
        });
    }
}
