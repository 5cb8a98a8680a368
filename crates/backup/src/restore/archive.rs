//! The members of a part, one behind the other, with content that is taken where it lies or passed over.

use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::repository::PartReader;
use crate::take::tar::{Member, Piece, Splitter};

/// Reads a part. As a reader it gives the content of the member that began last.
pub(super) struct Archive<'a> {
    from: PartReader,
    splitter: Splitter,
    /// Whether nobody wants its bytes any more.
    stop: &'a AtomicBool,
}

impl<'a> Archive<'a> {
    pub(super) fn new(from: PartReader, stop: &'a AtomicBool) -> Archive<'a> {
        Archive {
            from,
            splitter: Splitter::default(),
            stop,
        }
    }

    /// Goes to the next member; none at the end of the part, which was found to be what its commit says.
    pub(super) fn next(&mut self) -> io::Result<Option<Member>> {
        self.skip(self.splitter.left())?;
        loop {
            self.heed()?;
            let Archive { from, splitter, .. } = self;
            let mut input = from.fill_buf()?;
            let there = input.len();
            if there == 0 {
                splitter.finish().map_err(wrong)?;
                return Ok(None);
            }
            let piece = splitter.next(&mut input).map_err(wrong)?;
            let begun = matches!(piece, Some(Piece::Member));
            let used = there - input.len();
            from.consume(used);
            if begun {
                return Ok(Some(splitter.member().clone()));
            }
        }
    }

    /// Returns how much of the member's content is still to come.
    pub(super) fn left(&self) -> u64 {
        self.splitter.left()
    }

    /// Passes over content of the member.
    pub(super) fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.heed()?;
        self.splitter.pass(bytes);
        self.from.skip(bytes)
    }

    fn heed(&self) -> io::Result<()> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(io::Error::other("the restore was stopped")),
            false => Ok(()),
        }
    }
}

impl BufRead for Archive<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.heed()?;
        let left = usize::try_from(self.left()).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(&[]);
        }
        let there = self.from.fill_buf()?;
        if there.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("it ends {left} bytes before the end of a member"),
            ));
        }
        Ok(&there[..there.len().min(left)])
    }

    fn consume(&mut self, bytes: usize) {
        self.from.consume(bytes);
        self.splitter.pass(bytes as u64);
    }
}

impl Read for Archive<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let there = self.fill_buf()?;
        let read = there.len().min(out.len());
        out[..read].copy_from_slice(&there[..read]);
        self.consume(read);
        Ok(read)
    }
}

fn wrong(error: crate::take::tar::TarError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
