//! Indexes, keys, sequences, partitions and other objects.

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[];
