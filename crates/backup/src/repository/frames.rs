//! Frames of zstd, one behind the other: each is decompressed at once where it is small, and passed over unread where nobody
//! wants it.

use std::io::{self, Read};

use zstd::bulk::Decompressor;
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::{find_frame_compressed_size, get_frame_content_size};

/// A frame with more content is decompressed piece by piece, and so is one that does not say how much it has.
const FRAME_BYTES_MAX: u64 = 4 << 20;
/// So much is read, or decompressed of a large frame, at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Reads the content of frames.
pub(super) struct Frames<R> {
    from: R,
    /// What was read, of which so much was used.
    stored: Vec<u8>,
    used: usize,
    /// Whether nothing more can be read.
    ended: bool,
    /// What was decompressed, of which so much was given.
    raw: Vec<u8>,
    given: usize,
    whole: Decompressor<'static>,
    /// Works on a large frame.
    pieces: Option<Decoder<'static>>,
    /// So much content came, or was passed over.
    raw_bytes: u64,
}

/// What comes next.
enum Next {
    End,
    /// A frame of so many bytes, with so many of content.
    Small(usize, usize),
    Large,
}

impl<R: Read> Frames<R> {
    pub(super) fn new(from: R) -> io::Result<Frames<R>> {
        Ok(Frames {
            from,
            stored: Vec::new(),
            used: 0,
            ended: false,
            raw: Vec::new(),
            given: 0,
            whole: Decompressor::new()?,
            pieces: None,
            raw_bytes: 0,
        })
    }

    /// Returns how much content came so far, or was passed over.
    pub(super) fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// Returns content that was not used yet; nothing at the end.
    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        while self.given == self.raw.len() {
            self.raw.clear();
            self.given = 0;
            if self.pieces.is_some() {
                self.piece()?;
            } else {
                match self.next()? {
                    Next::End => break,
                    Next::Small(stored, raw) => self.decompress(stored, raw)?,
                    Next::Large => self.pieces = Some(Decoder::new()?),
                }
            }
            self.raw_bytes += self.raw.len() as u64;
        }
        Ok(&self.raw[self.given..])
    }

    /// Says that so much of it was used.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.given += bytes;
        assert!(
            self.given <= self.raw.len(),
            "only what came can be used up"
        );
    }

    /// Passes over content; what frames of it are small and end within it is not decompressed.
    pub(super) fn skip(&mut self, mut bytes: u64) -> io::Result<()> {
        loop {
            let there = (self.raw.len() - self.given).min(clamped(bytes));
            self.given += there;
            bytes -= there as u64;
            if bytes == 0 {
                return Ok(());
            }
            if self.given < self.raw.len() {
                continue;
            }
            if self.pieces.is_none()
                && let Next::Small(stored, raw) = self.next()?
                && raw as u64 <= bytes
            {
                self.used += stored;
                self.raw_bytes += raw as u64;
                bytes -= raw as u64;
            } else if self.fill()?.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads until all of the next frame is there, when it is small.
    fn next(&mut self) -> io::Result<Next> {
        loop {
            let stored = &self.stored[self.used..];
            if self.ended && stored.is_empty() {
                return Ok(Next::End);
            }
            match get_frame_content_size(stored) {
                Ok(Some(raw)) if raw <= FRAME_BYTES_MAX => {
                    if let Ok(bytes) = find_frame_compressed_size(stored) {
                        return Ok(Next::Small(bytes, clamped(raw)));
                    }
                }
                Ok(_) => return Ok(Next::Large),
                Err(_) => {}
            }
            // What is no frame, or is cut off, is told by whoever decompresses it.
            if self.ended || stored.len() as u64 > 2 * FRAME_BYTES_MAX {
                return Ok(Next::Large);
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> io::Result<()> {
        self.stored.drain(..self.used);
        self.used = 0;
        let there = self.stored.len();
        self.stored.resize(there + BUFFER_BYTES, 0);
        let read = loop {
            match self.from.read(&mut self.stored[there..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.stored.truncate(there + *read.as_ref().unwrap_or(&0));
        self.ended = read? == 0;
        Ok(())
    }

    fn decompress(&mut self, stored: usize, raw: usize) -> io::Result<()> {
        let frame = &self.stored[self.used..self.used + stored];
        self.raw.reserve_exact(raw);
        self.whole.decompress_to_buffer(frame, &mut self.raw)?;
        self.used += stored;
        Ok(())
    }

    fn piece(&mut self) -> io::Result<()> {
        if self.used == self.stored.len() && !self.ended {
            self.read()?;
        }
        let Some(decoder) = &mut self.pieces else {
            return Ok(());
        };
        self.raw.reserve_exact(BUFFER_BYTES);
        let mut input = InBuffer::around(&self.stored[self.used..]);
        let mut output = OutBuffer::around(&mut self.raw);
        let left = decoder.run(&mut input, &mut output)?;
        let used = input.pos();
        self.used += used;
        if left == 0 {
            self.pieces = None;
        } else if self.raw.is_empty() && used == 0 && self.ended {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the last frame is not whole",
            ));
        }
        Ok(())
    }
}

fn clamped(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Content of any compressibility.
    fn content(seed: u8, length: usize) -> Vec<u8> {
        let mut state = u32::from(seed) + 1;
        let mask = if seed.is_multiple_of(3) { 0 } else { seed };
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8 & mask
        };
        (0..length).map(|_| next()).collect()
    }

    /// Frames that say how large they are, and others.
    fn compressed(content: &[u8], says: bool) -> Vec<u8> {
        if says {
            let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
            let flag = zstd::zstd_safe::CParameter::ChecksumFlag(true);
            compressor.set_parameter(flag).unwrap();
            return compressor.compress(content).unwrap();
        }
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        io::Write::write_all(&mut encoder, content).unwrap();
        encoder.finish().unwrap()
    }

    /// Pieces of content, with their places.
    type Pieces = Vec<(u64, Vec<u8>)>;

    /// Reads, and passes over what the steps say; returns what came, and how much there was.
    fn read(bytes: &[u8], steps: &[(bool, u64)]) -> io::Result<(Pieces, u64)> {
        let mut frames = Frames::new(bytes)?;
        let (mut found, mut at) = (Pieces::new(), 0);
        for (skipped, mut bytes) in steps.iter().copied() {
            if skipped {
                frames.skip(bytes)?;
                at += bytes;
                continue;
            }
            while bytes > 0 {
                let piece = frames.fill()?;
                let piece = piece[..piece.len().min(clamped(bytes))].to_vec();
                frames.consume(piece.len());
                let length = piece.len() as u64;
                found.push((at, piece));
                (at, bytes) = (at + length, bytes - length);
                if length == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        assert!(frames.fill()?.is_empty(), "the steps are all of it");
        Ok((found, frames.raw_bytes()))
    }

    fn size() -> impl Strategy<Value = usize> {
        prop_oneof![
            0..300usize,
            200_000..400_000usize,
            4_190_000..4_200_000usize
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn what_is_read_is_right_whatever_is_passed_over(
            parts in prop::collection::vec((any::<u8>(), size(), any::<bool>()), 0..6),
            steps in prop::collection::vec((any::<bool>(), size()), 0..12),
        ) {
            let mut all = Vec::new();
            let mut bytes = Vec::new();
            for (seed, length, says) in &parts {
                let content = content(*seed, *length);
                bytes.extend(compressed(&content, *says));
                all.extend(content);
            }
            let mut left = all.len() as u64;
            let mut steps: Vec<(bool, u64)> = steps
                .into_iter()
                .map(|(skipped, bytes)| {
                    let bytes = left.min(bytes as u64);
                    left -= bytes;
                    (skipped, bytes)
                })
                .collect();
            steps.push((false, left));
            let (found, raw_bytes) = read(&bytes, &steps).unwrap();
            prop_assert_eq!(raw_bytes, all.len() as u64);
            for (at, piece) in found {
                let at = at as usize;
                prop_assert!(all[at..at + piece.len()] == piece, "at {}", at);
            }
        }
    }

    #[test]
    fn what_is_damaged_is_an_error() {
        for says in [true, false] {
            let content = content(7, 700_000);
            let whole = compressed(&content, says);
            let all = [(false, 700_000)];
            assert!(read(&whole, &all).is_ok());
            for length in [1, 3, 9, 20, whole.len() / 2, whole.len() - 1] {
                assert!(read(&whole[..length], &all).is_err(), "{says} {length}");
            }
            let longer = [whole.as_slice(), b"tail"].concat();
            assert!(read(&longer, &all).is_err());
            assert!(read(&whole, &[(true, 700_001)]).is_err());
        }
        let mut flipped = compressed(&content(7, 700_000), true);
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        assert!(read(&flipped, &[(false, 700_000)]).is_err());
        // Nothing that makes a large one of it costs memory.
        assert!(read(&[0x28, 0xb5, 0x2f, 0xfd, 0xe4], &[]).is_err());
    }
}
