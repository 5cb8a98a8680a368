//! What a repository has of a cluster's WAL, for people: intervals, holes, recorded gaps, conflicts, and how new it is.

use jiff::Timestamp;
use pawang_core::Lsn;
use serde::Serialize;

use super::catalogue::Catalogue;
use super::frame::unpack;
use super::gap::Gap;
use super::get::pieces;
use super::{
    Coverage, History, Hole, Interval, Listing, NOTHING, SegmentHeader, SegmentName, Timeline,
    Walker,
};
use crate::Error;
use crate::repository::{ClusterId, Repository};

/// So many of the newest segments are looked into for a commit.
const LOOKED_INTO: usize = 16;

/// What a repository has of a cluster's WAL.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The repository.
    pub place: String,
    /// The cluster.
    pub cluster: ClusterId,
    /// Bytes of a segment; 0 when there is none.
    pub segment_bytes: u32,
    /// Its timelines, oldest first.
    pub timelines: Vec<TimelineStatus>,
    /// What is missing between the first and the last position on the way to each newest timeline.
    pub holes: Vec<Hole>,
    /// What is recorded as missing.
    pub gaps: Vec<GapStatus>,
    /// Files whose name was taken by another content: two servers write under one identity.
    pub conflicts: Vec<String>,
}

/// What is there of one timeline.
#[derive(Clone, Debug, Serialize)]
pub struct TimelineStatus {
    /// The timeline.
    pub timeline: Timeline,
    /// The timeline that it comes from, as far as its history is there.
    pub parent: Option<Timeline>,
    /// Where it left that.
    pub begin: Option<Lsn>,
    /// The positions that are there.
    pub intervals: Vec<Interval>,
    /// How many whole segments.
    pub segments: usize,
    /// How many pieces of segments that are not whole yet.
    pub pieces: usize,
    /// The position behind the newest that is there.
    pub newest: Option<Lsn>,
    /// The newest commit in its newest segments.
    pub newest_commit_at: Option<Timestamp>,
}

/// WAL that is recorded as missing.
#[derive(Clone, Debug, Serialize)]
pub struct GapStatus {
    /// The record.
    #[serde(flatten)]
    pub gap: Gap,
    /// Whether it still is missing; it may have come after all.
    pub open: bool,
}

impl Status {
    /// Tells whether nothing is missing and nothing is in doubt.
    pub fn is_good(&self) -> bool {
        self.holes.is_empty() && self.conflicts.is_empty() && self.gaps.iter().all(|gap| !gap.open)
    }
}

/// Looks at what a repository has.
///
/// # Errors
/// The store could not say, or something in it cannot be read.
pub async fn status(repository: &Repository, cluster: &ClusterId) -> Result<Status, Error> {
    let listing = Listing::read(repository, cluster).await?;
    let segment_bytes = segment_bytes(repository, cluster, &listing)
        .await?
        .unwrap_or(0);
    let mut status = Status {
        place: repository.place().to_owned(),
        cluster: *cluster,
        segment_bytes,
        timelines: Vec::new(),
        holes: Vec::new(),
        gaps: Vec::new(),
        conflicts: listing.conflicts.clone(),
    };
    if segment_bytes == 0 {
        return Ok(status);
    }
    let catalogue = Catalogue::read(repository, cluster, segment_bytes).await?;
    let coverage = catalogue.listing.coverage(segment_bytes);
    for timeline in catalogue.listing.timelines() {
        let newest = coverage
            .intervals(timeline)
            .last()
            .map(|interval| interval.to);
        let switch = catalogue.histories.get(&timeline);
        let switch = switch.and_then(|history| history.switches.last());
        let of = |name: &&SegmentName| name.timeline == timeline;
        let pieces = catalogue.listing.pieces.iter();
        let pieces = pieces.filter(|(name, _)| name.timeline == timeline);
        status.timelines.push(TimelineStatus {
            timeline,
            parent: switch.map(|switch| switch.timeline),
            begin: switch.map(|switch| switch.at),
            intervals: coverage.intervals(timeline).to_vec(),
            segments: catalogue.listing.segments.keys().filter(of).count(),
            pieces: pieces.map(|(_, pieces)| pieces.len()).sum(),
            newest,
            newest_commit_at: newest_commit(repository, cluster, timeline, &catalogue).await?,
        });
    }
    status.holes = holes(&catalogue, &coverage);
    let gaps = catalogue.gaps().into_iter().map(|(gap, open)| GapStatus {
        gap: gap.clone(),
        open,
    });
    status.gaps = gaps.collect();
    Ok(status)
}

/// Returns what is missing on the way to each timeline that no other comes from.
fn holes(catalogue: &Catalogue, coverage: &Coverage) -> Vec<Hole> {
    let mut holes: Vec<Hole> = Vec::new();
    for timeline in coverage.timelines() {
        let mut others = catalogue.histories.values();
        if others.any(|other| other.timeline != timeline && other.includes(timeline)) {
            continue;
        }
        let alone = History::without_ancestors(timeline);
        let history = catalogue.histories.get(&timeline).unwrap_or(&alone);
        let ends = history.spans().into_iter().flat_map(|span| {
            let intervals = coverage.intervals(span.timeline);
            let to = span.to.unwrap_or(Lsn(u64::MAX));
            let inside = intervals.iter().filter(move |interval| interval.from < to);
            inside.map(move |interval| (interval.from, interval.to.min(to)))
        });
        let ends: Vec<(Lsn, Lsn)> = ends.collect();
        let from = ends.iter().map(|(from, _)| *from).min();
        let to = ends.iter().map(|(_, to)| *to).max();
        if let (Some(from), Some(to)) = (from, to) {
            for hole in coverage.holes(from, to, history) {
                if !holes.contains(&hole) {
                    holes.push(hole);
                }
            }
        }
    }
    holes
}

/// Returns the bytes of a segment, as the header of the newest one says; `None` when there is none.
///
/// # Errors
/// The store could not say, or the newest segment is no segment.
pub async fn segment_bytes(
    repository: &Repository,
    cluster: &ClusterId,
    listing: &Listing,
) -> Result<Option<u32>, Error> {
    if let Some(commit) = repository.backups(cluster).await?.pop() {
        return Ok(Some(commit.server.segment_bytes));
    }
    // The folder of a segment depends on what is looked for: it is one of a few.
    let mut sizes = (20..=30).rev().map(|power| 1u32 << power);
    if let Some(name) = listing.segments.keys().last() {
        for size in sizes.by_ref() {
            let object = cluster.segment(name, size);
            let Some(frame) = repository.read_data(&object).await? else {
                continue;
            };
            return header(&frame)
                .map(|header| Some(header.segment_bytes))
                .map_err(|problem| Error::Format {
                    object,
                    place: repository.place().to_owned(),
                    problem,
                });
        }
    }
    for (name, pieces) in listing.pieces.iter().rev() {
        let Some(first) = pieces.first().filter(|piece| piece.from == 0) else {
            continue;
        };
        let object = cluster.live(name, first.from, first.to);
        if let Some(frame) = repository.read_data(&object).await?
            && let Ok(header) = header(&frame)
        {
            return Ok(Some(header.segment_bytes));
        }
    }
    Ok(None)
}

fn header(frame: &[u8]) -> Result<SegmentHeader, String> {
    let mut head = Vec::new();
    let keep = |bytes: &[u8]| {
        if head.is_empty() {
            head.extend_from_slice(&bytes[..bytes.len().min(super::SEGMENT_HEADER_BYTES)]);
        }
        Ok(())
    };
    unpack(frame, u64::MAX, keep).map_err(|error| error.to_string())?;
    SegmentHeader::parse(&head)
}

/// Returns the time of the newest commit in the newest segments of a timeline.
async fn newest_commit(
    repository: &Repository,
    cluster: &ClusterId,
    timeline: Timeline,
    catalogue: &Catalogue,
) -> Result<Option<Timestamp>, Error> {
    let listing = &catalogue.listing;
    let names = listing.segments.keys().chain(listing.pieces.keys());
    let mut names: Vec<&SegmentName> = names.filter(|name| name.timeline == timeline).collect();
    names.sort_unstable();
    names.dedup();
    for name in names.into_iter().rev().take(LOOKED_INTO) {
        let mut walker = Walker::new(timeline);
        let object = cluster.segment(name, catalogue.segment_bytes);
        let frame = match repository.read_data(&object).await {
            // Whoever only writes has no key, and the rest of the status needs none.
            Err(Error::Sealed { source, .. }) if source.by_keys() => return Ok(None),
            other => other?,
        };
        match frame {
            Some(frame) => {
                // One that is damaged still has the commits before that.
                let _rest = unpack(&frame, u64::from(catalogue.segment_bytes), |bytes| {
                    walker.feed(bytes);
                    Ok(())
                });
            }
            None => {
                if let Ok(Some((_, bytes))) = pieces(repository, cluster, name, catalogue).await {
                    walker.feed(&bytes);
                    walker.feed(NOTHING);
                }
            }
        }
        if let Some(commit) = walker.last_commit() {
            return Ok(Some(commit.at));
        }
    }
    Ok(None)
}
