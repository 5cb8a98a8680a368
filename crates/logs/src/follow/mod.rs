//! Follows logs while they are written, over every kind of rotation.
//!
//! [`Tail`] is the part that thinks; [`follow`] asks the files again and again, with the clock and the pause of its caller.

mod tail;
mod target;

pub use tail::{HOLD_MILLISECONDS, Make, QUIET_MILLISECONDS, Tail};
pub use target::Target;

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use crate::engine::{Choose, FileHead, HEAD_BYTES};
use crate::error::cause;
use crate::format::Scanner;
use crate::record::Sink;

/// How often the files are asked.
pub const POLL: Duration = Duration::from_millis(50);

/// Most targets at once.
pub const TARGETS_MAX: usize = 64;

/// Milliseconds between two looks at which file a target means.
const LOOK_MILLISECONDS: i64 = 200;

/// Milliseconds for which a file that was rotated away is still read: its writer may not have noticed yet.
const LEAVE_MILLISECONDS: i64 = 10_000;

/// Files of one target that are read at once; the oldest is left first.
const FILES_MAX: usize = 8;

/// Bytes read at once, and in one round of a file.
const READ_BYTES: usize = 256 * 1024;
const ROUND_BYTES_MAX: usize = 64 * READ_BYTES;

/// Bytes before the end of what was read that must still be there.
const MARK_BYTES: usize = 256;

/// Most bytes that are read before what comes.
pub const BACK_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Bytes after which a format must have been recognised.
const UNRECOGNISED_BYTES: usize = 64 * 1024;

/// Takes records of several files.
pub trait Listener: Sink {
    /// Says that what comes next is of this file.
    fn turn(&mut self, file: &str);
    /// Says what happened to a file: it was rotated, truncated, cannot be read.
    fn notice(&mut self, file: &str, text: &str);
}

/// How to follow.
pub struct Follow<'a> {
    /// Chooses the format of a file by its beginning.
    pub choose: &'a Choose<'a>,
    /// Begin with what is in the files already, instead of with what comes.
    pub from_start: bool,
    /// Bytes before what comes that are handed over first, at most [`BACK_BYTES_MAX`]: from the first record that begins in them.
    pub back: u64,
    /// Says when to stop; asked in each round.
    pub stop: &'a dyn Fn() -> bool,
    /// Returns milliseconds of a clock that never goes back.
    pub clock: &'a dyn Fn() -> i64,
    /// Waits; for [`POLL`].
    pub pause: &'a dyn Fn(Duration),
}

/// Follows targets until it is told to stop, and hands over what is left then.
pub fn follow(targets: &[Target], how: &Follow<'_>, listener: &mut dyn Listener) {
    let mut followed: Vec<Followed> = targets
        .iter()
        .take(TARGETS_MAX)
        .cloned()
        .map(Followed::new)
        .collect();
    for target in targets.iter().skip(TARGETS_MAX) {
        listener.notice(
            &target.path().display().to_string(),
            "not followed: there are too many targets",
        );
    }
    let mut buffer = vec![0; READ_BYTES];
    let mut turned = String::new();
    while !(how.stop)() {
        for one in &mut followed {
            one.round(how, &mut buffer, &mut turned, listener);
        }
        (how.pause)(POLL);
    }
    for one in &mut followed {
        one.round(how, &mut buffer, &mut turned, listener);
        for open in &mut one.files {
            open.turn(&mut turned, listener);
            open.finish(listener);
        }
    }
}

/// A target and the files that it meant lately, the current one last.
struct Followed {
    target: Target,
    files: Vec<Open>,
    looked_at: Option<i64>,
    said: String,
    begun: bool,
}

impl Followed {
    fn new(target: Target) -> Followed {
        Followed {
            target,
            files: Vec::new(),
            looked_at: None,
            said: String::new(),
            begun: false,
        }
    }

    fn round(
        &mut self,
        how: &Follow<'_>,
        buffer: &mut [u8],
        turned: &mut String,
        listener: &mut dyn Listener,
    ) {
        let now = (how.clock)();
        if self
            .looked_at
            .is_none_or(|at| now.saturating_sub(at) >= LOOK_MILLISECONDS)
        {
            self.looked_at = Some(now);
            self.look(how, listener);
        }
        let current = self.files.len().saturating_sub(1);
        for (number, open) in self.files.iter_mut().enumerate() {
            open.round(how, now, buffer, turned, listener);
            if number < current && open.left_at.is_none() {
                open.left_at = Some(now);
            }
        }
        let gone = |open: &Open| {
            open.left_at
                .is_some_and(|at| now.saturating_sub(at) >= LEAVE_MILLISECONDS)
        };
        while self.files.len() > FILES_MAX || self.files.first().is_some_and(gone) {
            let mut oldest = self.files.remove(0);
            oldest.turn(turned, listener);
            oldest.finish(listener);
        }
    }

    /// Looks which file the target means now, and opens it when it is another.
    fn look(&mut self, how: &Follow<'_>, listener: &mut dyn Listener) {
        let opened = self.target.resolve().and_then(|path| {
            let file = File::open(&path)?;
            let facts = file.metadata()?;
            if !facts.is_file() {
                return Err(io::Error::other("it is no file"));
            }
            Ok((path.display().to_string(), file, facts))
        });
        let (name, file, facts) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.begun = true;
                let text = format!("could not open it: {}", cause(&error));
                if self.said != text {
                    listener.notice(&self.target.path().display().to_string(), &text);
                    self.said = text;
                }
                return;
            }
        };
        self.said.clear();
        if self.files.last().is_some_and(|open| open.is(&facts)) {
            return;
        }
        if let Some(last) = self.files.last() {
            listener.notice(&last.name, &format!("rotated, goes on in \"{name}\""));
        }
        // A file that went away and came back under the name is not read twice.
        if let Some(known) = self.files.iter().position(|open| open.is(&facts)) {
            let mut open = self.files.remove(known);
            open.left_at = None;
            return self.files.push(open);
        }
        let fresh = !self.begun && !how.from_start;
        let position = if fresh {
            last_line_end(
                &file,
                facts.len().saturating_sub(how.back.min(BACK_BYTES_MAX)),
            )
        } else {
            0
        };
        self.begun = true;
        self.files.push(Open {
            name,
            file,
            device: facts.dev(),
            inode: facts.ino(),
            position,
            amid: fresh && how.back > 0 && position > 0,
            mark: Vec::new(),
            tail: None,
            sampled: 0,
            refused_at: 0,
            left_at: None,
        });
    }
}

/// Returns where the last line of a file begins that has no end yet.
fn last_line_end(file: &File, size: u64) -> u64 {
    let from = size.saturating_sub(READ_BYTES as u64);
    let mut bytes = vec![0; usize::try_from(size - from).expect("it is at most a buffer")];
    match file.read_exact_at(&mut bytes, from) {
        Ok(()) => memchr::memrchr(b'\n', &bytes).map_or(size, |at| from + at as u64 + 1),
        Err(_) => size,
    }
}

/// A file that is open.
struct Open {
    name: String,
    file: File,
    device: u64,
    inode: u64,
    position: u64,
    /// The position may be amid a record.
    amid: bool,
    /// The bytes before the position.
    mark: Vec<u8>,
    tail: Option<Tail>,
    /// The size at which its format was chosen.
    sampled: u64,
    /// The size at which its format was not recognised.
    refused_at: u64,
    left_at: Option<i64>,
}

impl Open {
    fn is(&self, facts: &Metadata) -> bool {
        (self.device, self.inode) == (facts.dev(), facts.ino())
    }

    fn turn(&self, turned: &mut String, listener: &mut dyn Listener) {
        if *turned != self.name {
            turned.clone_from(&self.name);
            listener.turn(turned);
        }
    }

    fn finish(&mut self, listener: &mut dyn Listener) {
        if let Some(tail) = &mut self.tail {
            tail.finish(listener);
        }
    }

    fn round(
        &mut self,
        how: &Follow<'_>,
        now: i64,
        buffer: &mut [u8],
        turned: &mut String,
        listener: &mut dyn Listener,
    ) {
        let size = match self.file.metadata() {
            Ok(facts) => facts.len(),
            Err(error) => {
                return listener.notice(
                    &self.name,
                    &format!("could not look at it: {}", cause(&error)),
                );
            }
        };
        if size < self.position || (size > self.position && !self.is_marked(buffer)) {
            self.turn(turned, listener);
            self.finish(listener);
            listener.notice(&self.name, "truncated, read again from its beginning");
            self.position = 0;
            self.amid = false;
            self.sampled = 0;
            self.mark.clear();
            self.tail = None;
        }
        // The first lines of a server name no user: until there are enough of them each new one may tell more of the prefix.
        let sure = self.tail.is_some() && self.sampled >= UNRECOGNISED_BYTES as u64;
        if size > self.position && (sure || self.choose(how, size, listener)) {
            self.turn(turned, listener);
            self.read(now, buffer, listener);
        }
        if self.tail.as_ref().is_some_and(|tail| tail.is_due(now)) {
            self.turn(turned, listener);
            self.finish(listener);
        }
    }

    /// Whether the bytes before the position are those that were read.
    fn is_marked(&self, buffer: &mut [u8]) -> bool {
        let there = &mut buffer[..self.mark.len()];
        let from = self.position - there.len() as u64;
        self.file.read_exact_at(there, from).is_ok() && there == self.mark
    }

    fn choose(&mut self, how: &Follow<'_>, size: u64, listener: &mut dyn Listener) -> bool {
        if size < self.refused_at {
            return self.tail.is_some();
        }
        let wanted = usize::try_from(size).unwrap_or(HEAD_BYTES).min(HEAD_BYTES);
        let mut head = vec![0; wanted];
        if self.file.read_exact_at(&mut head, 0).is_err() {
            return self.tail.is_some();
        }
        let facts = FileHead {
            name: &self.name,
            bytes: &head,
            modified: self.file.metadata().ok().map(|facts| facts.mtime()),
            known: None,
        };
        match (how.choose)(&facts) {
            Ok(chosen) => {
                self.sampled = size;
                if let Some(tail) = &mut self.tail {
                    tail.renew(chosen.make);
                    return true;
                }
                if std::mem::take(&mut self.amid) {
                    self.position += self.beginning(&*(chosen.make)(), size);
                }
                self.tail = Some(Tail::new(chosen.make, self.position));
                true
            }
            Err(_) if self.tail.is_some() => true,
            Err(error) => {
                // A few bytes more may tell; a look at each byte would cost too much.
                self.refused_at = size.saturating_add(size.max(256));
                if head.len() >= UNRECOGNISED_BYTES || size == head.len() as u64 {
                    listener.notice(
                        &self.name,
                        &format!("{error}; it is looked at again when there is more of it"),
                    );
                }
                false
            }
        }
    }

    /// Returns how many bytes after the position the first record begins.
    fn beginning(&self, scanner: &dyn Scanner, size: u64) -> u64 {
        let wanted = size.saturating_sub(self.position).min(2 * BACK_BYTES_MAX);
        let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(0)];
        match self.file.read_exact_at(&mut bytes, self.position) {
            Ok(()) => scanner.sync(&bytes).unwrap_or(0) as u64,
            Err(_) => 0,
        }
    }

    fn read(&mut self, now: i64, buffer: &mut [u8], listener: &mut dyn Listener) {
        let Some(tail) = &mut self.tail else { return };
        let mut round = 0;
        while round < ROUND_BYTES_MAX {
            match self.file.read_at(buffer, self.position) {
                Ok(0) => return,
                Ok(count) => {
                    tail.feed(&buffer[..count], now, listener);
                    self.position += count as u64;
                    round += count;
                    let kept = self.mark.len().min(MARK_BYTES.saturating_sub(count));
                    self.mark.drain(..self.mark.len() - kept);
                    self.mark
                        .extend_from_slice(&buffer[count.saturating_sub(MARK_BYTES)..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    listener.notice(
                        &self.name,
                        &format!(
                            "could not read it at byte {}: {}",
                            self.position,
                            cause(&error)
                        ),
                    );
                    return;
                }
            }
        }
    }
}
