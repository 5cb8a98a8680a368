//! The failover agent beside the server.

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[];
