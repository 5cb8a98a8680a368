//! When a finding becomes an alert: the rule that holds for one object of one check.

mod read;
mod set;

use std::time::Duration;

use pawang_config::{NoData, Quantity};
use pawang_core::alert::Priority;
use pawang_core::{Finding, Level, Measure};

pub use read::RuleMistake;
pub use set::{OWN_CHECKS, RuleSet};

/// The rule that holds for one object of one check, after all overrides.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Whether its findings become alerts at all.
    pub enabled: bool,
    /// From which level on.
    pub level: Level,
    /// How long a warning must last.
    pub lasts: Duration,
    /// How long a critical finding must last.
    pub lasts_critical: Duration,
    /// How many of the last samples must be bad, and of how many: `(3, 5)`; `(1, 1)` is every one.
    pub samples: (u8, u8),
    /// How long it must be good before it counts as over.
    pub keep_firing: Duration,
    /// What fires is over only on the good side of this value, as it was written; [`Rule::holds`] reads it.
    pub clear: Option<Quantity>,
    /// What fires is over only when the value is so much better than its limit, in percent of the limit.
    pub clear_margin_percent: f64,
    /// What to do when it can no longer be seen.
    pub no_data: NoData,
    /// Priority, instead of the one by level and role.
    pub priority: Option<Priority>,
    /// Warnings fire only when the value is so many deviations away from what is usual.
    pub deviations: Option<f64>,
    /// Whether warnings are expected while a batch window is open.
    pub expected_in_batch: bool,
    /// How urgent trouble of this kind is.
    pub class: Class,
    /// Address of a runbook of the user's own.
    pub runbook: Option<String>,
}

/// What kind of trouble a check finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The service is down or data is at risk: a critical one is P1.
    Outage,
    /// It works, but badly, or something that protects it is broken: a critical one is P2.
    Degraded,
    /// Load that a warehouse may well have: P3, and quiet in batch windows.
    Load,
    /// How it is set up: nobody is woken for it; P4.
    Hygiene,
}

impl Class {
    /// All, the most urgent first.
    pub const ALL: [Class; 4] = [Class::Outage, Class::Degraded, Class::Load, Class::Hygiene];

    /// Returns the kebab-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Outage => "outage",
            Class::Degraded => "degraded",
            Class::Load => "load",
            Class::Hygiene => "hygiene",
        }
    }
}

impl Rule {
    /// Says whether a value that is no finding any more still holds what fires: it is not on the good side of the clear
    /// threshold.
    ///
    /// `measure` is what was measured now, `finding` how it was when it was last bad.
    pub fn holds(&self, measure: &Measure, finding: &Finding) -> bool {
        if self.clear.is_none() && self.clear_margin_percent == 0.0 {
            return false;
        }
        let limit = measure.warning.or(measure.critical).or(finding.threshold);
        let below = below(measure, finding);
        let percent = self.clear_margin_percent;
        let margin = limit.filter(|_| percent > 0.0).map(|limit| {
            let margin = limit.abs() * percent / 100.0;
            if below {
                limit + margin
            } else {
                limit - margin
            }
        });
        let clear = self
            .clear
            .and_then(|clear| clear.in_unit(finding.unit).ok()?);
        let good = |clear: f64| {
            if below {
                measure.value > clear
            } else {
                measure.value < clear
            }
        };
        clear.into_iter().chain(margin).any(|clear| !good(clear))
    }
}

/// Says whether low values are the bad ones: by the order of the limits, else by where the value was when it was bad.
fn below(measure: &Measure, finding: &Finding) -> bool {
    match (measure.warning, measure.critical) {
        (Some(warning), Some(critical)) if warning != critical => critical < warning,
        _ => match (finding.value, finding.threshold) {
            // On the limit itself it is bad both ways; a better value tells which way is better.
            (Some(value), Some(limit)) if value == limit => measure.value > limit,
            (Some(value), Some(limit)) => value < limit,
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests;
