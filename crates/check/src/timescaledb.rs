//! Hypertables, chunks and jobs.

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[];
