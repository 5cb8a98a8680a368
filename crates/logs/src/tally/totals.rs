//! Records by severity and time.

use serde::{Deserialize, Serialize};

use super::Event;
use super::minutes::{Minutes, Span};
use super::names::{earlier, later};
use crate::kind::{Group, kinds};
use crate::report;
use crate::severity::Severity;

/// Records by severity and time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Totals {
    first_at: Option<i64>,
    last_at: Option<i64>,
    unclassified: u64,
    counts: [u64; Severity::ALL.len()],
    series: [Minutes; Severity::ALL.len()],
}

impl Totals {
    /// Adds one record.
    #[inline]
    pub(crate) fn take(&mut self, event: &Event<'_>) {
        let index = event.record.severity as usize;
        self.counts[index] += 1;
        let unclassified = kinds()[usize::from(event.kind.0)].group == Group::Unclassified;
        self.unclassified += u64::from(unclassified);
        if let Some(at) = event.record.at {
            self.first_at = earlier(self.first_at, Some(at));
            self.last_at = later(self.last_at, Some(at));
            self.series[index].add(at, 1);
        }
    }

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, other: Totals) {
        self.first_at = earlier(self.first_at, other.first_at);
        self.last_at = later(self.last_at, other.last_at);
        self.unclassified += other.unclassified;
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        for (series, more) in self.series.iter_mut().zip(other.series) {
            series.absorb(more);
        }
    }

    /// Returns the first and the last instant, in microseconds.
    pub(crate) fn span(&self) -> Option<(i64, i64)> {
        self.first_at.zip(self.last_at)
    }

    /// Returns its part of the report; all series cover the same span.
    pub(crate) fn report(&self) -> report::Totals {
        let span = self
            .series
            .iter()
            .filter_map(Minutes::span)
            .reduce(Span::join);
        let present = || {
            Severity::ALL
                .into_iter()
                .filter(|&severity| self.counts[severity as usize] > 0)
        };
        report::Totals {
            first_at: self.first_at,
            last_at: self.last_at,
            records: self.counts.iter().sum(),
            severities: present()
                .map(|severity| (severity, self.counts[severity as usize]))
                .collect(),
            series: present()
                .map(|severity| (severity, self.series[severity as usize].series_over(span)))
                .collect(),
            unclassified: self.unclassified,
        }
    }
}
