//! Which WAL is there: intervals of positions for each timeline, computed from what a listing shows (invariant I3).

use std::collections::BTreeMap;

use pawang_core::Lsn;
use serde::{Deserialize, Serialize};

use super::{History, Timeline};
use crate::repository::Position;

/// Positions from `from` up to and without `to`, all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// The first position.
    pub from: Lsn,
    /// The position behind the last one.
    pub to: Lsn,
}

/// WAL that is missing on the way to a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// The timeline that holds it.
    pub timeline: Timeline,
    /// Its first position.
    pub from: Lsn,
    /// The position behind it.
    pub to: Lsn,
}

/// The intervals of each timeline: in order, apart from each other, none empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    timelines: BTreeMap<Timeline, Vec<Interval>>,
}

impl Coverage {
    /// Adds positions of a timeline; what touches or overlaps becomes one interval.
    pub fn add(&mut self, timeline: Timeline, from: Lsn, to: Lsn) {
        if from >= to {
            return;
        }
        let intervals = self.timelines.entry(timeline).or_default();
        let first = intervals.partition_point(|interval| interval.to < from);
        let behind = intervals.partition_point(|interval| interval.from <= to);
        let merged =
            intervals[first..behind]
                .iter()
                .fold(Interval { from, to }, |merged, interval| Interval {
                    from: merged.from.min(interval.from),
                    to: merged.to.max(interval.to),
                });
        intervals.splice(first..behind, [merged]);
    }

    /// Returns the timelines of which something is there.
    pub fn timelines(&self) -> impl Iterator<Item = Timeline> + '_ {
        self.timelines.keys().copied()
    }

    /// Returns the intervals of a timeline, in order.
    pub fn intervals(&self, timeline: Timeline) -> &[Interval] {
        self.timelines.get(&timeline).map_or(&[], Vec::as_slice)
    }

    /// Returns the position up to which everything from `from` on is there on its own timeline; `from` when it is not.
    pub fn last_contiguous(&self, from: Position) -> Lsn {
        reach(self.intervals(from.timeline), from.lsn)
    }

    /// Returns the position up to which everything from `from` on is there on the way to the history's timeline.
    pub fn last_contiguous_to(&self, from: Lsn, history: &History) -> Lsn {
        let mut reached = from;
        for (index, span) in history.spans().iter().enumerate() {
            let end = span.to.unwrap_or(Lsn(u64::MAX));
            if end <= reached {
                continue;
            }
            reached = reach(&self.on_the_way(history, index), reached)
                .min(end)
                .max(reached);
            if reached < end {
                break;
            }
        }
        reached
    }

    /// Returns what is missing from `start` up to and without `stop`, on the way to the history's timeline.
    ///
    /// A segment in which a timeline begins also holds the end of its ancestor, so that descendants on the way count.
    pub fn holes(&self, start: Lsn, stop: Lsn, history: &History) -> Vec<Hole> {
        let mut holes = Vec::new();
        for (index, span) in history.spans().iter().enumerate() {
            let from = span.from.max(start);
            let to = span.to.unwrap_or(stop).min(stop);
            let timeline = span.timeline;
            let mut reached = from;
            for interval in &self.on_the_way(history, index) {
                if interval.from >= to {
                    break;
                }
                if interval.from > reached {
                    holes.push(Hole {
                        timeline,
                        from: reached,
                        to: interval.from,
                    });
                }
                reached = reached.max(interval.to);
            }
            if reached < to {
                holes.push(Hole {
                    timeline,
                    from: reached,
                    to,
                });
            }
        }
        holes
    }

    /// Returns the intervals of the timeline of a span and of those that come from it on the way, as one.
    fn on_the_way(&self, history: &History, span: usize) -> Vec<Interval> {
        let mut all = Coverage::default();
        for span in &history.spans()[span..] {
            for interval in self.intervals(span.timeline) {
                all.add(history.timeline, interval.from, interval.to);
            }
        }
        all.timelines.remove(&history.timeline).unwrap_or_default()
    }
}

fn reach(intervals: &[Interval], from: Lsn) -> Lsn {
    intervals
        .iter()
        .find(|interval| interval.from <= from && from < interval.to)
        .map_or(from, |interval| interval.to)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wal::timeline::Switch;

    const ONE: Timeline = Timeline(1);
    const TWO: Timeline = Timeline(2);

    fn fork(at: u64) -> History {
        History {
            timeline: TWO,
            switches: vec![Switch {
                timeline: ONE,
                at: Lsn(at),
                reason: String::new(),
            }],
        }
    }

    #[test]
    fn a_hole_is_named_with_its_timeline() {
        let mut coverage = Coverage::default();
        coverage.add(ONE, Lsn(16), Lsn(32));
        coverage.add(ONE, Lsn(48), Lsn(64));
        coverage.add(TWO, Lsn(64), Lsn(80));
        let hole = |timeline, from, to| Hole {
            timeline,
            from: Lsn(from),
            to: Lsn(to),
        };
        // The child's first segment also holds what its parent wrote into it.
        assert_eq!(
            coverage.holes(Lsn(20), Lsn(90), &fork(70)),
            [hole(ONE, 32, 48), hole(TWO, 80, 90)]
        );
        // Without it that is missing, although the child has the rest.
        assert_eq!(
            coverage.holes(Lsn(60), Lsn(70), &History::without_ancestors(ONE)),
            [hole(ONE, 64, 70)]
        );
        assert_eq!(coverage.holes(Lsn(20), Lsn(20), &fork(70)), []);
        let position = |lsn| Position {
            timeline: ONE,
            lsn: Lsn(lsn),
        };
        assert_eq!(coverage.last_contiguous(position(16)), Lsn(32));
        assert_eq!(coverage.last_contiguous(position(32)), Lsn(32));
        assert_eq!(coverage.last_contiguous_to(Lsn(48), &fork(70)), Lsn(80));
        assert_eq!(coverage.last_contiguous_to(Lsn(16), &fork(70)), Lsn(32));
    }

    const POSITIONS: u64 = 64;

    fn pieces() -> impl Strategy<Value = Vec<(u32, u64, u64)>> {
        let piece = (1u32..3, 0..POSITIONS, 0u64..12);
        proptest::collection::vec(piece, 0..20)
    }

    proptest! {
        #[test]
        fn it_holds_the_positions_that_were_added(pieces in pieces()) {
            let mut coverage = Coverage::default();
            for (timeline, from, bytes) in &pieces {
                coverage.add(Timeline(*timeline), Lsn(*from), Lsn(from + bytes));
            }
            for timeline in [ONE, TWO] {
                let intervals = coverage.intervals(timeline);
                for pair in intervals.windows(2) {
                    prop_assert!(pair[0].to < pair[1].from, "they are apart: {intervals:?}");
                }
                prop_assert!(intervals.iter().all(|interval| interval.from < interval.to));
                for at in 0..POSITIONS + 12 {
                    let added = pieces.iter().any(|(on, from, bytes)| {
                        *on == timeline.0 && (*from..from + bytes).contains(&at)
                    });
                    let held = intervals.iter().any(|it| it.from.0 <= at && at < it.to.0);
                    prop_assert_eq!(added, held, "position {}", at);
                }
            }
        }

        #[test]
        fn order_does_not_matter(pieces in pieces()) {
            let of = |pieces: &mut dyn Iterator<Item = &(u32, u64, u64)>| {
                let mut coverage = Coverage::default();
                for (timeline, from, bytes) in pieces {
                    coverage.add(Timeline(*timeline), Lsn(*from), Lsn(from + bytes));
                }
                coverage
            };
            prop_assert_eq!(of(&mut pieces.iter()), of(&mut pieces.iter().rev()));
        }

        #[test]
        fn holes_are_what_no_timeline_on_the_way_holds(
            pieces in pieces(), fork_at in 0..POSITIONS, start in 0..POSITIONS, bytes in 0u64..40,
        ) {
            let mut coverage = Coverage::default();
            for (timeline, from, bytes) in &pieces {
                coverage.add(Timeline(*timeline), Lsn(*from), Lsn(from + bytes));
            }
            let history = fork(fork_at);
            let stop = start + bytes;
            let holes = coverage.holes(Lsn(start), Lsn(stop), &history);
            let holds = |timeline: Timeline, at: u64| {
                coverage.intervals(timeline).iter().any(|it| it.from.0 <= at && at < it.to.0)
            };
            let mut first_missing = stop;
            for at in (start..stop).rev() {
                let held = holds(TWO, at) || (at < fork_at && holds(ONE, at));
                let named = holes.iter().filter(|hole| hole.from.0 <= at && at < hole.to.0);
                let named: Vec<Timeline> = named.map(|hole| hole.timeline).collect();
                if held {
                    prop_assert_eq!(named, vec![]);
                } else {
                    prop_assert_eq!(named, vec![history.holder(Lsn(at))]);
                    first_missing = at;
                }
            }
            let reached = coverage.last_contiguous_to(Lsn(start), &history);
            prop_assert_eq!(reached.0.clamp(start, stop), first_missing);
        }
    }
}
