//! What an archive knows of its own end: whether WAL goes on behind a position (invariant I5).
//!
//! PostgreSQL ends its recovery and takes new writes where it is told that the archive ends. Whatever speaks against an end is
//! therefore an answer; that nothing is found is the only one for it.

use pawang_core::Lsn;

use super::gap::{Gap, gaps};
use super::{Histories, Listing, SegmentName, Timeline};
use crate::Error;
use crate::repository::{BackupId, ClusterId, MANIFEST, Position, Repository};
use crate::take::manifest;

/// All that an archive says about which WAL there is.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// What is there.
    pub listing: Listing,
    /// From where timelines come.
    pub histories: Histories,
    /// What is known to be missing.
    pub gaps: Vec<Gap>,
    /// Positions up to which backups needed WAL.
    pub needed: Vec<Position>,
    /// Bytes of a segment.
    pub segment_bytes: u32,
}

impl Catalogue {
    /// Reads what a repository says.
    ///
    /// # Errors
    /// The store could not say, or something in it cannot be read.
    pub async fn read(
        repository: &Repository,
        cluster: &ClusterId,
        segment_bytes: u32,
    ) -> Result<Catalogue, Error> {
        let listing = Listing::read(repository, cluster).await?;
        let histories = listing.histories(repository, cluster).await?;
        let (backups, damaged) = repository.readable_backups(cluster).await?;
        let ends = backups
            .iter()
            .flat_map(|commit| [commit.start, commit.stop]);
        let mut needed: Vec<Position> = ends.collect();
        for (backup, error) in damaged {
            let told = by_manifest(repository, cluster, &backup).await?;
            needed.extend(told.ok_or(error)?);
        }
        Ok(Catalogue {
            needed,
            gaps: gaps(repository, cluster).await?,
            listing,
            histories,
            segment_bytes,
        })
    }

    /// Adds what another archive of the same cluster says.
    pub fn merge(&mut self, other: Catalogue) {
        let listing = &mut self.listing;
        listing.segments.extend(other.listing.segments);
        listing.partials.extend(other.listing.partials);
        listing.histories.extend(other.listing.histories);
        for (name, pieces) in other.listing.pieces {
            let all = listing.pieces.entry(name).or_default();
            all.extend(pieces);
            all.sort_unstable();
            all.dedup();
        }
        self.histories.extend(other.histories);
        self.gaps.extend(other.gaps);
        self.needed.extend(other.needed);
    }

    /// Says why the archive does not provably end at a position of a timeline; `None` when it does.
    pub fn beyond(&self, timeline: Timeline, position: Lsn) -> Option<String> {
        let nothing = || {
            let known = self.listing.timelines().contains(&timeline);
            (!known).then(|| format!("the archive has nothing of timeline {}", timeline.0))
        };
        nothing()
            .or_else(|| self.later(timeline, position))
            .or_else(|| self.promised(timeline, position))
            .or_else(|| self.descends(timeline, position))
    }

    /// Looks for WAL of the timeline itself.
    fn later(&self, timeline: Timeline, position: Lsn) -> Option<String> {
        let bytes = self.segment_bytes;
        let from = SegmentName::holding(timeline, position, bytes);
        let last = SegmentName {
            timeline,
            log: u32::MAX,
            segment: u32::MAX,
        };
        let behind = |name: &SegmentName| name.end(bytes) > position;
        let segment = self
            .listing
            .segments
            .range(from..=last)
            .map(|(name, _)| name);
        if let Some(name) = segment.copied().find(behind) {
            return Some(format!("segment {name} is there"));
        }
        let piece = |name: &SegmentName| {
            let pieces = self.listing.pieces.get(name).into_iter().flatten();
            let end = pieces.map(|piece| piece.to).max().unwrap_or(0);
            name.start(bytes).0 + u64::from(end) > position.0
        };
        let mut pieces = self
            .listing
            .pieces
            .range(from..=last)
            .map(|(name, _)| *name);
        if let Some(name) = pieces.find(piece) {
            return Some(format!("pieces of segment {name} are there"));
        }
        // How far it reaches is in it; whoever has read that asks for a position inside.
        let mut partials = self.listing.partials.range(from..=last);
        let partial = partials.find(|name| name.start(bytes) >= position)?;
        Some(format!("\"{partial}.partial\" is there"))
    }

    /// Looks for records that say that there was more.
    fn promised(&self, timeline: Timeline, position: Lsn) -> Option<String> {
        let gap = self
            .gaps
            .iter()
            .find(|gap| gap.timeline == timeline && gap.to > position);
        if let Some(gap) = gap {
            return Some(format!(
                "WAL from {} to {} is recorded as missing: {}",
                gap.from, gap.to, gap.cause
            ));
        }
        let needed = |need: &&Position| need.timeline == timeline && need.lsn > position;
        let need = self.needed.iter().find(needed)?;
        Some(format!("a backup was taken with WAL up to {}", need.lsn))
    }

    /// Looks for timelines that come from this one at a later position.
    fn descends(&self, timeline: Timeline, position: Lsn) -> Option<String> {
        for other in self.listing.timelines() {
            if other == timeline {
                continue;
            }
            if let Some(history) = self.histories.get(&other) {
                let left = history.left(timeline).filter(|left| *left > position);
                if let Some(left) = left {
                    return Some(format!("timeline {} goes on from it at {left}", other.0));
                }
            } else if other > timeline && self.later(other, position).is_some() {
                // It may come from this one.
                return Some(format!(
                    "timeline {} has later WAL, and its history is missing",
                    other.0
                ));
            }
        }
        None
    }

    /// Returns the newest timeline that anything speaks of.
    pub fn newest_timeline(&self) -> Option<Timeline> {
        let needed = self.needed.iter().map(|need| need.timeline);
        let gaps = self.gaps.iter().map(|gap| gap.timeline);
        self.listing
            .newest_timeline()
            .into_iter()
            .chain(needed)
            .chain(gaps)
            .max()
    }

    /// Returns the recorded gaps, each with whether it still is one.
    pub fn gaps(&self) -> Vec<(&Gap, bool)> {
        let coverage = self.listing.coverage(self.segment_bytes);
        let open = |gap: &Gap| {
            let from = Position {
                timeline: gap.timeline,
                lsn: gap.from,
            };
            coverage.last_contiguous(from) < gap.to
        };
        self.gaps.iter().map(|gap| (gap, open(gap))).collect()
    }
}

/// Returns up to where a backup whose commit cannot be read needed WAL, by the server's own manifest; none when that cannot
/// be read either.
async fn by_manifest(
    repository: &Repository,
    cluster: &ClusterId,
    backup: &BackupId,
) -> Result<Option<Vec<Position>>, Error> {
    let Some(bytes) = repository.read(&cluster.part(backup, MANIFEST)).await? else {
        return Ok(None);
    };
    let read = manifest::read(&mut &bytes[..], &mut |_| ());
    let ends = read.ok().map(|manifest| {
        let end = |range: &manifest::WalRange| Position {
            timeline: range.timeline,
            lsn: range.end,
        };
        manifest.wal.iter().map(end).collect::<Vec<_>>()
    });
    Ok(ends.filter(|ends| !ends.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::History;
    use crate::wal::listing::Piece;

    const SEGMENT: u32 = 1 << 20;
    const ONE: Timeline = Timeline(1);
    const TWO: Timeline = Timeline(2);

    fn name(timeline: Timeline, number: u64) -> SegmentName {
        SegmentName::numbered(timeline, number, SEGMENT)
    }

    fn at(number: u64, byte: u64) -> Lsn {
        Lsn(number * u64::from(SEGMENT) + byte)
    }

    fn catalogue(segments: &[(Timeline, u64)]) -> Catalogue {
        let mut catalogue = Catalogue {
            segment_bytes: SEGMENT,
            ..Catalogue::default()
        };
        for (timeline, number) in segments {
            catalogue
                .listing
                .segments
                .insert(name(*timeline, *number), 9);
        }
        catalogue
    }

    fn promoted(catalogue: &mut Catalogue, left: Lsn) {
        let text = format!("1\t{left}\tno recovery target specified\n");
        let history = History::parse(TWO, &text).unwrap();
        catalogue.listing.histories.insert(TWO);
        catalogue.histories.insert(TWO, history);
    }

    #[test]
    fn it_ends_behind_its_last_segment_only() {
        let catalogue = catalogue(&[(ONE, 3), (ONE, 5)]);
        assert_eq!(catalogue.beyond(ONE, at(6, 0)), None);
        assert!(
            catalogue.beyond(ONE, at(4, 0)).is_some(),
            "missing in the middle"
        );
        assert!(catalogue.beyond(ONE, at(5, 9)).is_some());
        assert!(
            catalogue.beyond(TWO, at(6, 0)).is_some(),
            "no such timeline"
        );
        assert!(Catalogue::default().beyond(ONE, Lsn(0)).is_some(), "empty");
    }

    #[test]
    fn a_descendant_says_how_far_its_ancestor_went() {
        let mut catalogue = catalogue(&[(ONE, 3)]);
        promoted(&mut catalogue, at(5, 64));
        assert!(catalogue.beyond(ONE, at(4, 0)).is_some());
        assert!(catalogue.beyond(ONE, at(5, 0)).is_some(), "up to the fork");
        assert_eq!(catalogue.beyond(ONE, at(5, 64)), None);
        // Just promoted: nothing of the new timeline was archived yet.
        assert_eq!(catalogue.beyond(TWO, at(5, 0)), None);
        catalogue.listing.segments.insert(name(TWO, 6), 9);
        assert!(catalogue.beyond(TWO, at(5, 0)).is_some());
        assert_eq!(catalogue.beyond(ONE, at(6, 0)), None, "left before");
    }

    #[test]
    fn a_timeline_without_history_may_come_from_any_before() {
        let mut catalogue = catalogue(&[(ONE, 3), (TWO, 6)]);
        assert!(catalogue.beyond(ONE, at(4, 0)).is_some());
        assert_eq!(catalogue.beyond(ONE, at(7, 0)), None);
        promoted(&mut catalogue, at(4, 0));
        assert_eq!(catalogue.beyond(ONE, at(4, 0)), None);
    }

    #[test]
    fn records_say_that_there_was_more() {
        let mut catalogue = catalogue(&[(ONE, 3)]);
        assert_eq!(catalogue.beyond(ONE, at(4, 0)), None);
        catalogue.needed.push(Position {
            timeline: ONE,
            lsn: at(4, 9),
        });
        assert!(catalogue.beyond(ONE, at(4, 0)).is_some());
        assert_eq!(catalogue.beyond(ONE, at(5, 0)), None);
        catalogue.gaps.push(Gap {
            timeline: ONE,
            from: at(7, 0),
            to: at(8, 0),
            found_at: jiff::Timestamp::UNIX_EPOCH,
            cause: "the slot was lost".to_owned(),
        });
        assert!(catalogue.beyond(ONE, at(5, 0)).is_some());
        assert_eq!(catalogue.beyond(ONE, at(8, 0)), None);
    }

    #[test]
    fn pieces_and_partial_files_are_wal_too() {
        let mut catalogue = catalogue(&[(ONE, 3)]);
        let piece = Piece { from: 0, to: 4096 };
        catalogue.listing.pieces.insert(name(ONE, 4), vec![piece]);
        assert!(catalogue.beyond(ONE, at(4, 0)).is_some());
        assert_eq!(catalogue.beyond(ONE, at(4, 4096)), None);
        catalogue.listing.pieces.clear();
        catalogue.listing.partials.insert(name(ONE, 4));
        assert!(catalogue.beyond(ONE, at(4, 0)).is_some());
        assert_eq!(catalogue.beyond(ONE, at(4, 1)), None);
    }
}
