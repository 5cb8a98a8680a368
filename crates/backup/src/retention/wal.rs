//! Which WAL the backups need that are kept.

use pawang_core::Lsn;
use serde::Serialize;

use crate::repository::Position;
use crate::wal::Timeline;

/// Which WAL is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WalNeed {
    /// From each of these positions on, on its timeline and all later ones.
    pub from: Vec<Position>,
    /// What makes single backups consistent, from the first to the second position.
    pub pieces: Vec<(Position, Position)>,
}

impl WalNeed {
    /// Computes it of backups: where each starts and stops, and whether all that follows is needed.
    pub(super) fn of(backups: impl Iterator<Item = (Position, Position, bool)>) -> WalNeed {
        let mut need = WalNeed::default();
        for (start, stop, continuous) in backups {
            need.pieces.push((start, stop));
            if continuous {
                need.from.push(start);
            }
        }
        // What an older one needs anyway says nothing new.
        let all = need.from.clone();
        need.from.retain(|position| {
            let covered = |other: &Position| {
                other != position
                    && other.timeline <= position.timeline
                    && other.lsn <= position.lsn
            };
            !all.iter().any(covered)
        });
        need.from.dedup();
        need
    }

    /// Says whether the WAL of a timeline from `from` to `to` is needed. Without any backup all of it is: the first may be
    /// on its way.
    pub fn needs(&self, timeline: Timeline, from: Lsn, to: Lsn) -> bool {
        let behind = |start: &Position| timeline >= start.timeline && to > start.lsn;
        let within = |(start, stop): &(Position, Position)| {
            let timelines = start.timeline..=stop.timeline;
            timelines.contains(&timeline) && to > start.lsn && from <= stop.lsn
        };
        self.pieces.is_empty() || self.from.iter().any(behind) || self.pieces.iter().any(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(timeline: u32, lsn: u64) -> Position {
        Position {
            timeline: Timeline(timeline),
            lsn: Lsn(lsn),
        }
    }

    #[test]
    fn wal_is_needed_within_backups_and_behind_those_that_a_window_begins_with() {
        let need = WalNeed::of(
            [
                (at(1, 100), at(1, 110), false),
                (at(1, 300), at(1, 310), true),
                (at(2, 400), at(2, 410), true),
            ]
            .into_iter(),
        );
        assert_eq!(need.from, [at(1, 300)]);
        for (timeline, from, to, needed) in [
            (1, 0, 100, false),
            (1, 90, 105, true),
            (1, 110, 120, true),
            (1, 120, 130, false),
            (1, 290, 300, false),
            (1, 300, 301, true),
            (1, 900, 910, true),
            (2, 290, 300, false),
            (2, 350, 360, true),
        ] {
            assert_eq!(
                need.needs(Timeline(timeline), Lsn(from), Lsn(to)),
                needed,
                "{timeline} {from}"
            );
        }
        let nothing = WalNeed::of(std::iter::empty());
        assert!(nothing.needs(Timeline(1), Lsn(0), Lsn(1)));
    }
}
