//! When a disk is full if it goes on like this: a straight line through what was seen, or nothing.

/// Fewer points say nothing about growth.
const POINTS_MIN: usize = 10;
/// A shorter look says nothing about growth.
const SECONDS_MIN: f64 = 600.0;
/// A line that explains less of what was seen is no line (coefficient of determination).
const FIT_MIN: f64 = 0.5;
/// What lies further ahead is not a forecast.
const DAYS_MAX: f64 = 1_000.0;
const DAY: f64 = 86_400.0;

/// What the growth that was seen means for the space that is left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Forecast {
    /// Full after so many days.
    Full {
        /// Days from the last point on.
        days: f64,
        /// Growth per day.
        per_day: f64,
    },
    /// It grows, and is not full within any time that could be foretold.
    Far {
        /// Growth per day.
        per_day: f64,
    },
    /// It does not grow.
    Steady,
    /// It goes up and down: no line tells what comes.
    Restless,
    /// Too little was seen.
    TooShort,
}

/// Returns what a straight line through `(second, used)` points says about the `left` that is free.
pub(crate) fn forecast(points: &[(f64, f64)], left: f64) -> Forecast {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Forecast::TooShort;
    };
    if points.len() < POINTS_MIN || last.0 - first.0 < SECONDS_MIN {
        return Forecast::TooShort;
    }
    let count = points.len() as f64;
    let mean = |part: fn(&(f64, f64)) -> f64| points.iter().map(part).sum::<f64>() / count;
    let (middle, level) = (mean(|point| point.0), mean(|point| point.1));
    let (mut across, mut time, mut used) = (0.0, 0.0, 0.0);
    for (second, value) in points {
        let (dx, dy) = (second - middle, value - level);
        across += dx * dy;
        time += dx * dx;
        used += dy * dy;
    }
    let slope = across / time;
    if !slope.is_finite() || slope <= 0.0 {
        return Forecast::Steady;
    }
    if across * across / (time * used) < FIT_MIN {
        return Forecast::Restless;
    }
    let per_day = slope * DAY;
    let days = left.max(0.0) / per_day;
    if days > DAYS_MAX {
        Forecast::Far { per_day }
    } else {
        Forecast::Full { days, per_day }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One point a minute.
    fn check(used: &[f64], left: f64) -> Forecast {
        let points: Vec<(f64, f64)> = (0..)
            .zip(used)
            .map(|(minute, used)| (f64::from(minute) * 60.0, *used))
            .collect();
        forecast(&points, left)
    }

    #[test]
    fn only_steady_growth_is_foretold() {
        let rising: Vec<f64> = (0..60).map(|minute| f64::from(minute) * 100.0).collect();
        match check(&rising, 144_000.0) {
            Forecast::Full { days, per_day } => {
                assert!((days - 1.0).abs() < 1e-9 && (per_day - 144_000.0).abs() < 1e-6);
            }
            other => unreachable!("{other:?}"),
        }
        assert!(matches!(check(&rising, 1e12), Forecast::Far { .. }));
        let falling: Vec<f64> = rising.iter().rev().copied().collect();
        assert_eq!(check(&falling, 1.0), Forecast::Steady);
        assert_eq!(check(&[5.0; 60], 1.0), Forecast::Steady);
        let saw: Vec<f64> = (0..60).map(|minute| f64::from(minute % 7)).collect();
        assert_eq!(check(&saw, 1.0), Forecast::Restless);
        assert_eq!(check(&rising[..9], 1.0), Forecast::TooShort);
        assert_eq!(check(&[], 1.0), Forecast::TooShort);
    }

    proptest! {
        #[test]
        fn a_forecast_is_a_number_that_lies_ahead(used in proptest::collection::vec(-1e18..1e18_f64, 0..100), left in -1e18..1e18_f64) {
            if let Forecast::Full { days, per_day } = check(&used, left) {
                prop_assert!((0.0..=DAYS_MAX).contains(&days) && per_day > 0.0);
            }
        }
    }
}
