//! Distributes what was seen at instants over the steps of a series.

use std::time::Duration;

use super::super::index::Moment;
use super::super::{Point, Reading};
use super::plan::Window;

const MICROS: f64 = 1e6;

/// The steps of a series: of equal length, aligned to 1970, each without its beginning and with its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grid {
    /// The beginning of the first step, in microseconds.
    pub(super) from: i64,
    /// The end of the span; the last step is cut there.
    pub(super) to: i64,
    pub(super) step: i64,
    pub(super) count: usize,
}

/// What one sum of rows was at every moment of a stretch.
#[derive(Debug, Default)]
pub(super) struct Track {
    pub(super) seen: Vec<bool>,
    pub(super) mean: Vec<f64>,
    pub(super) low: Vec<f64>,
    pub(super) high: Vec<f64>,
    /// Of a counter: for how long the rate holds, back from the moment; of a gauge: how many samples it stands for.
    pub(super) weight: Vec<f64>,
}

/// What was seen in one step.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    sum: f64,
    weight: f64,
    low: f64,
    high: f64,
}

/// The steps of one series.
#[derive(Clone, Debug)]
pub(super) struct Buckets(Vec<Bucket>);

impl Grid {
    /// Returns the grid of a span; the step is made longer until there are at most `points`.
    pub(super) fn new((from, to): Window, step: Duration, points: usize) -> Grid {
        let mut step = i64::try_from(step.as_micros())
            .unwrap_or(i64::MAX)
            .max(1_000);
        let length = to.saturating_sub(from).max(1);
        let most = i64::try_from(points).unwrap_or(i64::MAX).max(2);
        while length / step + 2 > most {
            step = step.saturating_mul(2);
        }
        let first = from.div_euclid(step).saturating_mul(step);
        let count = (to.saturating_sub(first) - 1).div_euclid(step) + 1;
        Grid {
            from: first,
            to,
            step,
            count: usize::try_from(count).unwrap_or(0),
        }
    }

    /// Returns the step of an instant.
    fn place(&self, at: i64) -> Option<usize> {
        let place = (at - 1 - self.from).div_euclid(self.step);
        usize::try_from(place)
            .ok()
            .filter(|place| *place < self.count)
    }

    fn end(&self, place: usize) -> i64 {
        self.from + (place as i64 + 1) * self.step
    }
}

impl Track {
    /// Makes it empty, for so many moments.
    pub(super) fn clear(&mut self, count: usize) {
        self.seen.clear();
        self.seen.resize(count, false);
        for numbers in [
            &mut self.mean,
            &mut self.low,
            &mut self.high,
            &mut self.weight,
        ] {
            numbers.clear();
            numbers.resize(count, 0.0);
        }
    }

    /// Adds one row at one moment.
    #[inline]
    pub(super) fn add(&mut self, frame: usize, mean: f64, (low, high): (f64, f64), weight: f64) {
        self.seen[frame] = true;
        self.mean[frame] += mean;
        self.low[frame] += low;
        self.high[frame] += high;
        self.weight[frame] = self.weight[frame].max(weight);
    }
}

impl Bucket {
    const EMPTY: Bucket = Bucket {
        sum: 0.0,
        weight: 0.0,
        low: f64::INFINITY,
        high: f64::NEG_INFINITY,
    };

    fn add(&mut self, mean: f64, low: f64, high: f64, weight: f64) {
        self.sum += mean * weight;
        self.weight += weight;
        self.low = self.low.min(low);
        self.high = self.high.max(high);
    }
}

impl Buckets {
    pub(super) fn new(count: usize) -> Buckets {
        Buckets(vec![Bucket::EMPTY; count])
    }

    /// Adds the rates of a stretch; each holds from the end of the one before.
    pub(super) fn add_rates(
        &mut self,
        grid: &Grid,
        window: Window,
        moments: &[Moment],
        track: &Track,
    ) {
        for (frame, moment) in moments.iter().enumerate() {
            if !track.seen[frame] || moment.at <= window.0 || moment.at > window.1 {
                continue;
            }
            let length = (track.weight[frame] * MICROS) as i64;
            let from = moment.at.saturating_sub(length).max(grid.from);
            let mut begin = from;
            let Some(mut place) = grid.place(from + 1) else {
                continue;
            };
            while begin < moment.at && place < grid.count {
                let end = grid.end(place).min(moment.at);
                let seconds = (end - begin) as f64 / MICROS;
                let (low, high) = (track.low[frame], track.high[frame]);
                self.0[place].add(track.mean[frame], low, high, seconds);
                begin = end;
                place += 1;
            }
        }
    }

    /// Adds the values of a stretch; between two that belong together, the steps without one take the earlier, or the
    /// later where one value stands for the `reach` microseconds before it.
    pub(super) fn add_values(
        &mut self,
        grid: &Grid,
        window: Window,
        moments: &[Moment],
        track: &Track,
        reach: i64,
    ) {
        for (frame, moment) in moments.iter().enumerate() {
            if !track.seen[frame] || moment.at <= window.0 || moment.at > window.1 {
                continue;
            }
            let place = grid.place(moment.at);
            if let Some(place) = place {
                let (low, high) = (track.low[frame], track.high[frame]);
                self.0[place].add(track.mean[frame], low, high, track.weight[frame]);
            }
            let held = frame > 0 && moment.joined && track.seen[frame - 1];
            let source = if reach > grid.step {
                frame
            } else {
                frame.saturating_sub(1)
            };
            let begin = if held {
                moments[frame - 1].at
            } else if reach > grid.step {
                moment.at - reach
            } else {
                continue;
            };
            let first = grid.place(begin.max(grid.from) + 1).unwrap_or(grid.count);
            let end = place.unwrap_or(grid.count);
            for bucket in self.0.iter_mut().take(end).skip(first) {
                if bucket.weight == 0.0 {
                    let (low, high) = (track.low[source], track.high[source]);
                    bucket.add(track.mean[source], low, high, f64::MIN_POSITIVE.sqrt());
                }
            }
        }
    }

    /// Adds another sum step by step: what one of them did not see does not make the other a gap.
    pub(super) fn join(&mut self, other: &Buckets) {
        for (one, other) in self.0.iter_mut().zip(&other.0) {
            if other.weight == 0.0 {
                continue;
            }
            if one.weight == 0.0 {
                *one = *other;
                continue;
            }
            one.sum = one.sum / one.weight + other.sum / other.weight;
            one.weight = 1.0;
            one.low += other.low;
            one.high += other.high;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|bucket| bucket.weight == 0.0)
    }

    /// Returns the points; `instant` makes a time of microseconds.
    pub(super) fn points<E>(
        &self,
        grid: &Grid,
        instant: impl Fn(i64) -> Result<pawang_core::Timestamp, E>,
    ) -> Result<Vec<Point>, E> {
        let numbered = self.0.iter().enumerate();
        let points = numbered.map(|(place, bucket)| {
            Ok(Point {
                at: instant(grid.end(place).min(grid.to))?,
                reading: (bucket.weight > 0.0).then(|| Reading {
                    mean: bucket.sum / bucket.weight,
                    min: bucket.low,
                    max: bucket.high,
                }),
            })
        });
        points.collect()
    }
}
