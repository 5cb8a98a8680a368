//! Opens an input: what it is, and whether it can be cut.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};

use super::piece::{self, From, Plain};
use super::window::Window;
use super::{Chosen, FileHead, HEAD_BYTES, Known, Settings};
use crate::error::cause;
use crate::format::Scanner;
use crate::input::{self, Input, Peeked, is_archive};
use crate::record::{Odd, Record, Sink};
use crate::report::SourceFile;

/// Bytes at the end of a file that tell whether all of it is before the window of time.
const TAIL_BYTES: u64 = 1024 * 1024;

/// An input that is open.
pub(crate) enum Opened {
    /// Nothing to read, and why.
    Nothing(SourceFile),
    /// A plain file.
    Plain(Plain, SourceFile),
    /// Everything else.
    Stream(Stream),
}

/// Bytes that come in one order only.
pub(crate) struct Stream {
    /// The bytes, perhaps compressed.
    pub(crate) reader: Peeked<Box<dyn Read + Send>>,
    /// Its name.
    pub(crate) name: String,
    /// When it was last written, in seconds.
    pub(crate) modified: Option<i64>,
}

/// Opens an input and chooses its format.
pub(crate) fn open(
    input: Input,
    settings: &Settings<'_>,
    since: Option<i64>,
    window: &mut Window,
) -> Opened {
    let name = input.name;
    let path = match input.from {
        input::From::File(path) => path,
        input::From::Reader(reader) => return stream(name, reader, None),
    };
    let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
    let (facts, file) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let trouble = format!(
                "could not open it: {}; nothing of it was read",
                cause(&error)
            );
            return Opened::Nothing(with_trouble(name, trouble));
        }
    };
    if facts.is_dir() {
        return Opened::Nothing(with_trouble(name, "it is a directory".to_owned()));
    }
    let modified = Some(facts.mtime());
    if !facts.is_file() {
        return stream(name, Box::new(file), modified);
    }
    let mut head = Peeked::new(From::new(&file, 0, facts.len()));
    if is_archive(&mut head) || input::compressed(head.peek(input::MAGIC_BYTES)) {
        return stream(name, Box::new(file), modified);
    }
    let opened = plain(&file, facts.len(), &name, modified, settings);
    match opened {
        Err(nothing) => Opened::Nothing(*nothing),
        Ok((chosen, source)) => {
            let plain = Plain {
                file,
                size: facts.len(),
                chosen,
            };
            let written = facts
                .mtime()
                .saturating_mul(1_000_000)
                .saturating_add(facts.mtime_nsec() / 1000);
            if since.is_some_and(|since| written < since && all_before(&plain, since, window)) {
                let trouble = "not read, since it ends before the window of time".to_owned();
                return Opened::Nothing(SourceFile {
                    trouble: Some(trouble),
                    ..source
                });
            }
            Opened::Plain(plain, source)
        }
    }
}

fn stream(name: String, reader: Box<dyn Read + Send>, modified: Option<i64>) -> Opened {
    Opened::Stream(Stream {
        reader: Peeked::new(reader),
        name,
        modified,
    })
}

fn plain(
    file: &File,
    size: u64,
    name: &str,
    modified: Option<i64>,
    settings: &Settings<'_>,
) -> Result<(Chosen, SourceFile), Box<SourceFile>> {
    let mut head = vec![0; usize::try_from(size).unwrap_or(HEAD_BYTES).min(HEAD_BYTES)];
    if let Err(error) = file.read_exact_at(&mut head, 0) {
        let trouble = format!(
            "could not read it: {}; nothing of it was read",
            cause(&error)
        );
        return Err(Box::new(with_trouble(name.to_owned(), trouble)));
    }
    choose(&head, name, modified, None, &[], settings)
}

/// Chooses the format of a file, or returns why nothing of it can be read.
pub(crate) fn choose(
    head: &[u8],
    name: &str,
    modified: Option<i64>,
    known: Option<&Known>,
    layers: &[&str],
    settings: &Settings<'_>,
) -> Result<(Chosen, SourceFile), Box<SourceFile>> {
    let compression = layers.iter().rev().copied().collect::<Vec<_>>().join(".");
    let mut source = SourceFile {
        name: name.to_owned(),
        compression: (!compression.is_empty()).then_some(compression),
        ..SourceFile::default()
    };
    if head.is_empty() {
        return Err(Box::new(source));
    }
    let head_facts = FileHead {
        name,
        bytes: head,
        modified,
        known,
    };
    let chosen = match input::refused(head) {
        Some(why) => Err(why.to_owned()),
        None => (settings.choose)(&head_facts).map_err(|error| error.to_string()),
    };
    match chosen {
        Ok(chosen) => {
            source.format.clone_from(&chosen.format);
            source.prefixes.clone_from(&chosen.prefixes);
            source.match_rate = chosen.match_rate;
            Ok((chosen, source))
        }
        Err(why) => {
            source.trouble = Some(format!("{why}; nothing of it was read"));
            Err(Box::new(source))
        }
    }
}

fn with_trouble(name: String, trouble: String) -> SourceFile {
    SourceFile {
        name,
        trouble: Some(trouble),
        ..SourceFile::default()
    }
}

/// Returns what became of a file while it was read.
pub(crate) fn changed(plain: &Plain) -> Option<String> {
    let now = plain.file.metadata().ok()?.len();
    let (size, grown) = (plain.size, now.checked_sub(plain.size)?);
    (grown > 0).then(|| {
        format!("it grew by {grown} bytes while it was read: the first {size} bytes were read")
    })
}

/// Whether every record at the end of a file has a time, and one before `since`.
fn all_before(plain: &Plain, since: i64, window: &mut Window) -> bool {
    let mut latest = Latest::default();
    let from = plain.size.saturating_sub(TAIL_BYTES);
    let scanned = piece::scan(plain, from..plain.size, window, &mut latest);
    scanned.trouble.is_none() && !latest.timeless && latest.at.is_some_and(|at| at < since)
}

/// The latest time of records.
#[derive(Default)]
struct Latest {
    at: Option<i64>,
    timeless: bool,
}

impl Sink for Latest {
    fn record(&mut self, _: u64, record: &Record<'_>) {
        self.at = self.at.max(record.at);
        self.timeless |= record.at.is_none();
    }

    fn odd(&mut self, _: u64, _: Odd<'_>) {}
}

/// Whether pieces of a file may be scanned apart.
pub(crate) fn splittable(chosen: &Chosen) -> bool {
    let scanner: Box<dyn Scanner> = (chosen.make)();
    scanner.splittable()
}
