//! Does the server answer, as whom, since when, and on which version.

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[];
