//! `INCREMENTAL.` files of PostgreSQL 17 and later: which blocks they hold, and where these belong.
//!
//! The layout is that of `src/include/backup/basebackup_incremental.h`: three numbers, the numbers of the blocks, zeroes up
//! to a whole block when there are any, the blocks. All numbers are of the server's byte order.

use std::io::{self, Read};

/// What the name of such a file begins with.
pub(super) const PREFIX: &str = "INCREMENTAL.";
const MAGIC: u32 = 0xd3ae_1f0d;
const NUMBER_BYTES: usize = 4;
const HEAD_BYTES: usize = 3 * NUMBER_BYTES;
/// A file of a relation has so many bytes at most unless PostgreSQL was built otherwise; its blocks bound the header.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// To write so much twice costs less than to leave it out.
const BRIDGE_BYTES_MAX: u64 = 64 << 10;

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
    pub(super) fn length(&self) -> u32 {
        let behind = self.blocks.iter().map(|block| block + 1).max();
        self.truncation.max(behind.unwrap_or(0))
    }
}

/// Content that lies in one piece both in a member and in the file that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Where it begins in the file; of no account when it is not wanted, but for files that are whole.
    pub(super) at: u64,
    pub(super) bytes: u64,
    pub(super) wanted: bool,
}

impl Header {
    /// Returns how many bytes the member has by it.
    pub(super) fn member_bytes(&self, block_bytes: u32) -> u64 {
        let head = (HEAD_BYTES + self.blocks.len() * NUMBER_BYTES) as u64;
        let block_bytes = u64::from(block_bytes);
        match self.blocks.len() as u64 {
            0 => head,
            count => head.next_multiple_of(block_bytes) + count * block_bytes,
        }
    }

    /// Returns what follows it; what is not wanted comes in pieces as large as can be.
    pub(super) fn runs<'a>(
        &'a self,
        block_bytes: u32,
        wants: &'a dyn Fn(u32) -> bool,
    ) -> impl Iterator<Item = Run> + 'a {
        let block_bytes = u64::from(block_bytes);
        let runs = self.blocks.chunk_by(|one, next| match wants(*one) {
            true => wants(*next) && one.checked_add(1) == Some(*next),
            false => !wants(*next),
        });
        runs.map(move |run| Run {
            at: u64::from(run[0]) * block_bytes,
            bytes: run.len() as u64 * block_bytes,
            wanted: wants(run[0]),
        })
    }
}

/// Returns what a member has that is a whole file.
pub(super) fn runs_of_whole<'a>(
    bytes: u64,
    block_bytes: u32,
    wants: &'a dyn Fn(u32) -> bool,
) -> impl Iterator<Item = Run> + 'a {
    let block_bytes = u64::from(block_bytes);
    let wants_at = move |at: u64| u32::try_from(at / block_bytes).is_ok_and(wants);
    let mut at = 0;
    std::iter::from_fn(move || {
        let (from, wanted) = (at, wants_at(at));
        while at < bytes && wants_at(at) == wanted {
            at += block_bytes;
        }
        at = at.min(bytes);
        (from < bytes).then_some(Run {
            at: from,
            bytes: at - from,
            wanted,
        })
    })
}

/// Makes one run of wanted ones and of what lies between them, where that is short and is written again by somebody later.
pub(super) fn bridged<'a>(
    runs: impl Iterator<Item = Run> + 'a,
    block_bytes: u32,
    comes_later: &'a dyn Fn(u32) -> bool,
) -> impl Iterator<Item = Run> + 'a {
    let block_bytes = u64::from(block_bytes);
    let is_bridge = move |run: &Run| {
        let mut blocks = run.at / block_bytes..(run.at + run.bytes).div_ceil(block_bytes);
        run.bytes <= BRIDGE_BYTES_MAX
            && blocks.all(|block| u32::try_from(block).is_ok_and(comes_later))
    };
    let marked = runs.map(move |run| Run {
        wanted: run.wanted || is_bridge(&run),
        ..run
    });
    let mut marked = marked.peekable();
    std::iter::from_fn(move || {
        let mut run = marked.next()?;
        while let Some(next) = marked.next_if(|next| next.wanted == run.wanted) {
            run.bytes += next.bytes;
        }
        Some(run)
    })
}

fn wrong(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BLOCK: u32 = 128;

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

    /// Makes of a file what a member says, but for blocks that are not wanted; returns the rest of it and the new length.
    fn applied(member: &[u8], file: &mut Vec<u8>, wants: &dyn Fn(u32) -> bool) -> io::Result<u64> {
        let mut from = member;
        let header = Header::read(&mut from, BLOCK)?;
        if header.member_bytes(BLOCK) != member.len() as u64 {
            return Err(wrong("it has another length"));
        }
        let place = |at: u64| usize::try_from(at).unwrap();
        file.truncate(place(u64::from(header.truncation) * u64::from(BLOCK)));
        file.resize(place(u64::from(header.length()) * u64::from(BLOCK)), 0);
        for run in header.runs(BLOCK, wants) {
            let (now, later) = from.split_at(place(run.bytes));
            from = later;
            if run.wanted {
                file[place(run.at)..][..now.len()].copy_from_slice(now);
            }
        }
        assert!(from.is_empty());
        Ok(file.len() as u64)
    }

    fn filled(fillers: impl IntoIterator<Item = u8>) -> Vec<u8> {
        let blocks = fillers.into_iter().map(|filler| [filler; BLOCK as usize]);
        blocks.collect::<Vec<_>>().concat()
    }

    proptest! {
        #[test]
        fn a_file_becomes_what_the_blocks_say(
            old in prop::collection::vec(1u8..=255, 0..40),
            truncation in 0u32..50,
            blocks in prop::collection::btree_map(0u32..200, 1u8..=255, 0..150),
            modulus in 1u32..5,
        ) {
            let blocks: Vec<_> = blocks.into_iter().collect();
            let bytes = encoded(truncation, &blocks);
            let mut file = filled(old.iter().copied());
            let length = applied(&bytes, &mut file, &|_| true).unwrap();
            let new = expected(&old, truncation, &blocks);
            prop_assert_eq!(length, new.len() as u64 * u64::from(BLOCK));
            prop_assert!(file == filled(new));
            let wants = |block: u32| block.is_multiple_of(modulus);
            let (wanted, mut file): (Vec<_>, _) = (
                blocks.into_iter().filter(|(block, _)| wants(*block)).collect(),
                filled(old.iter().copied()),
            );
            applied(&bytes, &mut file, &wants).unwrap();
            let mut new = expected(&old, truncation, &wanted);
            new.resize(usize::try_from(length).unwrap() / BLOCK as usize, 0);
            prop_assert!(file == filled(new));
        }

        #[test]
        fn a_whole_file_is_taken_in_runs(
            bytes in 0u64..5_000,
            wanted in prop::collection::vec(any::<bool>(), 40),
        ) {
            let wants = |block: u32| wanted[block as usize];
            let runs: Vec<Run> = runs_of_whole(bytes, BLOCK, &wants).collect();
            prop_assert_eq!(runs.iter().map(|run| run.bytes).sum::<u64>(), bytes);
            let mut at = 0;
            for run in &runs {
                prop_assert_eq!(run.at, at);
                at += run.bytes;
                let block = |at: u64| u32::try_from(at / u64::from(BLOCK)).unwrap();
                prop_assert!((block(run.at)..=block(at - 1)).all(|block| wants(block) == run.wanted));
            }
            prop_assert!(runs.windows(2).all(|pair| pair[0].wanted != pair[1].wanted));
        }

        #[test]
        fn only_what_is_written_later_is_bridged(
            bytes in 0u64..400_000,
            blocks in prop::collection::vec((prop::bool::weighted(0.01), prop::bool::weighted(0.99)), 3200),
        ) {
            let block = |at: u64| usize::try_from(at / u64::from(BLOCK)).unwrap();
            let wants = |block: u32| blocks[block as usize].0;
            let comes_later = |block: u32| blocks[block as usize].1;
            let runs = runs_of_whole(bytes, BLOCK, &wants);
            let runs: Vec<Run> = bridged(runs, BLOCK, &comes_later).collect();
            prop_assert_eq!(runs.iter().map(|run| run.bytes).sum::<u64>(), bytes);
            prop_assert!(runs.windows(2).all(|pair| pair[0].wanted != pair[1].wanted));
            for run in &runs {
                let held = &blocks[block(run.at)..=block(run.at + run.bytes - 1)];
                if run.wanted {
                    prop_assert!(held.iter().all(|(wanted, later)| *wanted || *later));
                } else {
                    let needless = run.bytes > BRIDGE_BYTES_MAX || held.iter().any(|(_, later)| !later);
                    prop_assert!(needless && held.iter().all(|(wanted, _)| !wanted));
                }
            }
        }
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let good = encoded(4, &[(1, 7), (3, 9)]);
        let read = |bytes: &[u8]| applied(bytes, &mut Vec::new(), &|_| true);
        assert_eq!(read(&good).unwrap(), 4 * u64::from(BLOCK));
        for length in [0, 3, 11, 12, 19, 20, 100, 128, 256, good.len() - 1] {
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
