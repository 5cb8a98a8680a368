//! Standbys, slots and logical replication.

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[];
