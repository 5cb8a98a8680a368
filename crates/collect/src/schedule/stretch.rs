//! Keeps a budget: says how many times longer each interval must be, the most expensive and least urgent first.

/// No interval becomes more times longer than this.
pub(super) const STRETCH_MAX: f64 = 16.0;
/// Halvings of the range in which the cap is looked for: far finer than any cost is known.
const STEPS: u32 = 32;

/// What one collector would cost at the interval that its header asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Share of one core, in percent.
    pub(super) percent: f64,
    /// How much it counts to have it often; the cap of a collector is a multiple of this.
    pub(super) urgency: f64,
    /// How many times longer its interval may become: 1 is never.
    pub(super) most: f64,
}

impl Load {
    fn stretch(&self, cap: f64) -> f64 {
        if self.percent <= 0.0 {
            return 1.0;
        }
        (self.percent / (cap * self.urgency)).clamp(1.0, self.most)
    }

    fn stretched(&self, cap: f64) -> f64 {
        self.percent / self.stretch(cap)
    }
}

/// Returns how many times longer each interval must be so that all together cost at most `limit` percent.
///
/// One cap holds for all, times their urgency: what costs less than its cap is left alone, so the most expensive and
/// least urgent pay first. When even the longest intervals do not suffice, these are returned.
pub(super) fn stretches(loads: &[Load], limit: f64) -> Vec<f64> {
    let total = |cap: f64| loads.iter().map(|load| load.stretched(cap)).sum::<f64>();
    let largest = loads.iter().map(|load| load.percent / load.urgency);
    let mut high = largest.fold(0.0, f64::max);
    if total(high) <= limit {
        return vec![1.0; loads.len()];
    }
    let mut low = 0.0;
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if total(middle) <= limit {
            low = middle;
        } else {
            high = middle;
        }
    }
    // The lower end keeps the limit; at zero even the longest intervals do not.
    loads.iter().map(|load| load.stretch(low)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn load(percent: f64, urgency: f64) -> Load {
        Load {
            percent,
            urgency,
            most: STRETCH_MAX,
        }
    }

    #[test]
    fn the_most_expensive_pays_first() {
        let loads = [load(0.01, 1.0), load(0.05, 1.0), load(1.0, 1.0)];
        let stretched = stretches(&loads, 0.3);
        assert_eq!(stretched[..2], [1.0, 1.0]);
        assert!((stretched[2] - 1.0 / 0.24).abs() < 1e-6, "{stretched:?}");
    }

    #[test]
    fn of_two_that_cost_the_same_the_less_urgent_pays_more() {
        let stretched = stretches(&[load(1.0, 4.0), load(1.0, 1.0)], 0.5);
        assert!((stretched[0] - 2.5).abs() < 1e-6, "{stretched:?}");
        assert!((stretched[1] - 10.0).abs() < 1e-6, "{stretched:?}");
    }

    proptest! {
        #[test]
        fn the_budget_is_kept_where_it_can_be(
            loads in prop::collection::vec((0.0..5.0_f64, 1.0..4.0_f64, 1.0..STRETCH_MAX), 0..40),
            limit in 0.01..5.0_f64,
        ) {
            let loads: Vec<Load> = loads
                .into_iter()
                .map(|(percent, urgency, most)| Load { percent, urgency, most })
                .collect();
            let stretched = stretches(&loads, limit);
            let pairs = loads.iter().zip(&stretched);
            let total: f64 = pairs.clone().map(|(load, stretch)| load.percent / stretch).sum();
            let least: f64 = loads.iter().map(|load| load.stretched(0.0)).sum();
            prop_assert!(total <= limit.max(least) + 1e-9);
            for (load, stretch) in pairs {
                prop_assert!((1.0..=load.most).contains(stretch));
            }
        }
    }
}
