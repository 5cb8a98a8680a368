//! `INCREMENTAL.` files of PostgreSQL 17 and later, applied to the file of the backup before, without space of their own.
//!
//! The layout is that of `src/include/backup/basebackup_incremental.h`: three numbers, the numbers of the blocks, zeroes up
//! to a whole block when there are any, the blocks. All numbers are of the server's byte order.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// What the name of such a file begins with.
pub(super) const PREFIX: &str = "INCREMENTAL.";
const MAGIC: u32 = 0xd3ae_1f0d;
const NUMBER_BYTES: usize = 4;
const HEAD_BYTES: usize = 3 * NUMBER_BYTES;
/// A file of a relation has so many bytes at most unless PostgreSQL was built otherwise; its blocks bound the header.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// So much is read and written at once.
const BUFFER_BYTES: usize = 256 << 10;

/// The header of an incremental file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The blocks that it holds, in the order in which they follow.
    pub(super) blocks: Vec<u32>,
    /// Blocks from here on are those of this file only: the older ones were cut off.
    pub(super) truncation: u32,
}

impl Header {
    /// Reads the header with its padding.
    pub(super) fn read(from: &mut impl Read, block_bytes: u32) -> io::Result<Header> {
        let mut head = [0; HEAD_BYTES];
        from.read_exact(&mut head)?;
        let number = |at: usize| {
            let bytes = head[at..at + NUMBER_BYTES].try_into();
            u32::from_le_bytes(bytes.expect("four bytes"))
        };
        let (magic, count, truncation) = (number(0), number(4), number(8));
        if magic != MAGIC {
            return Err(wrong(&format!(
                "its first number is {magic:08x}, not {MAGIC:08x}"
            )));
        }
        let blocks_max = SEGMENT_BYTES_MAX / u64::from(block_bytes.max(1));
        if u64::from(count) > blocks_max || u64::from(truncation) > blocks_max {
            return Err(wrong(&format!(
                "it speaks of {count} blocks and of a length of {truncation}; a file has {blocks_max} at most"
            )));
        }
        let count = count as usize;
        let mut numbers = vec![0; count * NUMBER_BYTES];
        from.read_exact(&mut numbers)?;
        let blocks: Vec<u32> = numbers
            .chunks_exact(NUMBER_BYTES)
            .map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four bytes")))
            .collect();
        if let Some(block) = blocks.iter().find(|block| u64::from(**block) >= blocks_max) {
            return Err(wrong(&format!("it holds block {block}, which no file has")));
        }
        if count > 0 {
            let block_bytes = block_bytes as usize;
            let used = (HEAD_BYTES + numbers.len()) % block_bytes;
            let mut padding = vec![0; if used == 0 { 0 } else { block_bytes - used }];
            from.read_exact(&mut padding)?;
        }
        Ok(Header { blocks, truncation })
    }

    /// Returns how many blocks the file has when this is applied.
    fn length(&self) -> u32 {
        let behind = self.blocks.iter().map(|block| block + 1).max();
        self.truncation.max(behind.unwrap_or(0))
    }
}

/// Which side of it failed.
#[derive(Debug)]
pub(super) enum Side {
    /// What is read, or what it says.
    Read(io::Error),
    /// The file that is written.
    Written(io::Error),
}

/// Makes of the file of the backup before the file of this backup; returns its length.
///
/// What was cut off and grew again without WAL is zeroes, as it is on the server.
pub(super) fn apply(from: &mut impl Read, to: &File, block_bytes: u32) -> Result<u64, Side> {
    let header = Header::read(from, block_bytes).map_err(Side::Read)?;
    let bytes = |blocks: u32| u64::from(blocks) * u64::from(block_bytes);
    let resize = || {
        if to.metadata()?.len() > bytes(header.truncation) {
            to.set_len(bytes(header.truncation))?;
        }
        to.set_len(bytes(header.length()))
    };
    resize().map_err(Side::Written)?;
    let block_size = block_bytes as usize;
    let mut buffer = vec![0; (BUFFER_BYTES / block_size).max(1) * block_size];
    let mut rest = header.blocks.as_slice();
    while !rest.is_empty() {
        let run = run(rest, buffer.len() / block_size);
        let piece = &mut buffer[..run * block_size];
        from.read_exact(piece).map_err(Side::Read)?;
        to.write_all_at(piece, bytes(rest[0]))
            .map_err(Side::Written)?;
        rest = &rest[run..];
    }
    let mut more = [0];
    if from.read(&mut more).map_err(Side::Read)? != 0 {
        return Err(Side::Read(wrong("there is more behind its last block")));
    }
    Ok(bytes(header.length()))
}

/// Returns how many of the first blocks follow each other, `max` at most.
fn run(blocks: &[u32], max: usize) -> usize {
    let follows = blocks
        .windows(2)
        .take(max.saturating_sub(1))
        .take_while(|pair| pair[0].checked_add(1) == Some(pair[1]));
    1 + follows.count()
}

fn wrong(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BLOCK: u32 = 1024;

    fn encoded(truncation: u32, blocks: &[(u32, u8)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let count = u32::try_from(blocks.len()).unwrap();
        for number in [MAGIC, count, truncation] {
            bytes.extend(number.to_le_bytes());
        }
        for (block, _) in blocks {
            bytes.extend(block.to_le_bytes());
        }
        if !blocks.is_empty() {
            bytes.resize(bytes.len().next_multiple_of(BLOCK as usize), 0);
        }
        for (_, fill) in blocks {
            bytes.extend([*fill; BLOCK as usize]);
        }
        bytes
    }

    /// What a file of whole blocks becomes, block by block.
    fn expected(old: &[u8], truncation: u32, blocks: &[(u32, u8)]) -> Vec<u8> {
        let mut new = old.to_vec();
        new.resize(truncation as usize, 0);
        for (block, fill) in blocks {
            let block = *block as usize;
            new.resize(new.len().max(block + 1), 0);
            new[block] = *fill;
        }
        new
    }

    proptest! {
        #[test]
        fn a_file_becomes_what_the_blocks_say(
            old in prop::collection::vec(1u8..=255, 0..40),
            truncation in 0u32..50,
            blocks in prop::collection::btree_map(0u32..600, 1u8..=255, 0..400),
        ) {
            let blocks: Vec<_> = blocks.into_iter().collect();
            let file = tempfile::tempfile().unwrap();
            for (block, fill) in old.iter().enumerate() {
                file.write_all_at(&[*fill; BLOCK as usize], block as u64 * u64::from(BLOCK)).unwrap();
            }
            let bytes = encoded(truncation, &blocks);
            let length = apply(&mut bytes.as_slice(), &file, BLOCK).unwrap();
            let new = expected(&old, truncation, &blocks);
            prop_assert_eq!(length, new.len() as u64 * u64::from(BLOCK));
            let mut found = vec![0; usize::try_from(length).unwrap()];
            file.read_exact_at(&mut found, 0).unwrap();
            for (block, fill) in found.chunks(BLOCK as usize).zip(new) {
                prop_assert!(block.iter().all(|byte| *byte == fill));
            }
        }
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let good = encoded(4, &[(1, 7), (3, 9)]);
        let read = |bytes: &[u8]| {
            let file = tempfile::tempfile().unwrap();
            apply(&mut &*bytes, &file, BLOCK)
        };
        assert_eq!(read(&good).unwrap(), 4 * u64::from(BLOCK));
        for length in [0, 3, 11, 12, 19, 20, 500, 1024, 2048, good.len() - 1] {
            assert!(read(&good[..length]).is_err(), "{length}");
        }
        for byte in [0, 7, 11, 15] {
            let mut bytes = good.clone();
            bytes[byte] ^= 0xFF;
            assert!(read(&bytes).is_err(), "byte {byte}");
        }
        let longer = [good.as_slice(), &[0]].concat();
        assert!(read(&longer).is_err());
        assert_eq!(read(&encoded(5, &[])).unwrap(), 5 * u64::from(BLOCK));
    }
}
