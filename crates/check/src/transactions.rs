//! Long transactions, XID and multixact age, and what holds the horizon back.

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[];
