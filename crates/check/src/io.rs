//! Cache, temporary files and I/O time.

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[];
