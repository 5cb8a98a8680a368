//! Disk, memory and CPU of the machine of the server.

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[];
