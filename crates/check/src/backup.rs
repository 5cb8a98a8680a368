//! Backups, and what they could restore.

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[];
