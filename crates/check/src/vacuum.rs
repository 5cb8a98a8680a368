//! Vacuum, statistics, freezing and bloat.

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[];
