//! Settings and access that put data at risk.

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[];
