//! Which pages of a file changed since another backup: by the position in their headers where their last change was logged.

use std::io;
use std::sync::Arc;

use pawang_core::Lsn;

use super::super::checksum::{Verdict, judge, lsn};
use super::super::crew::{PageCheck, PageTally};
use super::super::lanes::Lane;
use super::super::source::{Piece, Source};

/// Pages of one file that are looked through.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) source: Arc<Source>,
    /// The first page, counted within the file.
    pub(crate) first: u32,
    /// How many pages.
    pub(crate) count: u32,
    /// The number that the file's first page has in its fork.
    pub(crate) begin: u32,
    /// So many pages of the file the other backup has.
    pub(crate) known: u32,
    /// Where the other backup began.
    pub(crate) since: Lsn,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Scanned {
    /// The pages that changed, or that cannot say so, counted within the file.
    pub(crate) blocks: Vec<u32>,
    /// What the others said.
    pub(crate) pages: PageTally,
}

impl Scan {
    /// Looks through the pages, which a lane brings if they are not here.
    pub(crate) fn run(
        &self,
        check: &PageCheck,
        buffer: &mut Vec<u8>,
        lane: Option<&Lane>,
    ) -> io::Result<Scanned> {
        let block_bytes = check.geometry.block_bytes as usize;
        let at_once = (self.source.read_bytes() / block_bytes).max(1);
        if buffer.len() < at_once * block_bytes {
            buffer.resize(at_once * block_bytes, 0);
        }
        let mut found = Scanned::default();
        let mut done = 0;
        while done < self.count as usize {
            let now = at_once.min(self.count as usize - done);
            let block = self.first + u32::try_from(done).expect("it is less than the count");
            let mut pieces = [Piece {
                source: &self.source,
                from: u64::from(block) * block_bytes as u64,
                into: &mut buffer[..now * block_bytes],
                read: None,
            }];
            Piece::read_all(&mut pieces, lane)?;
            let [piece] = pieces;
            for (page, block) in piece.into.chunks_exact(block_bytes).zip(block..) {
                if self.unchanged(page, block, check) {
                    found.pages.checked += 1;
                } else {
                    found.blocks.push(block);
                }
            }
            done += now;
        }
        Ok(found)
    }

    /// Says whether the other backup has the page as it is. A page that is zero, or wrong, says nothing about itself.
    fn unchanged(&self, page: &[u8], block: u32, check: &PageCheck) -> bool {
        block < self.known
            && lsn(page) < self.since
            && judge(page, self.begin.saturating_add(block), &check.rules) == Verdict::Good
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::super::super::checksum::{PageRules, checksum};
    use super::super::super::cut::Geometry;
    use super::*;

    fn page(lsn: u32, block: u32) -> Vec<u8> {
        let mut page = vec![0; 8192];
        page[4..8].copy_from_slice(&lsn.to_le_bytes());
        page[12..18].copy_from_slice(&[24, 0, 0, 32, 0, 32]);
        let sum = checksum(&page, block);
        page[8..10].copy_from_slice(&sum.to_le_bytes());
        page
    }

    #[test]
    fn what_changed_or_cannot_say_so_is_found() {
        let begin = 131_072;
        let mut pages: Vec<Vec<u8>> = (0..100).map(|block| page(500, begin + block)).collect();
        pages[3] = page(1000, begin + 3);
        pages[4] = page(999, begin + 4);
        pages[40] = vec![0; 8192];
        pages[41][6000] ^= 1;
        // One whose page was torn: the older half has the header.
        pages[77][8000..].fill(9);
        let file = tempfile::tempfile().unwrap();
        for (page, at) in pages.iter().zip(0u64..) {
            file.write_all_at(page, at * 8192).unwrap();
        }
        let check = PageCheck {
            rules: PageRules {
                checksums: true,
                start: Lsn(5000),
            },
            geometry: Geometry {
                block_bytes: 8192,
                segment_blocks: begin,
            },
            source: None,
        };
        let mut scan = Scan {
            source: Arc::new(Source::File(file)),
            first: 0,
            count: 102,
            begin,
            known: 99,
            since: Lsn(1000),
        };
        let found = scan.run(&check, &mut Vec::new(), None).unwrap();
        assert_eq!(found.blocks, [3, 40, 41, 77, 99, 100, 101]);
        assert_eq!(found.pages.checked, 95);
        (scan.first, scan.count) = (40, 2);
        let found = scan.run(&check, &mut Vec::new(), None).unwrap();
        assert_eq!(found.blocks, [40, 41]);
    }
}
