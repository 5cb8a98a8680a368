//! Readers that know how much there must be, so that no end is taken for the whole.

use std::io::{self, Read};

/// A reader of a stated number of bytes, which fails when there are fewer.
pub(crate) struct Exact<R> {
    inner: R,
    left: u64,
}

impl<R> Exact<R> {
    /// Wraps a reader that must have `size` bytes.
    pub(crate) fn new(inner: R, size: u64) -> Exact<R> {
        Exact { inner, left: size }
    }
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(into.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.inner.read(&mut into[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// A reader that knows whether it ended as a tar archive must: in a block of zeros.
pub(crate) struct EndSeen<R> {
    inner: R,
    zeros: u64,
}

/// The size of a block of a tar archive.
const BLOCK_BYTES: u64 = 512;

impl<R> EndSeen<R> {
    /// Wraps the reader of an archive.
    pub(crate) fn new(inner: R) -> EndSeen<R> {
        EndSeen { inner, zeros: 0 }
    }

    /// Whether what was read last was the mark of the archive's end.
    pub(crate) fn seen(&self) -> bool {
        self.zeros >= BLOCK_BYTES
    }
}

impl<R: Read> Read for EndSeen<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        let zeros = into[..count]
            .iter()
            .rev()
            .take_while(|&&byte| byte == 0)
            .count();
        self.zeros = if zeros == count { self.zeros } else { 0 } + zeros as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_bytes_than_stated_are_an_error() {
        let mut all = Vec::new();
        let ended = Exact::new(&b"12345"[..], 6).read_to_end(&mut all);
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(all, b"12345");
        assert_eq!(
            Exact::new(&b"12345"[..], 3)
                .read_to_end(&mut Vec::new())
                .unwrap(),
            3
        );
    }

    #[test]
    fn the_end_of_an_archive_is_a_block_of_zeros() {
        let seen = |bytes: &[u8]| {
            let mut reader = EndSeen::new(bytes);
            reader.read_to_end(&mut Vec::new()).unwrap();
            reader.seen()
        };
        assert!(seen(&[&b"text"[..], &[0; 1024][..]].concat()));
        assert!(!seen(&[&b"text"[..], &[0; 511][..]].concat()));
        assert!(!seen(&[&[0; 600][..], &b"text"[..]].concat()));
    }
}
