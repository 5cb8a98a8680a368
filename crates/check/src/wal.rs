//! WAL, archiving and checkpoints.

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[];
