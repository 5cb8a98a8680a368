//! Writes WAL of any shape for tests of pure parts, as PostgreSQL 17 lays it out.

use jiff::Timestamp;

use super::SegmentName;
use crate::repository::ClusterId;

pub(super) const PAGE: usize = 8192;
pub(super) const SEGMENT: u32 = 1 << 20;
const MAGIC: u16 = 0xD116;

pub(super) struct Forge {
    bytes: Vec<u8>,
    start: u64,
    timeline: u32,
    cluster: ClusterId,
    previous: u64,
}

pub(super) fn cluster() -> ClusterId {
    ClusterId {
        system_identifier: 7_300_000_000_000_000_001,
        major: 17,
    }
}

impl Forge {
    /// Begins a segment; so many bytes of a record of the segment before come first.
    pub(super) fn new(name: &SegmentName, remaining: u32) -> Forge {
        let start = name.start(SEGMENT).0;
        let mut forge = Forge {
            bytes: Vec::new(),
            start,
            timeline: name.timeline.0,
            cluster: cluster(),
            previous: start.saturating_sub(64),
        };
        let mut left = remaining as usize;
        forge.page(u32::from(remaining > 0), remaining);
        while left > 0 {
            let taken = left.min(forge.room());
            forge.bytes.resize(forge.bytes.len() + taken, 0x5A);
            left -= taken;
            if left > 0 {
                forge.page(1, u32::try_from(left).unwrap());
            }
        }
        forge.align();
        forge
    }

    fn room(&self) -> usize {
        PAGE - self.bytes.len() % PAGE
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }

    /// Begins a page with flags and the bytes that its first record has left.
    pub(super) fn page(&mut self, flags: u32, remaining: u32) {
        let first = self.bytes.is_empty();
        let position = self.start + self.bytes.len() as u64;
        let flags = u16::try_from(flags).unwrap() | if first { 2 } else { 0 };
        self.bytes.extend(MAGIC.to_le_bytes());
        self.bytes.extend(flags.to_le_bytes());
        self.bytes.extend(self.timeline.to_le_bytes());
        self.bytes.extend(position.to_le_bytes());
        self.bytes.extend(remaining.to_le_bytes());
        self.bytes.extend([0; 4]);
        if first {
            self.bytes
                .extend(self.cluster.system_identifier.to_le_bytes());
            self.bytes.extend(SEGMENT.to_le_bytes());
            self.bytes
                .extend(u32::try_from(PAGE).unwrap().to_le_bytes());
        }
    }

    /// Returns the bytes of a record that would be written now.
    pub(super) fn bytes_of(&self, resource: u8, info: u8, xid: u32, data: &[u8]) -> Vec<u8> {
        let total = 24 + data.len();
        let mut record = Vec::with_capacity(total);
        record.extend(u32::try_from(total).unwrap().to_le_bytes());
        record.extend(xid.to_le_bytes());
        record.extend(self.previous.to_le_bytes());
        record.extend([info, resource, 0, 0]);
        let crc = crc32c::crc32c_append(crc32c::crc32c(data), &record);
        record.extend(crc.to_le_bytes());
        record.extend(data);
        record
    }

    /// Writes a record, over as many pages as it needs, or up to the segment's end.
    pub(super) fn record(&mut self, resource: u8, info: u8, xid: u32, data: &[u8]) {
        let record = self.bytes_of(resource, info, xid, data);
        if self.bytes.len().is_multiple_of(PAGE) {
            if self.full() {
                return;
            }
            self.page(0, 0);
        }
        self.previous = self.start + self.bytes.len() as u64;
        self.put(&record);
    }

    /// Writes the bytes of a record.
    pub(super) fn put(&mut self, record: &[u8]) {
        let mut left = record;
        loop {
            let (now, later) = left.split_at(left.len().min(self.room()));
            self.bytes.extend(now);
            left = later;
            if left.is_empty() || self.full() {
                break;
            }
            self.page(1, u32::try_from(left.len()).unwrap());
        }
        self.align();
    }

    pub(super) fn commit(&mut self, xid: u32, at: Timestamp) {
        let micros = at.as_microsecond() - 946_684_800_000_000;
        let mut data = vec![255, 8];
        data.extend(micros.to_le_bytes());
        self.record(1, 0, xid, &data);
    }

    pub(super) fn full(&self) -> bool {
        self.bytes.len() >= SEGMENT as usize
    }

    /// Fills the rest with records.
    pub(super) fn fill(&mut self) {
        let mut bytes = 40;
        while !self.full() {
            self.record(10, 0, 7, &vec![0xA5; bytes]);
            bytes = bytes * 7 % 9_001 + 1;
        }
    }

    pub(super) fn switch(&mut self) {
        self.record(0, 0x40, 0, &[]);
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn timeline(&mut self, timeline: u32) {
        self.timeline = timeline;
    }

    /// Returns what was written, with zeros up to the segment's end.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(SEGMENT as usize, 0);
        self.bytes
    }
}

/// Returns a segment that is full of records.
pub(super) fn full_segment(name: &SegmentName) -> Vec<u8> {
    let mut forge = Forge::new(name, 100);
    forge.fill();
    forge.finish()
}
