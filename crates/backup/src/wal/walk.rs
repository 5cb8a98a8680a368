//! Walks the records of a segment: where its WAL ends, and when its transactions were committed.
//!
//! It decodes no record but the end of a transaction and a restore point; that the bytes are what the server wrote is what it is for.

use jiff::Timestamp;
use pawang_core::Lsn;

use super::Timeline;
use super::page::{
    CONTINUES, OVERWRITES, PageHeader, SEGMENT_HEADER_BYTES, SHORT_BYTES, SegmentHeader, array,
};

/// Bytes of a record's header.
const HEADER_BYTES: usize = 24;
/// The checksum is of all before itself, and of what follows the header.
const CRC_OFFSET: usize = 20;
/// Records begin at multiples of this.
const ALIGNMENT: usize = 8;
/// PostgreSQL's `XLogRecordMaxSize` and some more, so that a length of nonsense ends the walk.
const RECORD_BYTES_MAX: u32 = 1 << 30;
/// So many bytes of each record are kept: the header and, in a commit, the time; all of a restore point.
const HEAD_BYTES: usize = 104;
/// What follows WAL that is not whole yet: the page in which it ends is walked when it is filled up with this.
pub(crate) const NOTHING: &[u8] = &[0; 64 << 10];
const RESOURCE_XLOG: u8 = 0;
const RESOURCE_TRANSACTION: u8 = 1;
const XLOG_SWITCH: u8 = 0x40;
const XLOG_RESTORE_POINT: u8 = 0x70;
/// The name of a restore point comes behind its time, with zeros up to this length.
const NAME_BYTES: usize = 64;
const COMMIT: u8 = 0x00;
const ABORT: u8 = 0x20;
const COMMIT_PREPARED: u8 = 0x30;
const ABORT_PREPARED: u8 = 0x40;
/// Microseconds from 1970 to 2000, where PostgreSQL's time begins.
const EPOCH_OFFSET_US: i64 = 946_684_800_000_000;

/// What a walk found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    /// What the segment says of itself.
    pub header: SegmentHeader,
    /// The timeline of its last page.
    pub timeline: Timeline,
    /// The position behind its last whole record; behind all of it when it was left by a switch.
    pub end: Lsn,
    /// How it ends.
    pub ending: Ending,
    /// How many records are whole in it.
    pub records: u64,
    /// The first commit.
    pub first_commit: Option<CommitRecord>,
    /// The last commit.
    pub last_commit: Option<CommitRecord>,
}

/// How the WAL of a segment ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It goes on to the segment's last byte, where a record may continue in the next segment.
    Whole,
    /// The server left the rest of the segment empty (`pg_switch_wal`, `archive_timeout`).
    Switched,
    /// It was not fed further; nothing is wrong up to there.
    Cut {
        /// The position behind the last byte.
        at: Lsn,
    },
    /// From here on it is no WAL, or not what was written.
    Stopped {
        /// Where the record, or the page, begins that is none.
        at: Lsn,
        /// What is wrong there.
        problem: String,
    },
}

/// The end of a transaction that was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitRecord {
    /// The transaction; 0 for one that had been prepared.
    pub xid: u32,
    /// When, by the server's clock.
    pub at: Timestamp,
    /// The position behind the record.
    pub end: Lsn,
}

/// A record at which PostgreSQL ends recovery when it is told to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The end of a transaction, by a commit or not; that of a prepared one is not recognised.
    Xid(u32),
    /// A restore point.
    Name(String),
}

/// What a walk that looks for a mark found.
#[derive(Debug, Default)]
pub struct Watch {
    mark: Option<Mark>,
    /// From where to where each record reaches that is the mark.
    pub found: Vec<(Lsn, Lsn)>,
    /// Whether prepared transactions ended; nobody looked which.
    pub prepared: bool,
    /// The record that goes on in the next segment.
    open: Option<Partial>,
}

impl Watch {
    /// Begins to look for a mark.
    pub fn of(mark: Mark) -> Watch {
        Watch {
            mark: Some(mark),
            ..Watch::default()
        }
    }

    /// Says that the next segment does not follow the last one.
    pub fn part(&mut self) {
        self.open = None;
    }

    fn look(&mut self, record: &Partial, end: Lsn) {
        let is_it = match &self.mark {
            None => return,
            Some(Mark::Name(name)) => record.restore_point() == Some(name.as_bytes()),
            Some(Mark::Xid(xid)) => match record.transaction_end() {
                Some(COMMIT | ABORT) => record.xid() == *xid,
                Some(_) => {
                    self.prepared = true;
                    false
                }
                None => false,
            },
        };
        // The segment in which a timeline begins has what lies before twice.
        let span = (record.start, end);
        if is_it && !self.found.contains(&span) {
            self.found.push(span);
        }
    }
}

/// Walks a segment whose bytes are fed to it in pieces of any size, in order from its first.
#[derive(Debug)]
pub struct Walker {
    latest: Timeline,
    header: Option<Result<SegmentHeader, String>>,
    /// The beginning of a page that is not whole yet.
    rest: Vec<u8>,
    fed: u64,
    timeline: Timeline,
    pending: Pending,
    previous: Option<Lsn>,
    end: Lsn,
    ending: Option<Ending>,
    records: u64,
    first_commit: Option<CommitRecord>,
    last_commit: Option<CommitRecord>,
    watch: Watch,
}

/// A record that continues on the next page.
#[derive(Debug)]
enum Pending {
    None,
    /// It began before the segment.
    Foreign(u32),
    Own(Partial),
}

#[derive(Debug)]
struct Partial {
    start: Lsn,
    total: u32,
    got: u32,
    head: [u8; HEAD_BYTES],
    crc: u32,
}

impl Walker {
    /// Begins to walk a segment of a timeline.
    pub fn new(timeline: Timeline) -> Walker {
        Walker {
            latest: timeline,
            header: None,
            rest: Vec::new(),
            fed: 0,
            timeline: Timeline(0),
            pending: Pending::None,
            previous: None,
            end: Lsn(0),
            ending: None,
            records: 0,
            first_commit: None,
            last_commit: None,
            watch: Watch::default(),
        }
    }

    /// Begins to walk a segment of a timeline, and goes on with a look for a mark, which began with the segment before.
    pub fn watching(timeline: Timeline, mut watch: Watch) -> Walker {
        let open = watch.open.take();
        Walker {
            pending: open.map_or(Pending::None, Pending::Own),
            watch,
            ..Walker::new(timeline)
        }
    }

    /// Ends the walk, and returns the look for a mark, for the next segment.
    pub fn watched(mut self) -> Watch {
        if let (None, Pending::Own(record)) = (self.ending, self.pending) {
            self.watch.open = Some(record);
        }
        self.watch
    }

    /// Walks a segment that is in memory.
    ///
    /// # Errors
    /// It does not begin with the header of a segment.
    pub fn walk(timeline: Timeline, bytes: &[u8]) -> Result<Walked, String> {
        let mut walker = Walker::new(timeline);
        walker.feed(bytes);
        walker.finish()
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !matches!(self.header, Some(Err(_))) && self.ending.is_none() {
            let page_bytes = match &self.header {
                Some(Ok(header)) => header.page_bytes as usize,
                _ => SEGMENT_HEADER_BYTES,
            };
            if self.rest.is_empty() && bytes.len() >= page_bytes && self.header.is_some() {
                let (page, later) = bytes.split_at(page_bytes);
                self.page(page);
                bytes = later;
                continue;
            }
            let (taken, later) = bytes.split_at(bytes.len().min(page_bytes - self.rest.len()));
            self.rest.extend_from_slice(taken);
            bytes = later;
            if self.rest.len() == page_bytes {
                self.filled();
            }
        }
    }

    /// Returns the position behind the last whole record of what was fed.
    pub fn end(&self) -> Lsn {
        self.end
    }

    /// Returns the first commit of what was fed.
    pub fn first_commit(&self) -> Option<CommitRecord> {
        self.first_commit
    }

    /// Returns the last commit of what was fed.
    pub fn last_commit(&self) -> Option<CommitRecord> {
        self.last_commit
    }

    /// Returns what was found.
    ///
    /// # Errors
    /// It does not begin with the header of a segment.
    pub fn finish(self) -> Result<Walked, String> {
        let header = match self.header {
            Some(header) => header?,
            None => SegmentHeader::parse(&self.rest)?,
        };
        let ending = self.ending.unwrap_or_else(|| {
            if self.fed == u64::from(header.segment_bytes) {
                return Ending::Whole;
            }
            Ending::Cut {
                at: Lsn(header.position.0 + self.fed + self.rest.len() as u64),
            }
        });
        let end = match &ending {
            Ending::Switched => Lsn(header.position.0 + u64::from(header.segment_bytes)),
            _ => self.end.max(header.position),
        };
        Ok(Walked {
            header,
            timeline: self.timeline,
            end,
            ending,
            records: self.records,
            first_commit: self.first_commit,
            last_commit: self.last_commit,
        })
    }

    /// The header of the segment, or a page, is whole.
    fn filled(&mut self) {
        if self.header.is_none() {
            // The rest of the first page is still to come.
            self.header = Some(SegmentHeader::parse(&self.rest));
            return;
        }
        let mut page = std::mem::take(&mut self.rest);
        self.page(&page);
        page.clear();
        self.rest = page;
    }

    fn page(&mut self, page: &[u8]) {
        let Some(Ok(segment)) = self.header else {
            return;
        };
        let position = Lsn(segment.position.0 + self.fed);
        if self.fed >= u64::from(segment.segment_bytes) {
            return self.stop(position, "the file is longer than a segment");
        }
        let header = PageHeader::parse(page).expect("a page is longer than its header");
        let checked = header.check(&segment, position).and_then(|()| {
            let in_order = self.timeline <= header.timeline && header.timeline <= self.latest;
            let told = || format!("the page is of timeline {}", header.timeline.0);
            in_order.then_some(()).ok_or_else(told)
        });
        if let Err(problem) = checked {
            return self.stop_pending(position, problem);
        }
        self.timeline = header.timeline;
        if let Err(problem) = self.continues(&header) {
            return self.stop_pending(position, problem);
        }
        self.content(page, header.bytes(), position);
        self.fed += page.len() as u64;
    }

    /// Compares what the page says of its first bytes with what the page before left open.
    fn continues(&mut self, header: &PageHeader) -> Result<(), String> {
        if header.flags & OVERWRITES != 0 {
            self.pending = Pending::None;
            return Ok(());
        }
        let told = (header.flags & CONTINUES != 0).then_some(header.remaining);
        let expected = match &self.pending {
            // What a look for a mark brought from another segment may be of other WAL than this.
            Pending::Own(record) if self.fed == 0 && told == Some(record.total - record.got) => {
                return Ok(());
            }
            _ if self.fed == 0 => {
                self.pending = told.map_or(Pending::None, Pending::Foreign);
                return Ok(());
            }
            Pending::None => None,
            Pending::Foreign(remaining) => Some(*remaining),
            Pending::Own(record) => Some(record.total - record.got),
        };
        if told == expected {
            return Ok(());
        }
        Err(format!(
            "the page continues a record by {} bytes, and {} are missing",
            told.unwrap_or(0),
            expected.unwrap_or(0)
        ))
    }

    fn content(&mut self, page: &[u8], mut offset: usize, position: Lsn) {
        debug_assert!(offset >= SHORT_BYTES, "a page has a header");
        while offset < page.len() && self.ending.is_none() {
            let available = &page[offset..];
            let taken = match &mut self.pending {
                Pending::None => {
                    let start = Lsn(position.0 + offset as u64);
                    let total = array(available, 0).map_or(0, u32::from_le_bytes);
                    if (total as usize) < HEADER_BYTES || total > RECORD_BYTES_MAX {
                        let problem = match total {
                            0 => "no record was written here".to_owned(),
                            total => format!("the record has a length of {total}"),
                        };
                        return self.stop(start, problem);
                    }
                    self.pending = Pending::Own(Partial::new(start, total));
                    continue;
                }
                Pending::Foreign(remaining) => {
                    let taken = available.len().min(*remaining as usize);
                    *remaining -= length(taken);
                    if *remaining == 0 {
                        self.pending = Pending::None;
                    }
                    taken
                }
                Pending::Own(record) => {
                    let taken = available.len().min((record.total - record.got) as usize);
                    record.take(&available[..taken]);
                    taken
                }
            };
            offset = (offset + taken).next_multiple_of(ALIGNMENT);
            let end = Lsn(position.0 + offset as u64);
            match std::mem::replace(&mut self.pending, Pending::None) {
                Pending::Own(record) if record.got == record.total => self.record(&record, end),
                pending => self.pending = pending,
            }
        }
    }

    fn record(&mut self, record: &Partial, end: Lsn) {
        let previous = record.previous();
        let linked = match self.previous {
            Some(expected) => previous == expected,
            None => previous < record.start,
        };
        if !linked {
            let problem = format!("the record follows {previous}, not the one before it");
            return self.stop(record.start, problem);
        }
        if !record.checksum_is_right() {
            return self.stop(record.start, "the record's checksum is wrong");
        }
        self.previous = Some(record.start);
        self.records += 1;
        self.end = end;
        if let Some(commit) = record.commit(end) {
            self.first_commit.get_or_insert(commit);
            self.last_commit = Some(commit);
        }
        self.watch.look(record, end);
        if record.is_switch() {
            self.ending = Some(Ending::Switched);
        }
    }

    /// Stops where a page is wrong: at the record that it should have continued, if there is one.
    fn stop_pending(&mut self, page: Lsn, problem: String) {
        match &self.pending {
            Pending::Own(record) => self.stop(record.start, problem),
            _ => self.stop(page, problem),
        }
    }

    fn stop(&mut self, at: Lsn, problem: impl Into<String>) {
        self.ending = Some(Ending::Stopped {
            at,
            problem: problem.into(),
        });
    }
}

impl Partial {
    fn new(start: Lsn, total: u32) -> Partial {
        Partial {
            start,
            total,
            got: 0,
            head: [0; HEAD_BYTES],
            crc: 0,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let from = self.got as usize;
        if from < HEAD_BYTES {
            let kept = bytes.len().min(HEAD_BYTES - from);
            self.head[from..from + kept].copy_from_slice(&bytes[..kept]);
        }
        let header_left = HEADER_BYTES.saturating_sub(from).min(bytes.len());
        self.crc = crc32c::crc32c_append(self.crc, &bytes[header_left..]);
        self.got += length(bytes.len());
    }

    fn previous(&self) -> Lsn {
        Lsn(array(&self.head, 8).map_or(0, u64::from_le_bytes))
    }

    fn checksum_is_right(&self) -> bool {
        let told = array(&self.head, CRC_OFFSET).map(u32::from_le_bytes);
        told == Some(crc32c::crc32c_append(self.crc, &self.head[..CRC_OFFSET]))
    }

    fn is_switch(&self) -> bool {
        self.head[17] == RESOURCE_XLOG && self.head[16] & 0xF0 == XLOG_SWITCH
    }

    fn xid(&self) -> u32 {
        array(&self.head, 4).map_or(0, u32::from_le_bytes)
    }

    /// Tells how the record ends a transaction, if it does.
    fn transaction_end(&self) -> Option<u8> {
        let how = self.head[16] & 0x70;
        let ends = matches!(how, COMMIT | ABORT | COMMIT_PREPARED | ABORT_PREPARED);
        (self.head[17] == RESOURCE_TRANSACTION && ends).then_some(how)
    }

    /// Returns where the record's own data begin.
    fn data(&self) -> Option<usize> {
        let mut offset = HEADER_BYTES;
        loop {
            match *self.head.get(offset)? {
                // The origin of replication, and the transaction that this one is a part of.
                253 => offset += 3,
                252 => offset += 5,
                255 => return Some(offset + 2),
                254 => return Some(offset + 5),
                _ => return None,
            }
        }
    }

    /// Reads the time of a commit, which begins the record's own data.
    fn commit(&self, end: Lsn) -> Option<CommitRecord> {
        if !matches!(self.transaction_end()?, COMMIT | COMMIT_PREPARED) {
            return None;
        }
        let micros = i64::from_le_bytes(array(&self.head, self.data()?)?);
        let at = Timestamp::from_microsecond(micros.checked_add(EPOCH_OFFSET_US)?).ok()?;
        Some(CommitRecord {
            xid: self.xid(),
            at,
            end,
        })
    }

    /// Reads the name of a restore point.
    fn restore_point(&self) -> Option<&[u8]> {
        if self.head[17] != RESOURCE_XLOG || self.head[16] & 0xF0 != XLOG_RESTORE_POINT {
            return None;
        }
        let from = self.data()? + 8;
        let name = self.head.get(from..from + NAME_BYTES)?;
        name.split(|byte| *byte == 0).next()
    }
}

/// Pages are far shorter than what 32 bits count.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::forge::{Forge, PAGE, SEGMENT, full_segment};
    use super::*;
    use crate::wal::SegmentName;

    fn name() -> SegmentName {
        "0000000B00000001000000FE".parse().unwrap()
    }

    fn walk(bytes: &[u8]) -> Walked {
        Walker::walk(name().timeline, bytes).unwrap()
    }

    fn stop(walked: &Walked) -> Option<u64> {
        match walked.ending {
            Ending::Stopped { at, .. } => Some(at.0 - walked.header.position.0),
            _ => None,
        }
    }

    #[test]
    fn a_full_segment_is_whole_and_a_switched_one_too() {
        let walked = walk(&full_segment(&name()));
        assert_eq!(walked.ending, Ending::Whole);
        assert!(walked.records > 100, "{walked:?}");
        let mut forge = Forge::new(&name(), 3 * u32::try_from(PAGE).unwrap());
        forge.record(10, 0, 7, &[1; 20_000]);
        forge.switch();
        let walked = walk(&forge.finish());
        assert_eq!((&walked.ending, walked.records), (&Ending::Switched, 2));
        assert_eq!(walked.end, name().end(SEGMENT));
    }

    #[test]
    fn commits_say_when() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut forge = Forge::new(&name(), 0);
        forge.record(10, 0, 7, &[1; 20_000]);
        forge.commit(8, at(1_800_000_000));
        forge.record(1, 0x20, 9, &[255, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
        forge.commit(10, at(1_800_000_001));
        let end = forge.len() as u64;
        let walked = walk(&forge.finish());
        let first = walked.first_commit.unwrap();
        assert_eq!((first.xid, first.at), (8, at(1_800_000_000)));
        let last = walked.last_commit.unwrap();
        assert_eq!((last.xid, last.at), (10, at(1_800_000_001)));
        assert_eq!(last.end, Lsn(name().start(SEGMENT).0 + end));
        assert_eq!(walked.end, last.end);
        assert_eq!(stop(&walked), Some(end));
    }

    #[test]
    fn marks_are_found_where_recovery_stops_at_them() {
        let point = |name: &str| {
            let mut data = vec![255, 72, 0, 0, 0, 0, 0, 0, 0, 0];
            data.extend(name.as_bytes());
            data.resize(74, 0);
            data
        };
        let mut forge = Forge::new(&name(), 0);
        forge.record(0, 0x70, 0, &point("before batch 4"));
        let begins = forge.len() as u64;
        forge.record(0, 0x70, 0, &point("before batch 42"));
        let named = (begins, forge.len() as u64);
        forge.record(1, 0x20, 9, &[255, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
        let ended = (named.1, forge.len() as u64);
        forge.record(10, 0, 9, &[1; 20_000]);
        let bytes = forge.finish();
        let look = |mark: Mark| {
            let mut walker = Walker::watching(name().timeline, Watch::of(mark));
            walker.feed(&bytes);
            walker.watched()
        };
        let start = name().start(SEGMENT).0;
        let at = |(from, to): (u64, u64)| vec![(Lsn(start + from), Lsn(start + to))];
        assert_eq!(
            look(Mark::Name("before batch 42".to_owned())).found,
            at(named)
        );
        assert_eq!(look(Mark::Name("before batch".to_owned())).found, []);
        assert_eq!(look(Mark::Xid(9)).found, at(ended));
        let prepared = look(Mark::Xid(7));
        assert!(prepared.found.is_empty() && !prepared.prepared);
    }

    #[test]
    fn a_mark_over_the_end_of_a_segment_is_found() {
        let mut forge = Forge::new(&name(), 0);
        while SEGMENT as usize - forge.len() > 96 {
            forge.record(10, 0, 7, &[0xA5; 8]);
        }
        let mut data = vec![255, 200];
        data.extend([0; 200]);
        let whole = forge.bytes_of(1, 0, 31, &data);
        let left = &whole[SEGMENT as usize - forge.len()..];
        forge.record(1, 0, 31, &data);
        let first = forge.finish();
        let next = name().next(SEGMENT);
        let mut later = Forge::new(&next, u32::try_from(left.len()).unwrap()).finish();
        later[40..40 + left.len()].copy_from_slice(left);
        let look = |segments: &[(&SegmentName, &[u8])]| {
            let mut watch = Watch::of(Mark::Xid(31));
            for (name, bytes) in segments {
                let mut walker = Walker::watching(name.timeline, watch);
                walker.feed(bytes);
                watch = walker.watched();
            }
            watch.found.len()
        };
        assert_eq!(look(&[(&name(), &first), (&next, &later)]), 1);
        assert_eq!(look(&[(&name(), &first)]), 0);
        let other = full_segment(&next);
        assert_eq!(look(&[(&name(), &first), (&next, &other)]), 0);
    }

    #[test]
    fn a_record_that_was_given_up_is_passed_over() {
        let mut forge = Forge::new(&name(), 0);
        forge.record(10, 0, 7, &[1; 64]);
        let begun = forge.len();
        // Its length promises more than the page has.
        let mut torn = vec![0; PAGE - begun];
        torn[..4].copy_from_slice(&100_000_u32.to_le_bytes());
        let mut given_up = Forge::new(&name(), 0);
        given_up.record(10, 0, 7, &[1; 64]);
        given_up.put(&torn);
        given_up.page(8, 0);
        given_up.record(0, 0xD0, 0, &[255, 16, 0, 0]);
        given_up.fill();
        assert_eq!(walk(&given_up.finish()).ending, Ending::Whole);
    }

    #[test]
    fn a_timeline_may_begin_within_it_but_not_go_back() {
        let mut forge = Forge::new(&name(), 0);
        forge.timeline(0xA);
        forge.fill();
        let later_first = walk(&forge.finish());
        let stopped = stop(&later_first).unwrap();
        assert!(stopped <= PAGE as u64, "0xB, then 0xA: {stopped}");
        let parent: SegmentName = "0000000A00000001000000FE".parse().unwrap();
        let mut forge = Forge::new(&parent, 0);
        forge.record(10, 0, 7, &[1; 20_000]);
        forge.timeline(0xB);
        forge.fill();
        let bytes = forge.finish();
        let walked = walk(&bytes);
        assert_eq!(walked.ending, Ending::Whole);
        assert_eq!((walked.header.timeline.0, walked.timeline.0), (0xA, 0xB));
        let walked = Walker::walk(parent.timeline, &bytes).unwrap();
        assert!(stop(&walked).is_some(), "no later timeline under this name");
    }

    #[test]
    fn what_lies_behind_the_end_is_no_wal() {
        // The file had been another segment before.
        let old = full_segment(&"0000000B00000001000000F0".parse().unwrap());
        let mut forge = Forge::new(&name(), 0);
        forge.record(10, 0, 7, &[1; 20_000]);
        let end = forge.len();
        let mut bytes = forge.finish();
        bytes[end..].copy_from_slice(&old[end..]);
        let walked = walk(&bytes);
        assert_eq!(walked.end, Lsn(name().start(SEGMENT).0 + end as u64));
        assert_eq!(stop(&walked), Some(end as u64));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn no_bit_can_change(byte in 0..SEGMENT as usize, bit in 0u8..8) {
            let whole = full_segment(&name());
            let mut bytes = whole.clone();
            bytes[byte] ^= 1 << bit;
            let walked = Walker::walk(name().timeline, &bytes);
            let same = |walked: Walked| {
                let id = walked.header.system_identifier;
                // Padding between records, and what begins before the segment, carry nothing.
                matches!(walked.ending, Ending::Whole) && id == super::super::forge::cluster().system_identifier
            };
            if walked.is_ok_and(same) {
                let padding = byte % PAGE < 24 || byte < 40 + 104 || whole[byte] == 0;
                // The checksum of the record that goes on in the next segment can only be told there.
                let unended = byte as u64 >= walk(&whole).end.0 - name().start(SEGMENT).0;
                prop_assert!(padding || unended, "byte {byte} changed unseen");
            }
        }

        #[test]
        fn pieces_of_any_size_are_the_same_as_all_at_once(
            sizes in proptest::collection::vec(1usize..40_000, 1..30), cut in 0..SEGMENT as usize,
        ) {
            let bytes = full_segment(&name());
            let bytes = &bytes[..cut];
            let mut walker = Walker::new(name().timeline);
            let mut left = bytes;
            for size in sizes {
                let (now, later) = left.split_at(size.min(left.len()));
                walker.feed(now);
                left = later;
            }
            walker.feed(left);
            prop_assert_eq!(walker.finish(), Walker::walk(name().timeline, bytes));
        }

        #[test]
        fn any_bytes_are_walked(mut bytes in proptest::collection::vec(any::<u8>(), 0..40_000)) {
            let segment = full_segment(&name());
            let head = bytes.len().min(8_300);
            bytes[..head].copy_from_slice(&segment[..head]);
            let _ = Walker::walk(name().timeline, &bytes);
        }
    }
}
