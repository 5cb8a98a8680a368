//! TimescaleDB: its jobs and policies, its chunks, its workers.
//!
//! The statements behind these checks were tested against the published signatures of TimescaleDB's views, not against the extension itself.

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[];
