//! What to change, from the numbers of a report.

use crate::report::{Advice, Report};

/// Returns the recommendations that follow from a report, the most important first.
pub fn advise(_report: &Report) -> Vec<Advice> {
    Vec::new()
}
