//! Checkpoints and restartpoints: why they started, and the numbers of the line that ends them.

use serde::{Deserialize, Serialize};

use super::Event;
use super::minutes::Minutes;
use super::table::Table;
use crate::extract::{number_after, number_before, seconds_after, size_after};
use crate::histogram::Histogram;
use crate::report;

/// Most reasons that are told apart; PostgreSQL has eight words for them, in any combination.
const REASONS_MAX: usize = 100;

/// Checkpoints and restartpoints.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Checkpoints {
    count: u64,
    restartpoints: u64,
    too_frequent: u64,
    reasons: Table<u64, REASONS_MAX>,
    total: Histogram,
    write: Histogram,
    sync: Histogram,
    longest_sync: u64,
    buffers: u64,
    added: u64,
    removed: u64,
    recycled: u64,
    distance: u64,
    distance_max: u64,
    estimate_max: u64,
    series: Minutes,
    buffers_series: Minutes,
}

impl Checkpoints {
    /// Adds one record.
    pub(crate) fn take(&mut self, event: &Event<'_>) {
        let message = event.record.message;
        let (restart, rest) = match message.strip_prefix(b"restartpoint ") {
            Some(rest) => (true, rest),
            None => match message.strip_prefix(b"checkpoint ") {
                Some(rest) => (false, rest),
                None => {
                    let often = message.starts_with(b"checkpoints are occurring too frequently");
                    self.too_frequent += u64::from(often);
                    return;
                }
            },
        };
        if let Some(reason) = rest.strip_prefix(b"starting: ") {
            let reason = reason.trim_ascii();
            self.reasons.count(if reason.is_empty() {
                b"unspecified"
            } else {
                reason
            });
        } else if let Some(numbers) = rest.strip_prefix(b"complete: ") {
            self.restartpoints += u64::from(restart);
            self.complete(event.record.at, numbers);
        }
    }

    /// Adds the numbers of the line that ends a checkpoint; versions differ only in parts that are not read here: `lsn=` since 16, SLRU
    /// buffers since 18.
    fn complete(&mut self, at: Option<i64>, text: &[u8]) {
        self.count += 1;
        let buffers = number_after(text, "wrote ").unwrap_or(0);
        self.buffers += buffers;
        self.added += number_before(text, " WAL file(s) added").unwrap_or(0);
        self.removed += number_before(text, " removed").unwrap_or(0);
        self.recycled += number_before(text, " recycled").unwrap_or(0);
        for (spread, mark) in [
            (&mut self.write, "write="),
            (&mut self.sync, "sync="),
            (&mut self.total, "total="),
        ] {
            if let Some(time) = seconds_after(text, mark) {
                spread.add(time);
            }
        }
        let longest = seconds_after(text, "longest=").unwrap_or(0);
        self.longest_sync = self.longest_sync.max(longest);
        let distance = size_after(text, "distance=").unwrap_or(0);
        self.distance = self.distance.saturating_add(distance);
        self.distance_max = self.distance_max.max(distance);
        let estimate = size_after(text, "estimate=").unwrap_or(0);
        self.estimate_max = self.estimate_max.max(estimate);
        if let Some(at) = at {
            self.series.add(at, 1);
            self.buffers_series.add(at, buffers);
        }
    }

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, later: Checkpoints) {
        self.count += later.count;
        self.restartpoints += later.restartpoints;
        self.too_frequent += later.too_frequent;
        self.reasons.absorb(later.reasons);
        self.total.merge(&later.total);
        self.write.merge(&later.write);
        self.sync.merge(&later.sync);
        self.longest_sync = self.longest_sync.max(later.longest_sync);
        self.buffers += later.buffers;
        self.added += later.added;
        self.removed += later.removed;
        self.recycled += later.recycled;
        self.distance = self.distance.saturating_add(later.distance);
        self.distance_max = self.distance_max.max(later.distance_max);
        self.estimate_max = self.estimate_max.max(later.estimate_max);
        self.series.absorb(later.series);
        self.buffers_series.absorb(later.buffers_series);
    }

    /// Returns its part of the report.
    pub(crate) fn report(&self) -> report::Checkpoints {
        report::Checkpoints {
            count: self.count,
            restartpoints: self.restartpoints,
            reasons: self.reasons.counts(),
            too_frequent: self.too_frequent,
            total: self.total.durations(),
            write: self.write.durations(),
            sync: self.sync.durations(),
            longest_sync: self.longest_sync,
            buffers: self.buffers,
            added: self.added,
            removed: self.removed,
            recycled: self.recycled,
            distance: self.distance,
            distance_max: self.distance_max,
            estimate_max: self.estimate_max,
            series: self.series.series(),
            buffers_series: self.buffers_series.series_over(self.series.span()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::testing::taken;

    fn of(messages: &[&str]) -> report::Checkpoints {
        let mut checkpoints = Checkpoints::default();
        for message in messages {
            taken(message, |event| checkpoints.take(event));
        }
        checkpoints.report()
    }

    #[test]
    fn the_line_of_every_version_is_read() {
        let tail = "0 WAL file(s) added, 1 removed, 2 recycled; write=0.030 s, sync=0.071 s, total=0.124 s; sync files=362, \
                    longest=0.006 s, average=0.001 s; distance=26867 kB, estimate=26868 kB";
        for line in [
            format!("checkpoint complete: wrote 3376 buffers (20.6%); {tail}"),
            format!(
                "checkpoint complete: wrote 3376 buffers (20.6%); {tail}; lsn=0/2F3D718, redo lsn=0/2F3D6E0"
            ),
            format!(
                "checkpoint complete: wrote 3376 buffers (20.6%), wrote 4 SLRU buffers; {tail}; lsn=0/2F3D718, redo lsn=0/2F3D6E0"
            ),
        ] {
            let report = of(&[&line]);
            assert_eq!((report.count, report.buffers), (1, 3_376));
            assert_eq!((report.added, report.removed, report.recycled), (0, 1, 2));
            assert_eq!(
                (report.write.max, report.sync.max, report.total.max),
                (30_000, 71_000, 124_000)
            );
            assert_eq!(report.longest_sync, 6_000);
            assert_eq!(
                (report.distance_max, report.estimate_max),
                (26_867 << 10, 26_868 << 10)
            );
        }
    }

    #[test]
    fn reasons_and_restartpoints_are_counted() {
        let report = of(&[
            "checkpoint starting: wal",
            "checkpoint starting: immediate force wait",
            "checkpoint starting: wal",
            "restartpoint starting: time",
            "restartpoint complete: wrote 3 buffers (0.0%); 0 WAL file(s) added, 0 removed, 0 recycled",
            "checkpoints are occurring too frequently (3 seconds apart)",
            "checkpoint record is at 0/1500028",
        ]);
        assert_eq!((report.count, report.restartpoints), (1, 1));
        assert_eq!(report.reasons["wal"], 2);
        assert_eq!(report.reasons["immediate force wait"], 1);
        assert_eq!(report.reasons["time"], 1);
        assert_eq!(report.too_frequent, 1);
        assert_eq!(
            report.total.count, 0,
            "a time that the line does not tell is not zero"
        );
    }
}
