//! Where a target lies in WAL: the segments of the archive are walked until a commit shows that a time has passed, or the
//! record of a transaction or a restore point is found.
//!
//! PostgreSQL stops at the first commit behind a time, so without such a commit nothing proves that it can be reached.

use jiff::Timestamp;
use pawang_core::Lsn;

use super::plan::Located;
use super::target::Target;
use crate::Error;
use crate::repository::{ClusterId, Repository};
use crate::wal::listing::Listing;
use crate::wal::{CommitRecord, History, Mark, NOTHING, SegmentName, Walker, Watch};

/// WAL is fed in so many bytes at once, so that a target is found as exactly as a page is long.
const STEP_BYTES: usize = 8192;

/// Where to look.
#[derive(Clone, Debug)]
pub struct Search<'a> {
    /// The repository.
    pub repository: &'a Repository,
    /// Whose WAL.
    pub cluster: ClusterId,
    /// What is there.
    pub listing: &'a Listing,
    /// Along which way.
    pub history: &'a History,
    /// Bytes of a segment.
    pub segment_bytes: u32,
    /// Where replay of each backup that may be used begins, and where it is consistent.
    pub backups: Vec<(Lsn, Lsn)>,
}

/// Looks for a target, where only reading WAL tells where it lies.
///
/// # Errors
/// WAL could not be read, or is damaged where it had to be looked at.
pub async fn locate(
    search: &Search<'_>,
    target: &Target,
    inclusive: bool,
) -> Result<Located, Error> {
    let at = match target {
        Target::Latest | Target::Immediate | Target::Lsn(_) => return Ok(Located::NotAsked),
        Target::Xid(xid) => return search.mark(Mark::Xid(*xid)).await,
        Target::Name(name) => return search.mark(Mark::Name(name.clone())).await,
        Target::Time(at) => *at,
    };
    let passed = |commit: Timestamp| if inclusive { commit > at } else { commit >= at };
    let segments = search.segments();
    // Segments before `first` end before the target; from `end` on, `found` is the first that does not.
    let (mut first, mut end) = (0, segments.len());
    let mut found = None;
    let mut last_commit_at = None;
    while first < end {
        let middle = first + (end - first) / 2;
        match search.first_with_commit(&segments[middle..end]).await? {
            None => end = middle,
            Some((offset, last)) if passed(last.at) => {
                found = Some(middle + offset);
                end = middle;
            }
            Some((offset, last)) => {
                last_commit_at = last_commit_at.max(Some(last.at));
                first = middle + offset + 1;
            }
        }
    }
    let Some(place) = found else {
        return Ok(Located::Nowhere { last_commit_at });
    };
    // From the last segment that has a commit before the target up to the one with the first commit behind it.
    let unbroken = first > 0 && search.unbroken(&segments[first - 1..=place]);
    search.within(&segments[place], passed, at, unbroken).await
}

/// Returns the last commit of what is there, on the way.
///
/// # Errors
/// WAL could not be read.
pub async fn last_commit(search: &Search<'_>) -> Result<Option<CommitRecord>, Error> {
    for name in search.segments().iter().rev() {
        if let Some((_, commit)) = search.first_with_commit(&[*name]).await? {
            return Ok(Some(commit));
        }
    }
    Ok(None)
}

impl Search<'_> {
    /// Returns the segments on the way, in order; those that are not whole yet too.
    fn segments(&self) -> Vec<SegmentName> {
        let mut segments = Vec::new();
        for span in self.history.spans() {
            let names = self
                .listing
                .segments
                .keys()
                .chain(self.listing.pieces.keys());
            let within = |name: &&SegmentName| {
                name.timeline == span.timeline
                    && name.end(self.segment_bytes) > span.from
                    && span.to.is_none_or(|to| name.start(self.segment_bytes) < to)
            };
            let mut own: Vec<SegmentName> = names.filter(within).copied().collect();
            own.sort();
            own.dedup();
            segments.extend(own);
        }
        segments
    }

    /// Looks for a record that ends recovery: behind the newest backup first, and no further back than it is found.
    ///
    /// PostgreSQL stops at the first of several, so these are no target.
    async fn mark(&self, mark: Mark) -> Result<Located, Error> {
        let mut backups = self.backups.clone();
        // What lies before the first backup is looked at too, so that it can be said.
        backups.push((Lsn(0), Lsn(0)));
        backups.sort_by_key(|backup| std::cmp::Reverse(*backup));
        let segments = self.segments();
        let mut later = segments.len();
        let mut found = Vec::new();
        let mut prepared = false;
        for (begin, consistent) in backups {
            let before = |name: &SegmentName| name.end(self.segment_bytes) <= begin;
            let first = segments.partition_point(before).min(later);
            let mut watch = Watch::of(mark.clone());
            // One segment more: a record may go on in it.
            let mut reached = None;
            for name in &segments[first..segments.len().min(later + 1)] {
                if reached != Some(name.start(self.segment_bytes)) {
                    watch.part();
                }
                reached = Some(name.end(self.segment_bytes));
                let mut walker = Walker::watching(name.timeline, watch);
                self.feed(name, |bytes| {
                    walker.feed(bytes);
                    true
                })
                .await?;
                watch = walker.watched();
                if let Some(left) = self.history.left(name.timeline) {
                    watch.found.retain(|(from, _)| *from < left);
                }
            }
            prepared |= watch.prepared;
            found.extend(watch.found);
            found.sort();
            found.dedup();
            later = first;
            if found.iter().any(|(from, _)| *from >= consistent) {
                break;
            }
        }
        Ok(match found[..] {
            [(from, by)] => Located::Within {
                from,
                by,
                begun_by: None,
            },
            // Nobody looked which transactions these were.
            [] if prepared && matches!(mark, Mark::Xid(_)) => Located::Untold,
            [] => Located::Nowhere {
                last_commit_at: None,
            },
            _ => Located::Several {
                at: found.into_iter().map(|(from, _)| from).collect(),
            },
        })
    }

    async fn first_with_commit(
        &self,
        segments: &[SegmentName],
    ) -> Result<Option<(usize, CommitRecord)>, Error> {
        for (offset, name) in segments.iter().enumerate() {
            let mut walker = Walker::new(name.timeline);
            self.feed(name, |bytes| {
                walker.feed(bytes);
                true
            })
            .await?;
            if let Some(last) = walker.last_commit() {
                return Ok(Some((offset, last)));
            }
        }
        Ok(None)
    }

    /// Narrows a time down within the segment that has the first commit behind it; says what a backup must be that leads
    /// there unless a commit before it is known, here or in WAL that goes on to here without a hole.
    async fn within(
        &self,
        name: &SegmentName,
        passed: impl Fn(Timestamp) -> bool,
        at: Timestamp,
        mut is_known: bool,
    ) -> Result<Located, Error> {
        let mut walker = Walker::new(name.timeline);
        let mut from = name.start(self.segment_bytes);
        let mut by = None;
        self.feed(name, |bytes| {
            let before = walker.end();
            walker.feed(bytes);
            match walker.last_commit() {
                Some(commit) if passed(commit.at) => {
                    from = from.max(before);
                    by = Some(commit.end);
                    false
                }
                commit => {
                    is_known |= commit.is_some();
                    true
                }
            }
        })
        .await?;
        is_known |= walker
            .first_commit()
            .is_some_and(|commit| !passed(commit.at));
        let by = by.unwrap_or(name.end(self.segment_bytes));
        Ok(Located::Within {
            from: from.min(Lsn(by.0.saturating_sub(1))),
            by,
            begun_by: (!is_known).then_some(at),
        })
    }

    /// Tells whether nothing is missing between segments.
    fn unbroken(&self, segments: &[SegmentName]) -> bool {
        segments
            .windows(2)
            .all(|pair| pair[0].end(self.segment_bytes) >= pair[1].start(self.segment_bytes))
    }

    /// Feeds the WAL of a segment in small steps until `take` has enough.
    async fn feed(
        &self,
        name: &SegmentName,
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), Error> {
        let whole = self.cluster.segment(name, self.segment_bytes);
        let mut objects = vec![whole];
        let mut is_cut = false;
        if !self.listing.segments.contains_key(name) {
            let pieces = self.listing.pieces.get(name).into_iter().flatten();
            let mut reached = 0;
            objects = Vec::new();
            for piece in pieces.filter(|piece| piece.to > piece.from) {
                if piece.from != reached {
                    continue;
                }
                reached = piece.to;
                objects.push(self.cluster.live(name, piece.from, piece.to));
            }
            is_cut = reached < self.segment_bytes;
        }
        for object in objects {
            let Some(frame) = self.repository.read_data(&object).await? else {
                return Ok(());
            };
            let bytes = self.unpacked(&object, &frame)?;
            if !bytes.chunks(STEP_BYTES).all(&mut take) {
                return Ok(());
            }
        }
        if is_cut {
            take(NOTHING);
        }
        Ok(())
    }

    fn unpacked(&self, object: &str, frame: &[u8]) -> Result<Vec<u8>, Error> {
        use std::io::Read as _;
        let wrong = |problem: String| Error::Format {
            object: object.to_owned(),
            place: self.repository.place().to_owned(),
            problem,
        };
        let decoder = zstd::stream::read::Decoder::new(frame);
        let mut bytes = Vec::new();
        decoder
            .and_then(|decoder| {
                // One byte more shows that it is longer than it may be.
                let limit = u64::from(self.segment_bytes) + 1;
                decoder.take(limit).read_to_end(&mut bytes)
            })
            .map_err(|error| wrong(error.to_string()))?;
        if bytes.len() as u64 > u64::from(self.segment_bytes) {
            return Err(wrong("it is longer than a segment".to_owned()));
        }
        Ok(bytes)
    }
}
