//! What a repository's WAL folder shows, read from names alone.

use std::collections::{BTreeMap, BTreeSet};

use pawang_core::Lsn;

use super::coverage::Coverage;
use super::{Histories, History, SegmentName, Timeline};
use crate::Error;
use crate::repository::{ClusterId, Entry, Repository};

/// Every object of a cluster's WAL, by what its name says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Whole segments, with their bytes as stored.
    pub segments: BTreeMap<SegmentName, u64>,
    /// Pieces of segments that are not whole yet, in order.
    pub pieces: BTreeMap<SegmentName, Vec<Piece>>,
    /// The last segments of timelines that were left, as PostgreSQL archives them at a promotion (`.partial`).
    pub partials: BTreeSet<SegmentName>,
    /// Timelines whose history file is there.
    pub histories: BTreeSet<Timeline>,
    /// Files that had a name that was taken by another content, by path.
    pub conflicts: Vec<String>,
}

/// A piece of a segment, from one of its bytes to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    /// Its first byte within the segment.
    pub from: u32,
    /// The byte behind it.
    pub to: u32,
}

impl Listing {
    /// Lists a cluster's WAL.
    ///
    /// # Errors
    /// The store could not say.
    pub async fn read(repository: &Repository, cluster: &ClusterId) -> Result<Listing, Error> {
        let folder = cluster.wal();
        let entries = repository.list(&folder).await?;
        Ok(Listing::of(&folder, &entries))
    }

    /// Sorts a listing of the folder; what is no WAL is passed over.
    pub fn of(folder: &str, entries: &[Entry]) -> Listing {
        let mut listing = Listing::default();
        for entry in entries {
            let path = entry.path.strip_prefix(folder).unwrap_or(&entry.path);
            // An object without bytes holds nothing: no frame of zstd is that short.
            if entry.bytes > 0 {
                listing.add(path.trim_start_matches('/'), entry);
            }
        }
        for pieces in listing.pieces.values_mut() {
            pieces.sort_unstable();
        }
        listing
    }

    /// Leaves out segments by their names: no server gets what is known to be wrong, so it is a hole.
    pub(crate) fn without(&mut self, rotten: &BTreeMap<String, String>) {
        self.segments
            .retain(|name, _| !rotten.contains_key(&name.to_string()));
    }

    fn add(&mut self, path: &str, entry: &Entry) -> Option<()> {
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            [file] => {
                let timeline = file.strip_suffix(".history")?.parse().ok()?;
                self.histories.insert(timeline);
            }
            ["conflict", _] => self.conflicts.push(entry.path.clone()),
            ["live", timeline, file] => {
                let (name, rest) = name_and_rest(file)?;
                let (range, _) = rest.strip_prefix('.')?.split_once(".zst")?;
                let (from, to) = range.split_once('-')?;
                let number = |text: &str| u32::from_str_radix(text, 16).ok();
                let piece = Piece {
                    from: number(from)?,
                    to: number(to)?,
                };
                let plain = piece.from < piece.to && timeline == name.timeline.to_string();
                plain.then(|| self.pieces.entry(name).or_default().push(piece))?;
            }
            [timeline, _, file] => {
                let (name, rest) = name_and_rest(file)?;
                if timeline != name.timeline.to_string() {
                    return None;
                }
                if rest.starts_with(".zst") {
                    self.segments.insert(name, entry.bytes);
                } else if rest.starts_with(".partial.zst") {
                    self.partials.insert(name);
                }
            }
            _ => {}
        }
        Some(())
    }

    /// Returns the intervals that segments and pieces cover; `.partial` files do not count, since their name does not say how
    /// far they reach.
    pub fn coverage(&self, segment_bytes: u32) -> Coverage {
        let mut coverage = Coverage::default();
        for name in self.segments.keys() {
            coverage.add(
                name.timeline,
                name.start(segment_bytes),
                name.end(segment_bytes),
            );
        }
        for (name, pieces) in &self.pieces {
            let start = name.start(segment_bytes).0;
            for piece in pieces {
                let at = |byte: u32| Lsn(start + u64::from(byte.min(segment_bytes)));
                coverage.add(name.timeline, at(piece.from), at(piece.to));
            }
        }
        coverage
    }

    /// Returns the newest timeline of which anything is there.
    pub fn newest_timeline(&self) -> Option<Timeline> {
        self.timelines().last().copied()
    }

    /// Returns every timeline of which anything is there, in order.
    pub fn timelines(&self) -> BTreeSet<Timeline> {
        let segments = self.segments.keys().chain(self.pieces.keys());
        let named = segments.chain(&self.partials).map(|name| name.timeline);
        named.chain(self.histories.iter().copied()).collect()
    }

    /// Tells whether nothing at all is there.
    pub fn is_empty(&self) -> bool {
        self.timelines().is_empty()
    }

    /// Returns the first hole within a segment's pieces and the byte up to which they are without one.
    pub fn contiguous_pieces(&self, name: &SegmentName) -> (u32, bool) {
        let mut reached = 0;
        for piece in self.pieces.get(name).into_iter().flatten() {
            if piece.from > reached {
                return (reached, true);
            }
            reached = reached.max(piece.to);
        }
        (reached, false)
    }

    /// Reads the history files that are there.
    ///
    /// # Errors
    /// The store could not say, or one of them is no history.
    pub async fn histories(
        &self,
        repository: &Repository,
        cluster: &ClusterId,
    ) -> Result<Histories, Error> {
        let mut histories = Histories::new();
        for timeline in &self.histories {
            let history = read_history(repository, cluster, *timeline).await?;
            histories.extend(history.map(|history| (*timeline, history)));
        }
        Ok(histories)
    }
}

/// Reads a timeline's history file; `None` when it does not exist.
///
/// # Errors
/// The store could not say, or it is no history.
pub async fn read_history(
    repository: &Repository,
    cluster: &ClusterId,
    timeline: Timeline,
) -> Result<Option<History>, Error> {
    let path = cluster.history(timeline);
    let Some(bytes) = repository.read(&path).await? else {
        return Ok(None);
    };
    let wrong = |problem: String| Error::Format {
        object: path.clone(),
        place: repository.place().to_owned(),
        problem,
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("it is no text".to_owned()))?;
    let history = History::parse(timeline, text).map_err(|error| wrong(error.problem))?;
    Ok(Some(history))
}

fn name_and_rest(file: &str) -> Option<(SegmentName, &str)> {
    let (name, rest) = file.split_at_checked(24)?;
    Some((name.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    const SEGMENT: u32 = 1 << 20;

    fn cluster() -> ClusterId {
        ClusterId {
            system_identifier: 7,
            major: 17,
        }
    }

    fn listing(paths: &[String]) -> Listing {
        let entry = |path: &String| Entry {
            path: path.clone(),
            bytes: 9,
            modified: Timestamp::UNIX_EPOCH,
        };
        let entries: Vec<Entry> = paths.iter().map(entry).collect();
        Listing::of(&cluster().wal(), &entries)
    }

    #[test]
    fn names_of_the_layout_are_read_back() {
        let cluster = cluster();
        let name = |text: &str| text.parse::<SegmentName>().unwrap();
        let sealed = name("0000000A00000000000000FE");
        let open = name("0000000A00000000000000FF");
        let left = name("000000090000000000000100");
        let listing = listing(&[
            cluster.segment(&sealed, SEGMENT),
            format!("{}.age", cluster.segment(&sealed.next(SEGMENT), SEGMENT)),
            cluster.live(&open, 0x2000, 0x3000),
            cluster.live(&open, 0, 0x2000),
            cluster.partial(&left, SEGMENT),
            cluster.history(Timeline(10)),
            cluster.conflict("0000000A00000000000000FE", "0123456789abcdef"),
            format!("{}/0000000A/x/../nonsense", cluster.wal()),
            format!(
                "{}/live/0000000B/{open}.00000000-00001000.zst",
                cluster.wal()
            ),
            format!("{}/0000000B/0/{sealed}.zst", cluster.wal()),
            format!("{}/0000000A/0/{sealed}#1", cluster.wal()),
        ]);
        assert_eq!(listing.segments.len(), 2);
        assert_eq!(listing.pieces.len(), 1);
        assert_eq!(listing.contiguous_pieces(&open), (0x3000, false));
        assert_eq!(listing.partials.first(), Some(&left));
        assert_eq!(listing.conflicts.len(), 1);
        assert_eq!(listing.newest_timeline(), Some(Timeline(10)));
        let coverage = listing.coverage(SEGMENT);
        let intervals = coverage.intervals(Timeline(10));
        assert_eq!(intervals.len(), 1);
        assert_eq!(intervals[0].from, sealed.start(SEGMENT));
        assert_eq!(intervals[0].to, sealed.next(SEGMENT).end(SEGMENT));
    }

    #[test]
    fn pieces_with_a_hole_reach_up_to_it() {
        let cluster = cluster();
        let open: SegmentName = "0000000A00000000000000FF".parse().unwrap();
        let listing = listing(&[
            cluster.live(&open, 0, 0x2000),
            cluster.live(&open, 0x3000, 0x4000),
        ]);
        assert_eq!(listing.contiguous_pieces(&open), (0x2000, true));
    }
}
