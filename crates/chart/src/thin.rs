//! Fewer points that still show every extreme and every gap.

use pawang_core::{Point, Reading, Series};

/// Most points of one line: more than a screen shows apart, few enough for a phone's connection.
pub(super) const POINTS_MAX: usize = 300;

/// Returns the points of a series, oldest first, at most [`POINTS_MAX`]: neighbours become one with their mean, smallest
/// and largest; where at least half of the neighbours are gaps it is a gap.
pub(super) fn thin(series: &Series) -> Vec<Point> {
    let points = &series.points;
    let width = points.len().div_ceil(POINTS_MAX).max(1);
    points.chunks(width).map(merge).collect()
}

fn merge(points: &[Point]) -> Point {
    let last = points[points.len() - 1];
    let seen: Vec<Reading> = points
        .iter()
        .filter_map(|point| point.reading.filter(finite))
        .collect();
    if points.len() == 1 || seen.len() * 2 <= points.len() {
        let reading = last
            .reading
            .filter(|reading| points.len() == 1 && finite(reading));
        return Point {
            at: last.at,
            reading,
        };
    }
    let mean = seen.iter().map(|reading| reading.mean).sum::<f64>() / seen.len() as f64;
    let reading = Reading {
        mean,
        min: seen
            .iter()
            .map(|reading| reading.min)
            .fold(f64::INFINITY, f64::min),
        max: seen
            .iter()
            .map(|reading| reading.max)
            .fold(f64::NEG_INFINITY, f64::max),
    };
    Point {
        at: last.at,
        reading: Some(reading),
    }
}

fn finite(reading: &Reading) -> bool {
    reading.mean.is_finite() && reading.min.is_finite() && reading.max.is_finite()
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use pawang_core::{ColumnKind, Timestamp};

    use super::*;

    /// Returns a series of one point per minute; NaN is a gap.
    pub(crate) fn series(values: &[f64]) -> Series {
        let start: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let points = values.iter().enumerate().map(|(index, value)| Point {
            at: start + Duration::from_secs(60 * (index as u64 + 1)),
            reading: (!value.is_nan()).then_some(Reading {
                mean: *value,
                min: *value,
                max: *value,
            }),
        });
        Series {
            database: None,
            labels: Vec::new(),
            column: "x".to_owned(),
            kind: ColumnKind::Gauge,
            unit: None,
            step: Duration::from_secs(60),
            points: points.collect(),
        }
    }

    #[test]
    fn extremes_survive_thinning() {
        let mut values = vec![1.0; 10_000];
        values[4_321] = 99.0;
        values[8_765] = -5.0;
        let points = thin(&series(&values));
        assert!(points.len() <= POINTS_MAX, "{}", points.len());
        let readings: Vec<Reading> = points.iter().filter_map(|point| point.reading).collect();
        assert!(readings.iter().any(|reading| reading.max == 99.0));
        assert!(readings.iter().any(|reading| reading.min == -5.0));
    }

    #[test]
    fn gaps_survive_thinning_and_are_never_bridged() {
        let mut values = vec![1.0; 3_000];
        values[1_000..1_200].fill(f64::NAN);
        let points = thin(&series(&values));
        let gaps = points
            .iter()
            .filter(|point| point.reading.is_none())
            .count();
        assert!((19..=21).contains(&gaps), "{gaps}");
    }

    #[test]
    fn few_points_stay_as_they_are() {
        for count in [0, 1, 2, POINTS_MAX] {
            assert_eq!(thin(&series(&vec![3.0; count])).len(), count);
        }
        let gap = thin(&series(&[1.0, f64::NAN, 2.0]));
        assert!(gap[1].reading.is_none() && gap[0].reading.is_some());
    }
}
