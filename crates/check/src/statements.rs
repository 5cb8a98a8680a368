//! Statements by what they cost.

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[];
