//! Loads, freshness and data quality.

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[];
