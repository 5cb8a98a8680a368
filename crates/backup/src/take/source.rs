//! Where bytes of a server's files are: in a file on this machine, or at the other end of an SQL connection.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::lanes::Lane;

/// So much of a file here is read at once: it stays in the cache of a processor while it is looked through.
const READ_BYTES: usize = 256 << 10;
/// So much is asked for at once over SQL: enough that the way there and back does not count, and bounded in the server's memory.
const ASK_BYTES: usize = 1 << 20;

/// A file of the server.
#[derive(Debug)]
pub(crate) enum Source {
    /// It is here, and open.
    File(File),
    /// It was read already.
    Held(Vec<u8>),
    /// Its path within the data directory: a lane reads it.
    Server(Vec<u8>),
}

/// Bytes of a file that are wanted.
pub(super) struct Piece<'a> {
    pub(super) source: &'a Source,
    pub(super) from: u64,
    /// Where they go. What was cut off meanwhile is zero, since replay cuts it off again.
    pub(super) into: &'a mut [u8],
    /// How many bytes there were; none before they were read, and when there is no such file any more.
    pub(super) read: Option<usize>,
}

impl Source {
    /// Returns how much to read of it at once.
    pub(super) fn read_bytes(&self) -> usize {
        match self {
            Source::File(_) | Source::Held(_) => READ_BYTES,
            Source::Server(_) => ASK_BYTES,
        }
    }
}

impl Piece<'_> {
    /// Reads pieces, those of the server all at once.
    pub(super) fn read_all(pieces: &mut [Piece<'_>], lane: Option<&Lane>) -> io::Result<()> {
        let mut far = Vec::new();
        for piece in pieces {
            match piece.source {
                Source::File(file) => {
                    piece.read = Some(read_or_zero(file, piece.from, piece.into)?)
                }
                Source::Held(bytes) => {
                    let from = usize::try_from(piece.from).unwrap_or(usize::MAX);
                    piece.put(Some(bytes.get(from..).unwrap_or_default()));
                }
                Source::Server(_) => far.push(piece),
            }
        }
        match lane {
            _ if far.is_empty() => Ok(()),
            Some(lane) => lane.read(&mut far),
            None => Err(io::Error::other("nobody asks the server for it")),
        }
    }

    /// Takes what there was.
    pub(super) fn put(&mut self, bytes: Option<&[u8]>) {
        let found = bytes.unwrap_or_default();
        let (taken, rest) = self.into.split_at_mut(found.len().min(self.into.len()));
        taken.copy_from_slice(&found[..taken.len()]);
        rest.fill(0);
        self.read = bytes.map(|_| taken.len());
    }
}

/// Reads bytes of a file here; what is not there is zero.
pub(crate) fn read_or_zero(file: &File, mut from: u64, mut into: &mut [u8]) -> io::Result<usize> {
    let mut all = 0;
    while !into.is_empty() {
        match file.read_at(into, from) {
            Ok(0) => {
                into.fill(0);
                break;
            }
            Ok(read) => {
                into = &mut into[read..];
                from += read as u64;
                all += read;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}
