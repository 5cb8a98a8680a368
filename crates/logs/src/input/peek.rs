//! A reader whose beginning can be looked at before it is read.

use std::io::{self, Read};

/// A reader with the bytes that were looked at.
pub(crate) struct Peeked<R> {
    inner: R,
    head: Vec<u8>,
    taken: usize,
    /// The end or an error that was met while looking ahead.
    met: Option<io::Result<()>>,
}

impl<R: Read> Peeked<R> {
    /// Wraps a reader.
    pub(crate) fn new(inner: R) -> Peeked<R> {
        Peeked {
            inner,
            head: Vec::new(),
            taken: 0,
            met: None,
        }
    }

    /// Returns the first bytes that were not read yet: `wanted` of them, or fewer when it ends or fails before; the error comes when it is
    /// read.
    pub(crate) fn peek(&mut self, wanted: usize) -> &[u8] {
        if self.head.len() - self.taken < wanted && self.met.is_none() {
            let rest = &self.head[self.taken..];
            let mut filled = rest.len();
            let mut head = vec![0; wanted];
            head[..filled].copy_from_slice(rest);
            self.head = head;
            self.taken = 0;
            while filled < wanted && self.met.is_none() {
                match self.inner.read(&mut self.head[filled..]) {
                    Ok(0) => self.met = Some(Ok(())),
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => self.met = Some(Err(error)),
                }
            }
            self.head.truncate(filled);
        }
        let rest = &self.head[self.taken..];
        &rest[..rest.len().min(wanted)]
    }
}

impl<R: Read> Read for Peeked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let rest = &self.head[self.taken..];
        if !rest.is_empty() {
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            self.taken += count;
            return Ok(count);
        }
        match self.met.take() {
            None => {
                self.head = Vec::new();
                self.taken = 0;
                self.inner.read(into)
            }
            Some(Ok(())) => {
                self.met = Some(Ok(()));
                Ok(0)
            }
            Some(Err(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_at_is_read_again() {
        let mut peeked = Peeked::new(&b"0123456789"[..]);
        assert_eq!(peeked.peek(3), b"012");
        let mut two = [0; 2];
        assert_eq!(peeked.read(&mut two).unwrap(), 2);
        assert_eq!(peeked.peek(20), b"23456789");
        let mut all = Vec::new();
        peeked.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"23456789");
        assert_eq!(peeked.peek(1), b"");
    }
}
