//! Headers of WAL pages, as every supported major version writes them on little-endian machines.

use pawang_core::Lsn;

use super::{SegmentName, Timeline};
use crate::repository::ClusterId;

/// Bytes of the header of a page that does not begin a segment.
pub(super) const SHORT_BYTES: usize = 24;
/// Bytes of the header of a segment's first page: so many tell whose segment it is.
pub const SEGMENT_HEADER_BYTES: usize = 40;
/// The page begins with the rest of a record of the page before.
pub(super) const CONTINUES: u16 = 0x0001;
/// The page begins a segment.
const LONG: u16 = 0x0002;
/// The record that was begun on the page before was given up, and another stands in its place (since 14).
pub(super) const OVERWRITES: u16 = 0x0008;
const FLAGS: u16 = 0x000F;
/// `XLOG_PAGE_MAGIC` of each major version.
const MAGIC: [(u16, u32); 5] = [
    (0xD10D, 14),
    (0xD110, 15),
    (0xD113, 16),
    (0xD116, 17),
    (0xD118, 18),
];
const SEGMENT_BYTES_MIN: u32 = 1 << 20;
const SEGMENT_BYTES_MAX: u32 = 1 << 30;
const PAGE_BYTES_MIN: u32 = 1 << 10;
const PAGE_BYTES_MAX: u32 = 1 << 16;

/// What a segment says of itself in its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// PostgreSQL's major version.
    pub major: u32,
    /// The timeline of its first page: that of its name, or an ancestor whose end is copied into it.
    pub timeline: Timeline,
    /// Its first position.
    pub position: Lsn,
    /// Whose it is.
    pub system_identifier: u64,
    /// How long each segment is.
    pub segment_bytes: u32,
    /// How long each page is.
    pub page_bytes: u32,
}

/// A page's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageHeader {
    pub(super) magic: u16,
    pub(super) flags: u16,
    pub(super) timeline: Timeline,
    pub(super) position: Lsn,
    /// Bytes of a record of earlier pages that are still to come, this page's included.
    pub(super) remaining: u32,
}

impl PageHeader {
    /// Reads the header; the bytes must be at least [`SHORT_BYTES`].
    pub(super) fn parse(page: &[u8]) -> Option<PageHeader> {
        Some(PageHeader {
            magic: u16::from_le_bytes(array(page, 0)?),
            flags: u16::from_le_bytes(array(page, 2)?),
            timeline: Timeline(u32::from_le_bytes(array(page, 4)?)),
            position: Lsn(u64::from_le_bytes(array(page, 8)?)),
            remaining: u32::from_le_bytes(array(page, 16)?),
        })
    }

    /// Returns where the page's content begins.
    pub(super) fn bytes(&self) -> usize {
        if self.flags & LONG == 0 {
            SHORT_BYTES
        } else {
            SEGMENT_HEADER_BYTES
        }
    }

    /// Says what is wrong with a page that should lie at a position of a segment.
    pub(super) fn check(&self, segment: &SegmentHeader, position: Lsn) -> Result<(), String> {
        if magic(segment.major) != Some(self.magic) {
            return Err(format!(
                "the page's magic number is {:04X}, not that of PostgreSQL {}",
                self.magic, segment.major
            ));
        }
        if self.position != position {
            return Err(format!("the page is that of position {}", self.position));
        }
        let first = position == segment.position;
        if self.flags & !FLAGS != 0 || (self.flags & LONG != 0) != first {
            return Err(format!("the page's flags are {:04X}", self.flags));
        }
        Ok(())
    }
}

impl SegmentHeader {
    /// Reads the first bytes of a segment.
    ///
    /// # Errors
    /// They are no header of a segment of PostgreSQL 14 to 18; the text says why.
    pub fn parse(bytes: &[u8]) -> Result<SegmentHeader, String> {
        let page = PageHeader::parse(bytes);
        let (Some(page), true) = (page, bytes.len() >= SEGMENT_HEADER_BYTES) else {
            return Err(format!("it has {} bytes only", bytes.len()));
        };
        let major = MAGIC.iter().find(|(magic, _)| *magic == page.magic);
        let Some((_, major)) = major else {
            return Err(match page.magic {
                0 => "it begins with zeros".to_owned(),
                magic => {
                    format!("its magic number {magic:04X} is not of WAL of PostgreSQL 14 to 18")
                }
            });
        };
        let word = |offset| array(bytes, offset).map_or(0, u32::from_le_bytes);
        let header = SegmentHeader {
            major: *major,
            timeline: page.timeline,
            position: page.position,
            system_identifier: array(bytes, 24).map_or(0, u64::from_le_bytes),
            segment_bytes: word(32),
            page_bytes: word(36),
        };
        let sizes = header.segment_bytes.is_power_of_two()
            && header.page_bytes.is_power_of_two()
            && (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&header.segment_bytes)
            && (PAGE_BYTES_MIN..=PAGE_BYTES_MAX).contains(&header.page_bytes);
        if !sizes {
            return Err(format!(
                "its header tells of segments of {} bytes and pages of {}",
                header.segment_bytes, header.page_bytes
            ));
        }
        page.check(&header, page.position)?;
        let aligned = header
            .position
            .0
            .is_multiple_of(u64::from(header.segment_bytes));
        if !aligned || header.timeline.0 == 0 {
            return Err(format!(
                "its header tells of position {} on timeline {}",
                header.position, header.timeline.0
            ));
        }
        Ok(header)
    }

    /// Says why this is not the segment of a cluster that its name promises (invariant I7).
    ///
    /// # Errors
    /// It is of another cluster, version, position or timeline.
    pub fn check(&self, cluster: &ClusterId, name: &SegmentName) -> Result<(), String> {
        if self.system_identifier != cluster.system_identifier {
            return Err(format!(
                "it is WAL of system identifier {}, not {}",
                self.system_identifier, cluster.system_identifier
            ));
        }
        if self.major != cluster.major {
            return Err(format!(
                "it is WAL of PostgreSQL {}, not {}",
                self.major, cluster.major
            ));
        }
        if self.position != name.start(self.segment_bytes) {
            return Err(format!(
                "it is WAL of position {}, and {name} begins at {}",
                self.position,
                name.start(self.segment_bytes)
            ));
        }
        // A segment in which a timeline begins starts with a copy of its ancestor's pages.
        if self.timeline > name.timeline {
            return Err(format!(
                "it is WAL of timeline {}, which is later than {}",
                self.timeline.0, name.timeline.0
            ));
        }
        Ok(())
    }
}

fn magic(major: u32) -> Option<u16> {
    let found = MAGIC.iter().find(|(_, known)| *known == major);
    found.map(|(magic, _)| *magic)
}

pub(super) fn array<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(0xD118_u16.to_le_bytes());
        bytes.extend(7_u16.to_le_bytes());
        bytes.extend(11_u32.to_le_bytes());
        bytes.extend(0x1_0500_0000_u64.to_le_bytes());
        bytes.extend(33_u32.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(7_300_000_000_000_000_001_u64.to_le_bytes());
        bytes.extend((16_u32 << 20).to_le_bytes());
        bytes.extend(8192_u32.to_le_bytes());
        bytes
    }

    #[test]
    fn a_segment_says_whose_it_is() {
        let found = SegmentHeader::parse(&header()).unwrap();
        let mut cluster = ClusterId {
            system_identifier: 7_300_000_000_000_000_001,
            major: 18,
        };
        let name = |text: &str| text.parse::<SegmentName>().unwrap();
        let own = name("0000000B0000000100000005");
        assert_eq!(found.check(&cluster, &own), Ok(()));
        let child = name("0000000C0000000100000005");
        assert_eq!(found.check(&cluster, &child), Ok(()));
        let parent = name("0000000A0000000100000005");
        assert!(found.check(&cluster, &parent).is_err());
        let next = name("0000000B0000000100000006");
        assert!(found.check(&cluster, &next).is_err());
        cluster.major = 17;
        assert!(found.check(&cluster, &own).is_err());
        cluster.major = 18;
        cluster.system_identifier += 1;
        assert!(found.check(&cluster, &own).is_err());
    }

    #[test]
    fn other_bytes_are_refused() {
        for (offset, byte) in [
            (0, 0),
            (1, 0xFF),
            (2, 0x05),
            (35, 3),
            (37, 1),
            (8, 1),
            (3, 1),
        ] {
            let mut bytes = header();
            bytes[offset] = byte;
            assert!(SegmentHeader::parse(&bytes).is_err(), "byte {offset}");
        }
        assert!(SegmentHeader::parse(&header()[..39]).is_err());
        assert_eq!(
            SegmentHeader::parse(&[0; 40]).unwrap_err(),
            "it begins with zeros"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = SegmentHeader::parse(&bytes);
        }
    }
}
