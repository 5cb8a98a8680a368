//! Bytes that come in one order only: compressed files, archives, standard input, and formats whose records interleave.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::open::{Stream, changed, choose};
use super::part::Counting;
use super::piece::{From, Plain};
use super::pipe::Piped;
use super::window::Window;
use super::{Chosen, HEAD_BYTES, Part, Settings};
use crate::error::cause;
use crate::format::Remarks;
use crate::input::{EndSeen, Exact, MAGIC_BYTES, Peeked, compressed, is_archive, peel, stem};
use crate::report::SourceFile;

/// Most members of an archive that are read.
const MEMBERS_MAX: usize = 100_000;

/// Takes what is read in order.
pub(crate) trait Target<P> {
    /// Says that the records of a file follow.
    fn begin(&mut self, file: SourceFile);
    /// Returns what its records are put into.
    fn part(&mut self) -> &mut P;
    /// Says how much was put into it since the last time.
    fn flush(&mut self, bytes: u64, records: u64);
    /// States why not all of the file was read.
    fn trouble(&mut self, text: String);
    /// States what a scanner of the file was not sure of, and left out.
    fn remarks(&mut self, remarks: Remarks);
}

/// Reads a plain file from its beginning to its end.
pub(crate) fn read_plain<P: Part>(
    plain: &Plain,
    file: SourceFile,
    step: u64,
    window: &mut Window,
    target: &mut dyn Target<P>,
) {
    target.begin(file);
    let mut source = From::new(&plain.file, 0, plain.size);
    scan(&mut source, &plain.chosen, &[], step, window, target);
    if let Some(text) = changed(plain) {
        target.trouble(text);
    }
}

/// Reads a stream, with decompression in a thread of its own.
pub(crate) fn read<P: Part>(
    mut stream: Stream,
    settings: &Settings<'_>,
    window: &mut Window,
    target: &mut dyn Target<P>,
) {
    let mut job = Job {
        name: stream.name,
        modified: stream.modified,
        settings,
        window,
        target,
    };
    if !compressed(stream.reader.peek(MAGIC_BYTES)) {
        return job.read(stream.reader, Vec::new());
    }
    match Piped::start(Box::new(stream.reader)) {
        Ok((piped, layers)) => job.read(Peeked::new(piped), layers),
        Err(error) => job.nothing(job.name.clone(), &error),
    }
}

struct Job<'a, 'b, P> {
    name: String,
    modified: Option<i64>,
    settings: &'a Settings<'b>,
    window: &'a mut Window,
    target: &'a mut dyn Target<P>,
}

impl<P: Part> Job<'_, '_, P> {
    fn read<R: Read>(&mut self, mut reader: Peeked<R>, mut layers: Vec<&'static str>) {
        if is_archive(&mut reader) {
            layers.push("tar");
            return self.archive(reader, &layers);
        }
        let name = self.name.clone();
        self.one(&mut reader, &name, self.modified, &layers);
    }

    fn one<R: Read>(
        &mut self,
        reader: &mut Peeked<R>,
        name: &str,
        modified: Option<i64>,
        layers: &[&'static str],
    ) {
        let head = reader.peek(HEAD_BYTES);
        match choose(head, name, modified, None, layers, self.settings) {
            Ok((chosen, file)) => {
                self.target.begin(file);
                let step = self.settings.piece_bytes.max(1);
                scan(reader, &chosen, layers, step, self.window, self.target);
            }
            Err(file) => {
                let silent = file.trouble.is_none();
                self.target.begin(*file);
                if silent && let Err(error) = reader.read(&mut [0; 1]) {
                    self.target.trouble(stopped(&cause(&error), layers, 0));
                }
            }
        }
    }

    fn archive<R: Read>(&mut self, reader: Peeked<R>, layers: &[&'static str]) {
        let mut reader = EndSeen::new(reader);
        let mut archive = tar::Archive::new(&mut reader);
        let mut stems: BTreeSet<PathBuf> = BTreeSet::new();
        let mut trouble = None;
        match archive.entries() {
            Err(error) => trouble = Some(error),
            Ok(entries) => {
                for (number, entry) in entries.enumerate() {
                    match entry {
                        Ok(_) if number >= MEMBERS_MAX => {
                            trouble = Some(io::Error::other(format!(
                                "it has more than {MEMBERS_MAX} members"
                            )));
                            break;
                        }
                        Ok(entry) => self.member(entry, layers, &mut stems),
                        Err(error) => {
                            trouble = Some(error);
                            break;
                        }
                    }
                }
            }
        }
        if trouble.is_none() && !reader.seen() {
            trouble = Some(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(error) = trouble {
            let why = format!(
                "the archive could not be read to its end ({}): members may be missing",
                cause(&error)
            );
            self.note(self.name.clone(), why);
        }
    }

    fn member<R: Read>(
        &mut self,
        entry: tar::Entry<'_, R>,
        layers: &[&'static str],
        stems: &mut BTreeSet<PathBuf>,
    ) {
        let kind = entry.header().entry_type();
        if !(kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse()) {
            return;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = format!("{}/{path}", self.name);
        if let Some((stem, _)) = stem(Path::new(&path))
            && !stems.insert(stem)
        {
            return self.note(
                name,
                "not read, since another member holds the same log in another format".to_owned(),
            );
        }
        let modified = entry
            .header()
            .mtime()
            .ok()
            .and_then(|at| i64::try_from(at).ok());
        let size = entry.size();
        match peel(Box::new(Exact::new(entry, size))) {
            Err(error) => self.nothing(name, &error),
            Ok((mut reader, inner)) => {
                if is_archive(&mut reader) {
                    return self.note(
                        name,
                        "it is an archive inside of an archive; nothing of it was read".to_owned(),
                    );
                }
                let all: Vec<&'static str> = layers.iter().chain(&inner).copied().collect();
                self.one(&mut reader, &name, modified, &all);
            }
        }
    }

    fn nothing(&mut self, name: String, error: &io::Error) {
        self.note(
            name,
            format!(
                "could not read it: {}; nothing of it was read",
                cause(error)
            ),
        );
    }

    fn note(&mut self, name: String, trouble: String) {
        self.target.begin(SourceFile {
            name,
            trouble: Some(trouble),
            ..SourceFile::default()
        });
    }
}

/// Scans a reader from its beginning to its end.
fn scan<P: Part>(
    reader: &mut dyn Read,
    chosen: &Chosen,
    layers: &[&'static str],
    step: u64,
    window: &mut Window,
    target: &mut dyn Target<P>,
) {
    let mut scanner = (chosen.make)();
    window.begin(0);
    loop {
        let before = window.base();
        let mut sink = Counting {
            part: target.part(),
            records: 0,
        };
        window.scan(
            reader,
            scanner.as_mut(),
            before.saturating_add(step),
            false,
            &mut sink,
        );
        let records = sink.records;
        target.flush(window.base() - before, records);
        if window.ended() && (window.rest().is_empty() || window.base() == before) {
            break;
        }
    }
    target.remarks(scanner.remarks());
    let (rest, at) = (window.rest().len(), window.base());
    if let Some(text) = window.trouble() {
        target.trouble(stopped(&text, layers, at));
    } else if rest > 0 {
        target.trouble(format!("the last {rest} bytes are no whole record"));
    }
}

/// States up to where bytes were read, and why not further.
pub(crate) fn stopped(why: &str, layers: &[&str], at: u64) -> String {
    let why = match layers.is_empty() {
        true => why.to_owned(),
        false => format!(
            "its {} data is cut short or damaged ({why})",
            layers.iter().rev().copied().collect::<Vec<_>>().join(".")
        ),
    };
    format!("{why}: {at} bytes were read, what follows was not")
}
