//! The pooler in front of the server.

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[];
